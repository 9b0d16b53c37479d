"""Verification: recompute the ledger from its history, compare the two, and sign checkpoints.

Read ``verify.py`` first, then ``walk.py``, which reads the history in ranges. ``replay.py`` decides the log again with the
same engine that decided it, and ``compare.py`` compares the state with the result. ``continuation.py`` goes on from a
checkpoint instead. ``report.py`` holds the problems that were found. This folder may look into every feature. It writes
nothing but checkpoints.
"""
