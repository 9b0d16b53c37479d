"""Flows tell where money moved and how much was done, from sums by minute, hour and day that a tick derives from the log.

Read ``rollups.py`` first: it adds decided transactions to the sums, once each, and says which count and how. ``reading.py``
answers from them. Nothing here is history: the sums can be derived anew at any time.

This folder adds nothing to the append or the drain, and only reads what those write.
"""
