"""Funding jobs: paying many balances out of one pool, now, later or on a schedule.

Read ``jobs.py`` first, then ``runs.py``: a job says who is paid and when, a run is one time that it happens, and each row
of a run is accepted by the ledger like any other transaction. ``schedule.py`` decides when a run is due, and what becomes
of a missed one. No other feature may be imported here.
"""
