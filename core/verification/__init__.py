"""Verification: recompute the ledger from its history, compare the two, and sign checkpoints.

Read ``verify.py`` first, then ``pieces.py`` and ``crew.py``, which verify the log in pieces, side by side. ``walk.py`` checks
each row, ``replay.py`` decides a piece again with the engine that decided it, ``tally.py`` adds up what it begins with, and
``compare.py`` compares the state with the result. ``continuation.py`` goes on from a checkpoint instead. ``report.py`` holds the
problems that were found. This folder may look into every feature. It writes nothing but checkpoints.
"""
