"""The base holds what all other folders of the core stand on: errors, IDs, money, settings, locks, tables and connections.

Read ``errors.py`` first. It lists what can go wrong, and every feature raises from it. ``db.py`` opens transactions and
turns the driver's errors into ours. ``decoding.py`` and ``problems.py`` make one answer of all that is wrong with a
request. Nothing in this folder may import another folder of the core.
"""
