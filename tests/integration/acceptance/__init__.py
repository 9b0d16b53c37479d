"""Blnk's 107 acceptance cases over HTTP, with Pacioli's answer where it decided otherwise (then Blnk's is in a comment).

Workers and beat are called as functions. Cases that need processes killed are in ``tests/e2e/kill/test_kill.py``.
"""
