"""Verification: recompute the ledger from its history, compare the two, and sign checkpoints.

Read ``verify.py`` first, then ``pieces.py`` and ``crew.py``, which verify the log in pieces, side by side. ``quick.py``
checks the columns of a piece. Where anything differs, ``walk.py`` checks each row, and ``replay.py`` decides all of them
again with the engine that decided them. ``tally.py`` adds up what a piece begins with, and ``compare.py`` compares the
state with the result. ``continuation.py`` goes on from a checkpoint instead. ``report.py`` holds the problems that were
found. This folder may look into every feature. It writes nothing but checkpoints.
"""
