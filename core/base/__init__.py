"""The ground floor of the core: errors, ids, money, settings, locks, the log, the tables, and database connections.

Read ``errors.py`` first: it lists what can go wrong, and every feature raises from it. ``db.py`` opens transactions, and
the driver's errors stop there. Nothing in this folder may import another folder of the core.
"""
