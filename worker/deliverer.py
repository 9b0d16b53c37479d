"""The deliverer: a worker of a kind of its own, which sends webhooks and hooks, and decides nothing.

It is a Celery node with a queue of its own, ``celery -A worker.app worker --deliver``, to which nothing is sent: a node consumes
one. The messages of drains on Redis wake it, which cost the drains nothing more. Without Redis, its threads look every second.
"""

import os
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from celery import bootsteps
from redis.client import PubSub
from sqlalchemy import Engine

from celeryconfig import SETTINGS
from core.base.actors import TICK, acting_for
from core.base.db import connect
from core.doors import clients, metrics
from core.doors.names import Names
from core.upkeep import heartbeats
from core.upkeep.heartbeats import State
from core.webhooks.dispatcher import PART, Dispatcher
from core.webhooks.operator import operator_of, safe_of
from core.webhooks.sending import Outcome
from core.webhooks.turn import Means
from worker import envelopes, heart, naming
from worker.app import identity
from worker.threads import Watch

logger = structlog.get_logger()

CONNECTIONS = 8
"""The connections to Postgres. A thread has one while it reads what to send, and while it writes how that went."""

WAIT_S = 2.0
"""A wait for a message ends after so long, to look whether the ledger has another name."""

AGAIN_S = 3.0
"""Redis is left alone for so long after a failure."""


class Deliverer(bootsteps.StartStopStep):  # type: ignore[misc]
    """Starts the threads that deliver before the node reaches the broker, and stops them at the end."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, deliver: bool = False, **_: Any) -> None:
        self.enabled = deliver
        self._worker = parent
        self._threads: list[Watch] = []
        self._heart: Watch | None = None
        self._engine: Engine | None = None
        self._dispatcher: Dispatcher | None = None

    def start(self, parent: Any) -> None:
        """Start the threads."""
        safe = safe_of(SETTINGS)
        self._heart = heart.start(PART, self._describe)
        self._threads = [Watch("identity", naming.end_when_renamed)]
        if safe is None:
            logger.warning("no webhook is delivered, for neither PACIOLI_PEPPER nor PACIOLI_SECRET_KEY is set")
            return
        assert SETTINGS.database_url is not None
        self._engine = connect(SETTINGS.database_url.reveal(), connections=CONNECTIONS, pooler=SETTINGS.pooler)
        by = heartbeats.name_of(PART)
        dispatcher = Dispatcher(Means(engine=self._engine, by=by, safe=safe, operator=operator_of(SETTINGS)))
        dispatcher.observe = _count
        self._threads += [Watch("leases", partial(_acting, dispatcher)), Watch("news", News(dispatcher).listen)]
        self._dispatcher = dispatcher

    def stop(self, parent: Any) -> None:
        """Stop the threads, give the leases back, and forget this process."""
        for thread in self._threads:
            thread.stop()
        if self._dispatcher is not None:
            self._dispatcher.stop()
        heart.stop(self._heart, PART)

    terminate = stop

    def _describe(self, state: State) -> State:
        consumer = self._worker.consumer
        return State(
            pid=os.getpid(),
            up_s=state.up_s,
            consuming=consumer is not None and consumer.connection is not None,
            dropped=envelopes.dropped,
        )


class News:
    """Listens on Redis for how far drains are. Any such message means that there may be events."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._redis = clients.connect(SETTINGS.redis) if SETTINGS.redis is not None else None
        self._subscription: tuple[Names, PubSub] | None = None

    def listen(self) -> float:
        """Wait for a message for a moment, and return the pause until the next look."""
        names = identity().names
        if self._redis is None or names is None:
            return 1.0
        try:
            if self._subscription is None or self._subscription[0] != names:
                subscription = self._redis.pubsub(ignore_subscribe_messages=True)
                subscription.subscribe(names.decided)
                self._subscription = names, subscription
            if self._subscription[1].get_message(timeout=WAIT_S) is not None:
                self._dispatcher.ring()
        except Exception:  # Redis is away, and the threads look every second.
            if self._subscription is not None:
                with suppress(Exception):
                    self._subscription[1].close()
            self._subscription = None
            return AGAIN_S
        return 0.0


def _acting(dispatcher: Dispatcher) -> float:
    with acting_for(TICK):
        return dispatcher.look()


def _count(outcome: Outcome) -> None:
    metrics.count_delivery(outcome.status, outcome.took_ms / 1000, is_done=outcome.is_done)
