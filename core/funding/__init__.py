"""Funding jobs: pay many balances out of one pool, now, later or on a schedule.

Read ``create.py`` first, then ``runs.py``. A job says who is paid and when. A run is one time that the job is carried out.
The ledger accepts each row of a run like any other transaction. ``schedule.py`` computes when a job is due, ``missed.py``
decides which missed runs are made up for, ``plan.py`` fixes what a run posts, and ``posting.py`` posts a piece of it.
``jobs.py`` pauses, resumes and cancels jobs. ``dry_run.py`` and ``forecast.py`` look ahead. ``views.py`` counts the rows of
a run, and ``presenter.py`` makes the answers in ``answers.py``. This folder imports no other feature.
"""
