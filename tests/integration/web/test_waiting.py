"""``?wait=`` believes only Postgres: whatever comes over Redis, a request waits until its place is decided."""

import json
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy import Engine

from core.base import threads
from core.ledger.rules.model import Accepted
from tests.harness.factories import Ledger, identified
from tests.harness.processes import wait_until
from web.accept import waiting as waiting_module
from web.accept.waiting import Waiting

WITHIN_S = 30


class Channel:
    """A Redis that delivers what a test puts into it. An exception is raised, and anything else is a message's data."""

    def __init__(self) -> None:
        self.data: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def pubsub(self, **_: Any) -> "Channel":
        return self

    health_check_response_counter = 0

    def subscribe(self, *_: Any) -> None:
        pass

    def close(self) -> None:
        pass

    def get_message(self, timeout: float) -> dict[str, Any] | None:
        try:
            data = self.data.get(timeout=timeout)
        except queue.Empty:
            return None
        if isinstance(data, BaseException):
            raise data
        return {"data": data}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "PAUSE_S", 0.001)


@pytest.fixture
def channel() -> Channel:
    return Channel()


@pytest.fixture
def deaf(engine: Engine, channel: Channel, monkeypatch: pytest.MonkeyPatch) -> Waiting:
    """Waits without a regular look, so that only messages wake it."""
    monkeypatch.setattr(waiting_module, "POLL_S", 600.0)
    waiting = Waiting(engine, cast("Redis", channel), identified(engine), 8)
    waiting._looked_at = time.monotonic()
    waiting._begin()
    return waiting


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


MALFORMED: list[Any] = [
    b"not JSON",
    b"",
    b"\xff\xfe",
    b"[1, 2]",
    b"null",
    b"7",
    b'{"0": null}',
    b'{"0": "1"}',
    b'{"0": {"0": 1}}',
    b'{"0": 1.5}',
    b'{"0": 1e400}',
    b'{"0": ' + b"9" * 10_000 + b"}",
    b'{"x": 1}',
    b'{"-1": 1}',
    b'{"999999": 1}',
    b"[" * 100_000,
    b'{"0":' * 100_000,
    None,
    1,
    ["a list"],
]


@pytest.mark.parametrize("data", MALFORMED, ids=lambda data: repr(data)[:20])
def test_a_malformed_message_ends_nothing(
    ledger: Ledger, deaf: Waiting, channel: Channel, pool: ThreadPoolExecutor, data: Any
) -> None:
    posted = ledger.post()
    waiting = _wait(deaf, posted, pool)
    channel.data.put(data)
    ledger.drain()
    channel.data.put(json.dumps({posted.queue: posted.seq}).encode())
    waiting.result(WITHIN_S)
    assert (deaf.loop.failures, deaf.loop.starts) == (0, 1)


@pytest.mark.parametrize("error", [RedisConnectionError(), OSError(), ValueError("a bug of the driver"), SystemExit()])
def test_an_error_of_the_channel_ends_nothing(
    ledger: Ledger, engine: Engine, channel: Channel, pool: ThreadPoolExecutor, error: BaseException
) -> None:
    waiting = Waiting(engine, cast("Redis", channel), identified(engine), 8)
    posted = ledger.post()
    done = _wait(waiting, posted, pool)
    channel.data.put(error)
    ledger.drain()
    done.result(WITHIN_S)
    assert waiting.loop.starts == 1


@pytest.mark.parametrize("cursor", [1, 10**9, 10**30])
def test_a_forged_cursor_makes_nobody_believe_it(
    ledger: Ledger, deaf: Waiting, channel: Channel, pool: ThreadPoolExecutor, cursor: int
) -> None:
    posted = ledger.post()
    waiting = _wait(deaf, posted, pool)
    for _ in range(3):
        channel.data.put(json.dumps({posted.queue: cursor}).encode())
    with pytest.raises(TimeoutError):
        waiting.result(0.3)
    later = pool.submit(deaf.wait, posted.queue, posted.seq, 600.0)
    with pytest.raises(TimeoutError):
        later.result(0.3)
    ledger.drain()
    channel.data.put(json.dumps({posted.queue: posted.seq}).encode())
    waiting.result(WITHIN_S)
    later.result(WITHIN_S)


def test_a_message_that_comes_before_the_request_waits_is_not_lost(
    ledger: Ledger, deaf: Waiting, channel: Channel, pool: ThreadPoolExecutor
) -> None:
    posted = ledger.post()
    ledger.drain()
    channel.data.put(json.dumps({posted.queue: posted.seq}).encode())
    pause = threading.Event()
    while not deaf._heard:
        pause.wait(0.01)
    pool.submit(deaf.wait, posted.queue, posted.seq, 600.0).result(WITHIN_S)


def test_a_thread_listens_when_a_request_waits_and_not_when_none_does(
    ledger: Ledger, engine: Engine, channel: Channel, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_module, "POLL_S", 0.05)
    monkeypatch.setattr(waiting_module, "LISTEN_S", 0.0)
    monkeypatch.setattr(waiting_module, "LOOK_S", 600.0)
    waiting = Waiting(engine, cast("Redis", channel), identified(engine), 8)
    for _ in range(2):
        assert waiting._subscription is None
        posted = ledger.post()
        done = _wait(waiting, posted, pool)
        wait_until(lambda: waiting._subscription is not None)
        ledger.drain()
        done.result(WITHIN_S)
        wait_until(lambda: waiting._subscription is None)


def _wait(waiting: Waiting, posted: Accepted, pool: ThreadPoolExecutor) -> Any:
    """Wait for a place in a thread. Returns when the thread waits."""
    future = pool.submit(waiting.wait, posted.queue, posted.seq, 600.0)
    pause = threading.Event()
    while not waiting._waiters and not future.done():
        pause.wait(0.01)
    return future
