"""The SQL of the ledger, one file for a table or two.

Read ``log.py`` first: the log is the truth, and all else follows from it. Each function does one statement or one
pipeline, in the transaction of its caller, and returns values of ``rules/model.py``. It decides nothing about money.
"""
