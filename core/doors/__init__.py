"""The doors share this: a ledger's names in Redis and Celery, clients of Redis, and the metrics of a process.

Read ``names.py`` first. Everything that a ledger has in Redis and Celery carries its identity, so that several ledgers share
a server without hearing each other. ``clients.py`` turns the one URL of a Redis server into what Celery and our own client
take, ``notes.py`` sends what may be lost, and ``metrics.py`` counts. Nothing here decides about money, and no other folder
of the core imports it.
"""
