"""The upkeep of a running service: which ticks are due, and which processes live.

``ticks.py`` says what must happen again and again, and lets one process at a time claim it. ``heartbeats.py`` records
each process with its host, its clock and its state. All times are those of the database's clock, because the clocks of
two hosts may differ. This folder knows nothing of what a tick does.
"""
