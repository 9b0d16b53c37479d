"""The store folder holds the SQL of the ledger, one file for a table or two.

Read ``log.py`` first, because the log is the truth and all else follows from it. Each function runs one statement or one
pipeline in the transaction of its caller, and returns values. It decides nothing about money. The ``*_list.py`` files
describe the fields of lists.
"""
