"""Checks what the service needs, all the time, for ``/health``: what works, what does not, since when, and what to do.

Read ``prober.py`` first. A web process checks all parts in threads of their own, and a request only reads the last results.
So an answer is quick whatever hangs. Nothing here decides anything about transactions.
"""
