"""Events tell every fact that changed the ledger, once and in one order, to whoever reads the feed.

Read ``feed.py`` first: it reads a page of the feed. The events of transactions are derived from the log and the outcomes, so
that posting costs nothing more. All others are rows that a change writes in its own commit, with ``core/journal/facts.py``.

This folder only reads, but for ``keeping.py``, which removes the oldest rows.
"""
