"""The keeper of a worker: threads of the main process that do what must happen when nobody else does it.

The keeper looks each second whether the ticks are done in time, by the database's clock. When beat, the broker or all
children are away, frozen or busy, it does the ticks itself. When postings wait and no queue moves, it drains itself. Several
workers do no harm: a tick is claimed, and a drain leaves the queues that others hold.

The keeper kills a child that stays frozen, and Celery starts another in its place.
"""

import os
import signal
import time
from contextlib import suppress
from typing import Any

import structlog
from celery import bootsteps

from core.base.db import reading
from core.ledger import drain as core_drain
from core.ledger.store import waiting as waiting_store
from core.upkeep.heartbeats import State
from worker import envelopes, heart, naming, ticking
from worker.app import announce, children, engine
from worker.threads import Watch

logger = structlog.get_logger()

LATE_S = 3.0
"""The keeper does the ticks itself when one is late by so much."""

STARTING_S = 30.0
"""A worker that runs for less may have been started before beat."""

QUIET_ROUNDS = 2
"""Once it has stood in, the keeper does the ticks when they are due, until so many looks find that somebody else does them."""

STILL_S = 5.0
"""The keeper drains itself when postings wait and no queue has moved for so long."""

PAUSE_S = 1.0


class Keeper(bootsteps.StartStopStep):  # type: ignore[misc]
    """Starts the threads when the children run, before the worker reaches the broker, and stops them at the end."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, deliver: bool = False, **_: Any) -> None:
        self.enabled = not deliver
        self._worker = parent
        self._threads: list[Watch] = []
        self._heart: Watch | None = None
        self._quiet, self._rounds, self._still_s = QUIET_ROUNDS, 0, STILL_S
        self._began = time.monotonic()

    def start(self, parent: Any) -> None:
        """Start the threads."""
        self._heart = heart.start("worker", self._describe)
        self._threads = [
            Watch("keeper of ticks", self.keep_ticks),
            Watch("keeper of queues", self.keep_queues),
            Watch("keeper of children", self.keep_children),
            Watch("identity", naming.end_when_renamed),
        ]

    def stop(self, parent: Any) -> None:
        """Stop the threads, and forget this worker."""
        for thread in self._threads:
            thread.stop()
        heart.stop(self._heart, "worker")

    terminate = stop

    def keep_ticks(self) -> float:
        """Do the ticks that nobody has done in time, and return the pause until the next look."""
        if ticking.run_due(late_s=LATE_S if self._quiet >= QUIET_ROUNDS else 0.0):
            self._rounds += 1
            self._quiet = 0
            if self._rounds == QUIET_ROUNDS:
                # While everything starts, beat is only the last one to come.
                say = logger.info if time.monotonic() - self._began < STARTING_S else logger.warning
                say("no tick came in time, so this worker does the ticks itself")
        elif self._quiet < QUIET_ROUNDS:
            self._quiet += 1
            if self._quiet == QUIET_ROUNDS and self._rounds >= QUIET_ROUNDS:
                logger.info("somebody else does the ticks again")
        else:
            self._rounds = 0
        return PAUSE_S

    def keep_queues(self) -> float:
        """Drain when postings wait and no queue moves, and return the pause until the next look."""
        with reading(engine()) as conn:
            still_s = waiting_store.still_s(conn)
        if still_s is None or still_s < self._still_s:
            self._still_s = STILL_S if still_s is None else self._still_s
            return PAUSE_S
        if self._still_s == STILL_S:
            logger.warning("postings wait and no queue moves, so this worker drains itself", still_s=round(still_s, 1))
        self._still_s = PAUSE_S
        with reading(engine()) as conn:
            waiting = waiting_store.with_work(conn)
        for queue in waiting:
            core_drain.drain(engine(), queue, announce=announce)
        return PAUSE_S

    def keep_children(self) -> float:
        """Kill the children that are frozen, and return the pause until the next look. Celery starts others.

        A child in a long statement is not frozen, because a thread of it gives a sign each second.
        """
        for pid in children.frozen(self._pids()):
            logger.warning("a child gives no sign of life, and is replaced", child=pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return PAUSE_S

    def _pids(self) -> list[int]:
        pool = getattr(self._worker.pool, "_pool", None)
        return [process.pid for process in getattr(pool, "_pool", ()) if process.pid]

    def _describe(self, state: State) -> State:
        consumer = self._worker.consumer
        return State(
            pid=os.getpid(),
            up_s=state.up_s,
            consuming=consumer is not None and consumer.connection is not None,
            standing_in=self._quiet < QUIET_ROUNDS,
            dropped=envelopes.dropped,
            children=children.states(self._pids()),
        )
