"""Refuses requests before the line of what waits becomes too long for the database, or the drafts for the memory.

A thread looks once a second. Requests read what it saw last, so the check costs them nothing while all is well.
"""

import threading
import time
from collections.abc import Sequence

import structlog
from sqlalchemy import Engine

from core.base.db import reading
from core.base.errors import Backpressure, TransientError
from core.base.threads import Loop
from core.ledger import pressure
from core.ledger.append import Submission
from core.ledger.pressure import NONE, Limits, Pressure

LOOK_EVERY_S = 1.0

_COUNTING_SHARE = 10
"""A look that counts takes time, and is followed by a pause of so many times that."""

MAX_ROWS_IN_MEMORY = 100_000
"""The rows of bulks that wait for their commit in this process at a time. Ten of the largest bulks fit."""

_BULK = 100
"""A smaller request is not counted. There are never more of these than threads."""

logger = structlog.get_logger()


class Gauge:
    """Knows the pressure on the ledger and on this process. ``health`` and metrics read the attributes with a docstring."""

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self.limits = limits
        self.pressure: Pressure = NONE
        """The pressure as it was at the last look."""
        self.refused = 0
        """The number of submissions that were refused."""
        self.rows_in_memory = 0
        """The rows of bulks that wait for their commit now."""
        self._engine = engine
        self._forked()
        self.loop = Loop("pressure", self._step, after_fork=self._forked)

    def admit(self, submissions: Sequence[Submission]) -> int:
        """Admit submissions to the committer. Returns the number of rows to ``release`` when they are committed.

        Raises:
            Backpressure: too much waits. Nothing was accepted.
        """
        now = self.pressure
        if (now.closed or now.is_full) and (queue := pressure.refused(now, submissions)) is not None:
            self.refused += 1
            raise Backpressure(
                f"queue {queue} is under too much pressure: {_reason(now, self.limits)}; try again later",
                {"queue": queue, "waiting": now.waiting, "oldest_age_s": round(now.oldest_age_s, 1)},
            )
        if len(submissions) != 1:
            return 0
        (submission,) = submissions
        rows = submission.size()
        if rows < _BULK:
            return 0
        with self._counting:
            if self.rows_in_memory and self.rows_in_memory + rows > MAX_ROWS_IN_MEMORY:
                self.refused += 1
                text = f"{self.rows_in_memory} rows of other requests wait to be committed; try again later"
                raise Backpressure(text, {"rows_in_memory": self.rows_in_memory})
            self.rows_in_memory += rows
        return rows

    def release(self, rows: int) -> None:
        """Give back what ``admit`` has returned."""
        with self._counting:
            self.rows_in_memory -= rows

    def _forked(self) -> None:
        self._counting = threading.Lock()
        self.rows_in_memory = 0

    def _step(self) -> None:
        started = time.monotonic()
        try:
            with reading(self._engine) as conn:
                seen = pressure.look(conn, self.limits)
        except TransientError:  # A request that comes now finds the database away by itself.
            time.sleep(LOOK_EVERY_S)
            return
        before, self.pressure = self.pressure, seen
        if (before.closed, before.is_full) != (seen.closed, seen.is_full):
            logger.warning(
                "queues are closed to new transactions" if seen.closed or seen.is_full else "all queues are open again",
                queues=sorted(seen.closed), full=seen.is_full, waiting=seen.waiting, oldest_age_s=seen.oldest_age_s,
            )  # fmt: skip
        pause = LOOK_EVERY_S
        if seen.waiting:
            pause = max(pause, _COUNTING_SHARE * (time.monotonic() - started))
        time.sleep(pause)


def _reason(now: Pressure, limits: Limits) -> str:
    if now.waiting >= limits.rows:
        return f"{now.waiting} transactions wait to be decided, and {limits.rows} are the limit"
    return f"its oldest transaction has waited for longer than {limits.age_s:g} seconds"
