"""A Redis that is full, read-only, frozen, gone or failing over fails no call and holds up none, and is used again later."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine
from structlog.testing import capture_logs

import celeryconfig
from core.base import redis_url
from core.doors import clients, notes
from core.doors.notes import Notes
from tests.harness.factories import identified
from tests.harness.processes import wait_until
from tests.harness.redis_servers import celery_of, free_port, names, redis_server, sentinel, take, until_ready

BOUND_S = 10.0
"""No call takes longer, whatever Redis does. It takes a timeout of a second, and the machine may be busy."""


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "PAUSE_S", 0.0)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with redis_server(tmp_path) as port:
        yield port


@pytest.fixture
def ours(engine: Engine, port: int) -> Notes:
    url = f"redis://127.0.0.1:{port}"
    until_ready(url)
    return Notes(clients.connect(redis_url.parse(url)), identified(engine))


def full(redis: Redis) -> None:
    redis.config_set("maxmemory", 1)


def a_replica(redis: Redis) -> None:
    redis.execute_command("REPLICAOF", "127.0.0.1", "1")


def closed(redis: Redis) -> None:
    redis.config_set("requirepass", "another")
    redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def frozen(redis: Redis) -> None:
    os.kill(redis.info("server")["process_id"], signal.SIGSTOP)


def well(redis: Redis, pid: int) -> None:
    os.kill(pid, signal.SIGCONT)
    redis.config_set("requirepass", "")
    redis.config_set("maxmemory", 0)
    redis.execute_command("REPLICAOF", "NO", "ONE")


@pytest.mark.parametrize("ail", [full, a_replica, closed, frozen])
def test_notes_are_lost_while_redis_ails_and_taken_when_it_is_well(
    ours: Notes, port: int, ail: Callable[[Redis], None]
) -> None:
    admin = Redis(port=port)
    pid = admin.info("server")["process_id"]
    assert ours.ring() is True
    ours.answer()
    ail(admin)
    with capture_logs() as logs:
        began = time.monotonic()
        assert ours.ring() is None
        assert time.monotonic() - began < BOUND_S
    assert [line["event"] for line in logs] == ["Redis does not take notes; the sweep does without them"]
    well(admin, pid)
    wait_until(lambda: ours.ring() is not None)
    ours.answer()
    assert ours.ring() is True


def test_a_redis_that_ails_is_left_alone_for_a_while(ours: Notes, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "PAUSE_S", 600.0)
    full(Redis(port=port))
    with capture_logs() as logs:
        assert [ours.ring() for _ in range(3)] == [None, None, None]
    assert len(logs) == 1


@pytest.mark.parametrize("ail", [full, a_replica, closed, frozen])
def test_a_doorbell_fails_in_bounded_time_and_rings_when_redis_is_well(port: int, ail: Callable[[Redis], None]) -> None:
    until_ready(f"redis://127.0.0.1:{port}")
    admin = Redis(port=port)
    pid = admin.info("server")["process_id"]
    app = celery_of(f"redis://127.0.0.1:{port}?socket_timeout=1", names())
    ring(app)
    ail(admin)
    began = time.monotonic()
    assert not rings(app)
    assert time.monotonic() - began < BOUND_S
    well(admin, pid)
    wait_until(lambda: rings(app))
    app.close()


def ring(app: Any) -> None:
    app.send_task(celeryconfig.DRAIN, (7,), retry=False)


def rings(app: Any) -> bool:
    try:
        ring(app)
    except Exception:  # The drivers of brokers raise errors of many types.
        return False
    return True


def test_a_redis_that_starts_again_is_used_at_once(engine: Engine, tmp_path: Path) -> None:
    """A connection that the server closed is opened again within the same call."""
    port = free_port()
    url = f"redis://127.0.0.1:{port}"
    ours = Notes(clients.connect(redis_url.parse(url)), identified(engine))
    for _ in range(2):
        with redis_server(tmp_path, "--port", str(port)):
            until_ready(url)
            assert ours.ring() is True


def test_sentinels_lead_both_to_the_new_master(engine: Engine, tmp_path: Path) -> None:
    """It takes some seconds, because a failover does. The first sentinel of the URL is away."""
    secret = "p@ss/w:rd"
    login = ["--requirepass", secret, "--masterauth", secret, "--repl-diskless-sync-delay", "0"]
    with ExitStack() as stack:
        first = stack.enter_context(redis_server(tmp_path / "1", *login))
        second = stack.enter_context(redis_server(tmp_path / "2", *login, "--replicaof", "127.0.0.1", str(first)))
        servers = {port: until_ready(f"redis://:p%40ss%2Fw%3Ard@127.0.0.1:{port}") for port in (first, second)}
        wait_until(lambda: servers[second].info("replication").get("master_link_status") == "up")
        watcher = stack.enter_context(sentinel(tmp_path / "3", first, secret))
        url = f"sentinel://:p%40ss%2Fw%3Ard@127.0.0.1:1,127.0.0.1:{watcher}/0?master=mymaster&sentinel_password=watch"
        ours = Notes(clients.connect(redis_url.parse(url)), identified(engine))
        app = celery_of(url, names())
        wait_until(lambda: ours.ring() is True)
        ring(app)
        assert take(app, names().postings(7)) == celeryconfig.DRAIN
        ours.answer()
        watching = Redis(port=watcher, password="watch")
        wait_until(lambda: bool(watching.execute_command("SENTINEL", "REPLICAS", "mymaster")))
        wait_until(lambda: _asked(watching, "SENTINEL", "FAILOVER", "mymaster"))
        wait_until(lambda: servers[second].info("replication")["role"] == "master")
        servers[first].execute_command("REPLICAOF", "127.0.0.1", str(second))  # As the sentinel does it seconds later.
        wait_until(lambda: ours.ring() is True)
        wait_until(lambda: rings(app))
        assert servers[second].llen(f"{names().prefix}postings.7") == 1
        assert take(app, names().postings(7)) == celeryconfig.DRAIN
        app.close()


def _asked(redis: Redis, *command: str) -> bool:
    try:
        redis.execute_command(*command)
    except RedisError:  # It does not know the replica well enough yet.
        return False
    return True
