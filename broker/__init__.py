"""What web and worker share to talk over Redis or another broker: the ledger's names there, and clients.

Read ``names.py`` first. Everything that a ledger has in Redis and Celery carries its identity, so that several ledgers share
a server without hearing each other. ``clients.py`` turns the one URL of a Redis server into what Celery and our own client
take. Nothing here knows what a message is about.
"""
