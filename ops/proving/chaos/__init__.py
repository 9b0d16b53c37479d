"""The parts of ``pacioli torture``: a service that can be hit, faults to hit it with, clients, and checks.

Read ``repertoire.py`` first, which lists every fault. ``arena.py`` runs the service on a Postgres and a Redis behind proxies.
``processes.py``, ``postgres.py``, ``redis.py`` and ``network.py`` hold the faults of one kind each. ``clients.py`` and
``readers.py`` are the users, ``stopwatch.py`` times every answer, and ``checks.py`` compares what was promised with what is
there. Nothing here is part of the service.
"""
