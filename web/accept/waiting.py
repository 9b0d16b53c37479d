"""Wakes requests that wait for an outcome (``?wait=``).

Drains publish their new cursors over Redis. Such a message is only a reason to look at the cursors in Postgres: it may be
lost, late or forged, and Redis may be away. The cursors are also read every half second while a request waits.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

import msgspec
import structlog
from redis import Redis, RedisError
from sqlalchemy import Engine

import celeryconfig
from core.base.db import reading
from core.base.errors import TransientError
from core.base.threads import Loop
from core.ledger.rules.routing import MAX_QUEUES
from core.ledger.store import queues as queue_store

POLL_S = 0.5

_LOOKS_APART_S = 0.005
"""The least time between two looks, however many messages come."""

_decode = msgspec.json.Decoder(dict[Annotated[int, msgspec.Meta(ge=0, lt=MAX_QUEUES)], int]).decode
"""Reads a message. Anything else than queues and whole numbers is refused."""

logger = structlog.get_logger()


class Waiting:
    """Holds the waiting requests of a web process, at most ``places``, so that they never take every thread.

    ``health`` and metrics read the attributes that have a docstring.
    """

    def __init__(self, engine: Engine, redis: "Redis | None", places: int) -> None:
        self.malformed = 0
        """The number of messages on the channel that no drain of ours has published."""
        self._engine = engine
        self._redis = redis
        self._capacity = places
        self._forked()
        self.loop = Loop("waiting", self._step, after_fork=self._forked)

    def wait(self, queue: int, seq: int, timeout_s: float) -> None:
        """Return when the queue is decided up to ``seq`` or the time is over. Returns at once if all places are taken."""
        if timeout_s <= 0 or not self._places.acquire(blocking=False):
            return
        self.loop.ensure()
        waiter = (queue, seq, threading.Event())
        try:
            with self._lock:
                self._waiters.append(waiter)
                if self._cursors.get(queue, 0) >= seq:
                    return
                heard = self._heard.get(queue, 0) >= seq
            if heard:  # The message came before the request began to wait.
                with suppress(TransientError):
                    self._look()
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
        """Wake the requests that wait for a place that these cursors have reached. They come from Postgres, or a drain here."""
        with self._lock:
            self._cursors.update(cursors)
            for queue, seq, decided in self._waiters:
                if self._cursors.get(queue, 0) >= seq:
                    decided.set()

    def _forked(self) -> None:
        """Begin without waiting requests, which are the parent's."""
        self._places = threading.BoundedSemaphore(self._capacity)
        self._cursors: dict[int, int] = {}
        self._heard: dict[int, int] = {}
        """The cursors that messages named since the last look. They may be forged."""
        self._waiters: list[tuple[int, int, threading.Event]] = []
        self._lock = threading.Lock()
        self._subscription: Any = None
        self._looked_at = 0.0

    def _step(self) -> None:
        """Listen for a moment, and look if a request waits and a message or the time is a reason to."""
        has_news = self._listen()
        since_s = time.monotonic() - self._looked_at
        if self._waiters and (has_news or since_s > POLL_S):
            time.sleep(max(0.0, _LOOKS_APART_S - since_s))
            self._looked_at = time.monotonic()
            try:
                self._look()
            except TransientError:
                time.sleep(POLL_S)

    def _listen(self) -> bool:
        """Wait for a message, and return whether it may concern a waiting request."""
        if self._redis is None:
            time.sleep(POLL_S / 5)
            return False
        try:
            if self._subscription is None:
                subscription = self._redis.pubsub(ignore_subscribe_messages=True)
                subscription.subscribe(celeryconfig.DECIDED_CHANNEL)
                self._subscription = subscription
            message = self._subscription.get_message(timeout=POLL_S / 5)
        except (RedisError, OSError):
            self._subscription = None
            time.sleep(POLL_S / 5)
            return False
        except BaseException:
            self._subscription = None
            raise
        return message is not None and self._concerns(message["data"])

    def _concerns(self, data: Any) -> bool:
        """Note a message, and tell whether it says that the place of a waiting request is decided."""
        try:
            cursors = _decode(data)
        except (msgspec.MsgspecError, TypeError, ValueError, RecursionError):
            self.malformed += 1
            return False
        with self._lock:
            self._heard.update(cursors)
            return any(cursors.get(queue, 0) >= seq for queue, seq, _ in self._waiters)

    def _look(self) -> None:
        with self._lock:
            self._heard.clear()
        with reading(self._engine) as conn:
            cursors = queue_store.cursors(conn)
        with self._lock:  # A queue that a resize has removed had run empty by then.
            gone = {queue: seq for queue, seq, _ in self._waiters if queue not in cursors}
        self.moved({**gone, **cursors})
