"""Wakes requests that wait for an outcome (``?wait=``).

Drains publish their new cursors over Redis. Such a message is only a reason to look at the cursors in Postgres: it may be
lost, late or forged, and Redis may be away. The cursors are also read every half second while a request waits.

Where nobody waits, nobody listens: each message costs some CPU time, and a busy ledger sends a hundred a second.
"""

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

import msgspec
import structlog
from redis import Redis
from redis.client import PubSub
from sqlalchemy import Engine

from core.base.db import reading
from core.base.errors import TransientError
from core.base.quick import about_to_wait
from core.base.threads import Loop
from core.doors.identity import LOOK_S, Identity
from core.doors.names import Names
from core.events import feed
from core.events.answers import Position
from core.events.types import Types
from core.ledger.rules.routing import MAX_QUEUES
from core.ledger.store import queues as queue_store

POLL_S = 0.5

LISTEN_S = 10.0
"""The thread listens for so long after a request has begun to wait, because another may come."""

_SUBSCRIBE_AGAIN_S = 3.0
"""The pause before another subscription, after one has failed. Redis may stand still, and each try costs a timeout."""

_UNANSWERED = 2
"""So many questions that Redis has not answered end a subscription, which may be lost without a sign."""

_LOOKS_APART_S = 0.005
"""The least time between two looks, however many messages come."""

_decode = msgspec.json.Decoder(dict[Annotated[int, msgspec.Meta(ge=0, lt=MAX_QUEUES)], int]).decode
"""Reads a message. Anything else than queues and whole numbers is refused."""

logger = structlog.get_logger()


class Waiting:
    """Holds the waiting requests of a web process, at most ``places``, so that they never take every thread."""

    def __init__(self, engine: Engine, redis: "Redis | None", identity: Identity, places: int) -> None:
        self._engine = engine
        self._redis = redis
        self._identity = identity
        self._capacity = places
        self._forked()
        self.loop = Loop("waiting", self._step, after_fork=self._forked, wake=lambda: self._begun.set())

    def wait(self, queue: int, seq: int, timeout_s: float) -> None:
        """Return when the queue is decided up to ``seq`` or the time is over. Returns at once if all places are taken."""
        about_to_wait()
        if timeout_s <= 0 or not self._places.acquire(blocking=False):
            return
        self._begin()
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
        about_to_wait()
        if timeout_s <= 0 or not self._places.acquire(blocking=False):
            return
        try:
            deadline = time.monotonic() + timeout_s
            while not is_over() and (left_s := deadline - time.monotonic()) > 0:
                time.sleep(min(POLL_S, left_s))
        finally:
            self._places.release()

    def beyond(self, position: Position, types: Types, timeout_s: float) -> bool:
        """Return when the feed has gone beyond a position. Returns False when the time is over, or all places are taken.

        Whatever a drain publishes is a reason to look where the feed ends. One look serves all requests that wait.
        """
        about_to_wait()
        if timeout_s <= 0 or not self._places.acquire(blocking=False):
            return False
        self._begin()
        reader = (position, types, threading.Event())
        try:
            with self._lock:
                self._readers.append(reader)
            return reader[2].wait(timeout_s)
        finally:
            with self._lock:
                self._readers.remove(reader)
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
        self._readers: list[tuple[Position, Types, threading.Event]] = []
        self._lock = threading.Lock()
        self._subscription: tuple[Names, PubSub] | None = None
        self._subscribe_at = 0.0
        self._identified_at = -math.inf
        self._looked_at = 0.0
        self._waited_at = -math.inf
        """The monotonic time at which a request began to wait last."""
        self._begun = threading.Event()

    def _begin(self) -> None:
        """Let the thread listen, for a request begins to wait."""
        self._waited_at = time.monotonic()
        if not self._begun.is_set():
            self._begun.set()
        self.loop.ensure()

    def _is_wanted(self) -> bool:
        return bool(self._waiters or self._readers) or time.monotonic() - self._waited_at < LISTEN_S

    def _step(self) -> None:
        """Listen for a moment, and look if a request waits and a message or the time is a reason to."""
        names = self._names()
        if not self._is_wanted():
            self._unsubscribe()
            self._begun.clear()
            if not self._is_wanted():  # A request may have begun to wait in between.
                self._begun.wait(POLL_S if names is None else LOOK_S)
            return
        has_news = self._listen(names)
        since_s = time.monotonic() - self._looked_at
        if (self._waiters or self._readers) and (has_news or since_s > POLL_S):
            time.sleep(max(0.0, _LOOKS_APART_S - since_s))
            self._looked_at = time.monotonic()
            try:
                self._look()
            except TransientError:
                time.sleep(POLL_S)

    def _names(self) -> Names | None:
        """Return the ledger's names, and look now and then whether it has others."""
        every_s = POLL_S if self._identity.names is None else LOOK_S
        if time.monotonic() - self._identified_at > every_s:
            self._identity.look()
            self._identified_at = time.monotonic()
        return self._identity.names

    def _listen(self, names: Names | None) -> bool:
        """Wait for a message, and return whether it may concern a waiting request."""
        if self._redis is None or names is None or time.monotonic() < self._subscribe_at:
            time.sleep(POLL_S / 5)
            return False
        is_new = self._subscription is None or self._subscription[0] != names
        try:
            if is_new:
                self._unsubscribe()
                subscription = self._redis.pubsub(ignore_subscribe_messages=True)
                subscription.subscribe(names.decided)
                self._subscription = names, subscription
            assert self._subscription is not None
            subscription = self._subscription[1]
            message = subscription.get_message(timeout=POLL_S / 5)
            if subscription.health_check_response_counter >= _UNANSWERED:
                raise TimeoutError("Redis does not answer")
        except Exception:  # Redis is away or refuses, so those who wait look every half second.
            self._unsubscribe()
            self._subscribe_at = time.monotonic() + _SUBSCRIBE_AGAIN_S
            return False
        except BaseException:
            self._subscription = None
            raise
        # What was published before the subscription began, which its first message says, was not heard.
        return (message is not None and self._concerns(message["data"])) or is_new

    def _unsubscribe(self) -> None:
        if self._subscription is not None:
            with suppress(Exception):
                self._subscription[1].close()
        self._subscription = None

    def _concerns(self, data: Any) -> bool:
        """Note a message, and tell whether it says that the place of a waiting request is decided."""
        try:
            cursors = _decode(data)
        except (msgspec.MsgspecError, TypeError, ValueError, RecursionError):
            return False  # No drain of ours has published it.
        with self._lock:
            self._heard.update(cursors)
            return bool(self._readers) or any(cursors.get(queue, 0) >= seq for queue, seq, _ in self._waiters)

    def _look(self) -> None:
        with self._lock:
            self._heard.clear()
        with reading(self._engine) as conn:
            cursors = queue_store.cursors(conn)
            ends = feed.ends(conn) if self._readers else None
        if ends is not None:
            with self._lock:
                for position, types, is_there in self._readers:
                    if ends.of(types) > position:
                        is_there.set()
        with self._lock:  # A queue that a resize has removed had run empty by then.
            gone = {queue: seq for queue, seq, _ in self._waiters if queue not in cursors}
        self.moved({**gone, **cursors})
