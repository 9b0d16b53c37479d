"""Monitors watch balances: each fires when a posting makes its condition true.

Read ``rules.py`` first: it says when a monitor fires, without a database. ``watching.py`` is the watch that a drain tells of
its decisions. It follows each watched balance in the order of acceptance, whatever the order in which queues are drained, and
writes firings in the commit that decides. ``monitors.py`` has the use cases, ``store.py`` the SQL.

Whoever writes here has locked the balance before. So a drain and a change of a monitor come one after the other.
"""
