"""The book itself: accepting transactions, deciding them in order, and answering questions about them.

Read ``intake.py`` first, then ``append.py``, ``drain.py`` and ``rules/engine.py``: that is the way of a transaction. Each
module is one use case. ``rules/`` is pure and ``store/`` is its SQL. This folder may not import a feature, such as funding.
"""
