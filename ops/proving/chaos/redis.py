"""Faults of Redis: killed, frozen, emptied, out of memory, a replica that takes nothing, and full of junk."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from redis import Redis

from core.doors.names import Names, names_of
from ops.proving.chaos.fault import Blow, Missed, frozen

JUNK: tuple[bytes, ...] = (
    b"junk",
    b"\xff\xfe\x00",
    b"{}",
    b"[]",
    b"null",
    b'{"body": 1}',
    b'{"body": "W10=", "headers": {"task": "no.such.task", "id": "1"}, "properties": {}}',
    b"[" * 50_000,
    b'{"0": "x"}',
    b"1" * 5_000,
)
"""Messages that no service of ours sends."""


def kill(blow: Blow) -> None:
    _server(blow).kill()


def dead(blow: Blow) -> None:
    with blow.arena.keeper.holding(blow.arena.redis):
        _server(blow).kill()
        time.sleep(5)


def freeze(blow: Blow) -> None:
    """Frozen is worse than gone: connections stay open, and nothing answers."""
    with frozen(_server(blow)):
        time.sleep(blow.for_s)


def flush(blow: Blow) -> None:
    with _client(blow) as redis:
        redis.flushall()


def out_of_memory(blow: Blow) -> None:
    with _client(blow) as redis:
        redis.config_set("maxmemory", 1)
        try:
            time.sleep(blow.for_s)
        finally:
            redis.config_set("maxmemory", 0)


def read_only_replica(blow: Blow) -> None:
    """Make it the replica of a server that is not there, as a failover may leave it."""
    with _client(blow) as redis:
        redis.execute_command("REPLICAOF", "127.0.0.1", 1)
        try:
            time.sleep(blow.for_s)
        finally:
            redis.execute_command("REPLICAOF", "NO", "ONE")


def junk(blow: Blow) -> None:
    """Put junk into every queue of Celery and on the channel of the decisions, and leave a bell that nobody rang."""
    names = _names(blow)
    with _client(blow) as redis:
        queues = [names.maintenance, names.ticks, *(names.postings(number) for number in range(4))]
        for message in JUNK:
            for queue in queues:
                redis.lpush(f"{names.prefix}{queue}", message)
            redis.publish(names.decided, message)
        redis.set(names.bell, b"junk")


def _server(blow: Blow) -> psutil.Process:
    process = blow.arena.redis.process
    if process is None or not blow.arena.redis.running:
        raise Missed
    return psutil.Process(process.pid)


def _names(blow: Blow) -> Names:
    with blow.arena.connect() as conn:
        row = conn.execute("SELECT id FROM identity").fetchone()
    assert row is not None, "a migration makes it"
    return names_of(row[0], on_redis=True)


@contextmanager
def _client(blow: Blow) -> Iterator["Redis"]:
    redis = Redis.from_url(blow.arena.redis.url, socket_timeout=2, socket_connect_timeout=2)
    try:
        yield redis
    finally:
        redis.close()
