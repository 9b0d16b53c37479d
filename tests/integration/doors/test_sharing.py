"""Two ledgers on one Redis, in two schemas of one database, never hear each other."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from flask import Flask
from redis import Redis

import celeryconfig
from core.base.db import connect
from core.base.environment import variables
from core.doors.notes import Notes
from tests.harness.api import Api
from tests.harness.databases import new_database, new_schema
from tests.harness.factories import identified
from tests.harness.processes import wait_until
from tests.harness.redis_servers import celery_of, names, needs_redis_7, redis_server, take, until_ready
from tests.integration.doors.test_redis_urls import LEAST
from web.app import create_app
from web.service import Service


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as port:
        yield f"redis://127.0.0.1:{port}/0"


@pytest.fixture(scope="module")
def two_urls(postgres: str) -> tuple[str, str]:
    url = new_database(postgres)
    return url, new_schema(url)


@pytest.fixture
def redis(url: str) -> Redis:
    client = until_ready(url)
    client.flushall()
    return client


@pytest.fixture
def two(url: str) -> Iterator[tuple[Celery, Celery]]:
    """Celery of two ledgers on one Redis, which delivers again at once what was not acknowledged."""
    apps = [celery_of(url, names(number), visibility_timeout=0) for number in (1, 2)]
    yield apps[0], apps[1]
    for app in apps:
        app.close()


@pytest.fixture
def notes(redis: Redis, two_urls: tuple[str, str]) -> Iterator[tuple[Notes, Notes]]:
    engines = [connect(each) for each in two_urls]
    one, other = (Notes(redis, identified(engine)) for engine in engines)
    yield one, other
    for engine in engines:
        engine.dispose()


def test_a_doorbell_of_one_reaches_no_worker_of_the_other(redis: Redis, two: tuple[Celery, Celery]) -> None:
    one, other = two
    one.send_task(celeryconfig.DRAIN, (7,), retry=False)
    one.send_task(celeryconfig.TICK, retry=False)
    assert take(other, names(2).postings(7)) is None
    assert take(other, names(2).ticks) is None
    assert take(one, names(1).postings(7)) == celeryconfig.DRAIN
    assert take(one, names(1).ticks) == celeryconfig.TICK


def test_what_one_has_not_acknowledged_is_not_delivered_again_by_the_other(
    redis: Redis, two: tuple[Celery, Celery]
) -> None:
    one, other = two
    one.send_task(celeryconfig.DRAIN, (7,), retry=False)
    with one.connection_for_read() as connection, other.connection_for_read() as elsewhere:
        assert connection.default_channel.basic_get(names(1).postings(7)) is not None
        elsewhere.default_channel.qos.restore_visible(interval=1)
        assert redis.hlen(f"{names(1).prefix}unacked") == 1
        connection.default_channel.qos.restore_visible(interval=1)
        assert redis.hlen(f"{names(1).prefix}unacked") == 0


def test_a_bell_that_waits_in_one_silences_no_bell_of_the_other(notes: tuple[Notes, Notes]) -> None:
    one, other = notes
    assert (one.ring(), other.ring()) == (True, True)
    assert (one.ring(), other.ring()) == (False, False)
    other.answer()
    assert (one.ring(), other.ring()) == (False, True)


def test_cursors_of_one_wake_nobody_of_the_other(redis: Redis, notes: tuple[Notes, Notes]) -> None:
    one, other = notes
    listener = redis.pubsub(ignore_subscribe_messages=True)
    listener.psubscribe("*")
    channels = []
    for announce in (one.announce, other.announce):
        while (message := listener.get_message(timeout=0.5)) is None:
            announce({1: 2})
        channels.append(message["channel"])
        assert list(_messages(listener)) == []
    assert channels[0] != channels[1]
    listener.close()


def _messages(listener: Any) -> Iterator[dict[str, Any]]:
    while (message := listener.get_message(timeout=0.5)) is not None:
        yield message


def test_a_worker_of_one_leaves_the_bells_and_the_postings_of_the_other(
    url: str, redis: Redis, two_urls: tuple[str, str], tmp_path: Path
) -> None:
    """The worker's user may touch nothing but what has the prefix of its ledger, and it asks for nothing else."""
    needs_redis_7(redis)
    app, other = (_web(each, url) for each in two_urls)
    mine, others = (_service(each).identity.look() for each in (app, other))
    assert mine is not None and others is not None
    rules = f"on nopass ~{others.prefix}* resetchannels &{others.prefix}* {LEAST}"
    redis.execute_command("ACL", "SETUSER", "other", *rules.split())
    redis.execute_command("ACL", "LOG", "RESET")
    api, neighbour = Api(app, app.test_client()), Api(other, other.test_client())
    posted = api.post(destination="@Mine").get_json()
    wait_until(lambda: bool(redis.keys(f"{mine.prefix}postings.*")))
    (queue,) = redis.keys(f"{mine.prefix}postings.*")
    with _worker(two_urls[1], url.replace("//", "//other:any@"), tmp_path / "log"):
        left = neighbour.post(destination="@Theirs").get_json()
        wait_until(lambda: neighbour.transaction(left["transaction_id"])["status"] == "APPLIED")
        wait_until(lambda: not redis.keys(f"{others.prefix}postings.*"))
    assert redis.llen(queue) == 1
    assert api.transaction(posted["transaction_id"])["status"] == "QUEUED"
    assert redis.execute_command("ACL", "LOG") == [], (tmp_path / "log").read_text()
    for each in (app, other):
        _service(each).engine.dispose()


def _service(app: Flask) -> Service:
    found: Service = app.extensions["pacioli"]
    return found


def _web(database: str, url: str) -> Flask:
    app = create_app({"DATABASE_URL": database, "REDIS_URL": url})
    service = _service(app)
    found = service.identity.look()
    assert found is not None
    service.doorbell._sender = found, celery_of(url, found)
    return app


@contextmanager
def _worker(database: str, url: str, log: Path) -> Iterator[None]:
    """Run a worker as the Procfile does, with one child."""
    ours = {variable.name for variable in variables().values()}
    env = {name: value for name, value in os.environ.items() if name not in ours}
    env |= {"DATABASE_URL": database, "REDIS_URL": url, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "celery", "-A", "worker.app", "worker", "--loglevel", "INFO", "--concurrency", "1"]
    with log.open("w") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=output)
        try:
            wait_until(lambda: "ready." in log.read_text() or process.poll() is not None)
            assert process.poll() is None, log.read_text()
            yield
        finally:
            process.terminate()
            process.wait(30)
