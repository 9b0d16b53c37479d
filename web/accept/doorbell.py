"""Rings the doorbells of queues that got work. While a bell waits unanswered, none is rung.

One bell is enough, because the worker that answers it looks at every queue. It rings for the queues that it leaves to others.

A thread of its own rings and announces, so no request waits for the broker. When the broker is away, only bells are lost,
and the sweep rings them later.
"""

import threading
import time
from collections.abc import Iterable
from typing import Any

import structlog
from celery import Celery
from structlog.contextvars import bind_contextvars

import celeryconfig
from core.base import logs, tracing
from core.base.errors import TransientError
from core.base.threads import Loop
from core.doors.identity import Identity
from core.doors.names import Names
from core.doors.notes import Notes

PAUSE_S = 0.02
"""The time between two rounds of ringing. Under load, work gathers meanwhile and is drained in fewer, larger batches."""
LONE_S = 0.008
"""The same after a round for one commit and one queue, which is no load."""
AHEAD_S = 0.06
"""The rounds after a quiet moment may be so far ahead of their times, so that a transaction alone does not wait."""

logger = structlog.get_logger()


class Doorbell:
    """Rings for a web process. Where ``notes`` cannot tell whether a bell waits, the broker caps the queues itself.

    ``health`` and metrics read the attributes that have a docstring.
    """

    def __init__(self, identity: Identity, notes: Notes) -> None:
        self.rung = 0
        """The number of bells that the broker got."""
        self.coalesced = 0
        """The number of rounds in which none was rung, because one waits unanswered and is answered for all queues."""
        self.failed = 0
        """The number of bells that the broker did not get. The sweep rings them later."""
        self._rung_by: str | None = None
        """The request that rang last, which the worker's log names, and its trace."""
        self._trace: str | None = None
        self._identity = identity
        self._notes = notes
        self._forked()
        self.loop = Loop("doorbell", self._step, after_fork=self._forked, wake=lambda: self._work.set())

    def ring(self, queues: Iterable[int]) -> None:
        """Ask workers to drain these queues soon. The call returns at once and never fails."""
        with self._lock:
            self._queues.update(queues)
            self._calls += 1
            wanted = bool(self._queues)
            self._rung_by, self._trace = logs.request_id(), tracing.traceparent()
        if wanted:
            self._work.set()
            self.loop.ensure()

    def announce(self, cursors: dict[int, int]) -> None:
        """Publish how far queues are decided. The call returns at once and never fails."""
        with self._lock:
            self._cursors.update(cursors)
        self._work.set()
        self.loop.ensure()

    def wake(self, task: str) -> None:
        """Ask a worker to run a task soon, which beat would ask for as well. The call returns at once and never fails."""
        with self._lock:
            self._tasks.add(task)
            self._rung_by, self._trace = logs.request_id(), tracing.traceparent()
        self._work.set()
        self.loop.ensure()

    def send(self, task: str, *args: Any) -> None:
        """Ask a worker to run a task, and return when the broker has it.

        Raises:
            TransientError: the broker is away.
        """
        try:
            given = {logs.REQUEST_ID: logs.request_id(), tracing.TRACEPARENT: tracing.traceparent()}
            headers = {name: value for name, value in given.items() if value} or None
            self._celery().send_task(task, args, retry=False, headers=headers)
        except Exception as error:  # The drivers of brokers raise errors of many types.
            raise TransientError("the broker is not available right now; try again") from error

    def _forked(self) -> None:
        """Begin without work, and without the connections of a parent process."""
        self._sender: tuple[Names, Celery] | None = None
        self._queues: set[int] = set()
        self._calls = 0
        """The number of calls of ``ring`` since the last round."""
        self._taken_up_to = 0.0
        self._cursors: dict[int, int] = {}
        self._tasks: set[str] = set()
        self._lock = threading.Lock()
        self._work = threading.Event()

    def _step(self) -> None:
        """Ring for everything that was asked for until now."""
        self._work.wait()
        self._work.clear()
        with self._lock:
            queues, self._queues = self._queues, set()
            calls, self._calls = self._calls, 0
            tasks, self._tasks = self._tasks, set()
            cursors, self._cursors = self._cursors, {}
            bind_contextvars(**{logs.REQUEST_ID: self._rung_by})
            trace = self._trace
        if cursors:
            self._notes.announce(cursors)
        chosen = self._to_ring(queues)
        if queues and not chosen:
            self.coalesced += 1
        bells: list[tuple[str, *tuple[int, ...]]] = [(celeryconfig.DRAIN, queue) for queue in chosen]
        bells += [(task,) for task in tasks]
        for number, (task, *args) in enumerate(bells):
            with tracing.span("ring", parent=trace, task=task):
                is_sent = self._send(task, *args)
            if not is_sent:  # The broker would not take the others either, and may stand still.
                self.failed += len(bells) - number - 1
                break
        time.sleep(self._pause_s(PAUSE_S if calls > 1 or len(queues) > 1 else LONE_S, time.monotonic()))

    def _pause_s(self, round_s: float, now: float) -> float:
        """Note the time that a round takes up, and return the pause until the next may begin."""
        self._taken_up_to = max(self._taken_up_to, now) + round_s
        return max(0.0, self._taken_up_to - now - AHEAD_S)

    def _to_ring(self, queues: set[int]) -> list[int]:
        """Choose the queues to ring: one if no bell waits, none if one does, and all if that is unknown. Notes the new bell."""
        if not queues:
            return []
        is_first = self._notes.ring()
        if is_first is None:
            return sorted(queues)
        return [min(queues)] if is_first else []

    def _send(self, task: str, *args: int) -> bool:
        """Send, and return whether the broker has it."""
        try:
            self.send(task, *args)
            self.rung += 1
        except TransientError as error:  # The work is safe in Postgres, and beat will ring.
            self.failed += 1
            logger.warning("a doorbell was not rung; beat will", task=task, args=args, error=str(error.__cause__))
            return False
        return True

    def _celery(self) -> Celery:
        """Return the sender of the ledger's present name. Only a ledger that was renamed needs a second one.

        Raises:
            TransientError: the database has not told the name yet.
        """
        names = self._identity.names or self._identity.look()
        if names is None:
            raise TransientError("the ledger's identity is not known yet; try again")
        if self._sender is None or self._sender[0] != names:
            celery = Celery("pacioli-web", set_as_current=False)
            celery.config_from_object(celeryconfig)
            celery.conf.update(celeryconfig.settings_of(names))
            self._sender = names, celery
        return self._sender[1]
