"""What everything in the core stands on: errors, ids, money, the tables, and database connections.

Read ``errors.py`` first: it lists what can go wrong, and every feature raises from it. ``db.py`` opens transactions, and
the driver's errors stop there. Nothing in this folder may import another folder of the core.
"""
