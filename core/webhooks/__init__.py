"""Webhooks: endpoints that are told every event, and Blnk's transaction hooks, which are endpoints with another body.

Read ``endpoints.py`` first: create, update, delete, rotate and replay. ``turn.py`` delivers for one endpoint: it reads the feed
after the endpoint's cursor, sends, and writes down how it went in one commit. ``dispatcher.py`` keeps a thread for each endpoint
whose lease it has. ``sending.py`` sends one request within a deadline, to an address that ``addresses.py`` has allowed.

Nothing here may run in a drain. A receiver is somebody else's program: it may hang, lie and answer without end.
"""
