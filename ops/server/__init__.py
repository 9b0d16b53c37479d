"""``pacioli up``: the supervisor, and the Postgres and Redis that it starts when none is configured.

Read ``up.py`` first.
"""
