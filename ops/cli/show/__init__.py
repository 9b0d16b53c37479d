"""What the commands print for people: rich tables, amounts with their thousands, nothing that a client could forge.

Read ``text.py`` first. ``books``, ``verification`` and ``funding`` print answers, and ask nothing; ``bars`` shows how far
something is.
"""
