"""Prints answers for people: rich tables, amounts with thousands separators, and no control codes from a client.

Read ``text.py`` first. ``books``, ``verification`` and ``funding`` print answers and send no requests. ``bars`` shows
progress.
"""
