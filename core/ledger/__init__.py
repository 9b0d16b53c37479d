"""The ledger folder is the book itself: it accepts transactions, decides them in order, and answers questions about them.

Read ``intake.py`` first, then ``append.py``, ``drain.py`` and ``rules/engine.py``, which is the way of a transaction. Each
module is one use case, and ``answers.py`` has what goes out. ``rules/`` is pure, and ``store/`` holds the SQL. This folder
may not import a feature, such as funding.
"""
