"""Wakes requests that wait for an outcome (``?wait=``).

Drains publish their new cursors over Redis. Such a message may be lost, or Redis may be away, so the cursors in Postgres
are also read, every half second while a request waits.
"""

import json
import threading
import time
from collections.abc import Callable

import structlog
from redis import Redis, RedisError
from sqlalchemy import Engine

import celeryconfig
from core.base.db import reading
from core.base.errors import TransientError
from core.ledger.store import queues as queue_store

POLL_S = 0.5

logger = structlog.get_logger()


class Waiting:
    """Holds the waiting requests of a web process, at most ``places``, so that they never take every thread."""

    def __init__(self, engine: Engine, redis: "Redis | None", places: int) -> None:
        self._engine = engine
        self._redis = redis
        self._places = threading.BoundedSemaphore(places)
        self._cursors: dict[int, int] = {}
        self._waiters: list[tuple[int, int, threading.Event]] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._run, name="waiting", daemon=True).start()

    def wait(self, queue: int, seq: int, timeout_s: float) -> None:
        """Return when the queue is decided up to ``seq`` or the time is over. Returns at once if all places are taken."""
        if timeout_s <= 0 or not self._places.acquire(blocking=False):
            return
        waiter = (queue, seq, threading.Event())
        try:
            with self._lock:
                self._waiters.append(waiter)
                if self._cursors.get(queue, 0) >= seq:
                    return
            waiter[2].wait(timeout_s)
        finally:
            with self._lock:
                self._waiters.remove(waiter)
            self._places.release()

    def until(self, is_over: Callable[[], bool], timeout_s: float) -> None:
        """Return when ``is_over`` says so, which is called every half second, or when ``wait`` would give up."""
        if timeout_s <= 0 or not self._places.acquire(blocking=False):
            return
        try:
            deadline = time.monotonic() + timeout_s
            while not is_over() and (left_s := deadline - time.monotonic()) > 0:
                time.sleep(min(POLL_S, left_s))
        finally:
            self._places.release()

    def moved(self, cursors: dict[int, int]) -> None:
        """Wake the requests that wait for a place that these cursors have reached."""
        with self._lock:
            self._cursors.update(cursors)
            for queue, seq, decided in self._waiters:
                if self._cursors.get(queue, 0) >= seq:
                    decided.set()

    def _run(self) -> None:
        subscription = None
        polled_at = 0.0
        while True:
            try:
                if self._redis is not None and subscription is None:
                    subscription = self._redis.pubsub(ignore_subscribe_messages=True)
                    subscription.subscribe(celeryconfig.DECIDED_CHANNEL)
                if subscription is None:
                    time.sleep(POLL_S / 5)
                elif message := subscription.get_message(timeout=POLL_S / 5):
                    self.moved({int(queue): cursor for queue, cursor in json.loads(message["data"]).items()})
            except (RedisError, OSError):
                subscription = None
                time.sleep(POLL_S / 5)
            try:
                if self._waiters and time.monotonic() - polled_at > POLL_S:
                    polled_at = time.monotonic()
                    with reading(self._engine) as conn:
                        cursors = queue_store.cursors(conn)
                    with self._lock:  # A queue that a resize has removed had run empty by then.
                        gone = {queue: seq for queue, seq, _ in self._waiters if queue not in cursors}
                    self.moved({**gone, **cursors})
            except TransientError:
                time.sleep(POLL_S)
