"""The tables as the statements see them, one module a topic. The migrations make them, and a test compares the two.

Read ``transactions.py`` first. A statement imports its tables from their topics. ``schema.py`` has all of them together.
"""
