"""The machinery between a request and the log: group commits, doorbells, and waiting for outcomes.

Read ``committer.py`` first. One committer in each process writes what all request threads have handed in, in one commit.
"""
