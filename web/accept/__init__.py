"""Takes requests to the log: commits them in groups, rings workers, and waits for outcomes.

Read ``committer.py`` first. One committer in each process writes the drafts of all request threads, in one commit.
"""
