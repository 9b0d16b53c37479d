"""The rules folder holds the rules of money: pure functions over values, without a clock, SQL or any other I/O.

Read ``model.py`` for the values and ``engine.py`` for the decisions. The web server, the workers, dry runs, the verifier
and the tests all call the same rules. This folder may import ``core.base`` only.
"""
