"""Proving that the ledger is sound: recompute it from its history, compare, and sign checkpoints.

Read ``audit.py`` first. It replays the log with the same engine that decided it. This folder may look into every feature,
and writes nothing but checkpoints.
"""
