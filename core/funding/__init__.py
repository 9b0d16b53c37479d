"""Funding jobs: paying many balances out of one pool, now, later or on a schedule.

Read ``create.py`` first, then ``runs.py``: a job says who is paid and when, a run is one time that it happens, and each
row of a run is accepted by the ledger like any other transaction. ``schedule.py`` says when a job is due, ``missed.py``
what becomes of runs that were missed while nothing was running, ``plan.py`` how far a run goes, and ``posting.py`` posts
a piece of it. ``jobs.py`` pauses, resumes and cancels; ``dry_run.py`` and ``forecast.py`` look ahead, and ``views.py`` says
how far a run is. No other feature may be imported here.
"""
