"""The ``pacioli`` command: one file for a group of commands, and ``show.py`` for tables and pictures.

Read ``main.py`` first.
"""
