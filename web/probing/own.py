"""Watches the threads of this web process, and passes on what they count for themselves."""

import time
from collections.abc import Iterator

from sqlalchemy import Engine

from core.base.db import pools
from core.base.threads import loops
from core.doors import metrics
from web.accept.committer import Committer
from web.accept.doorbell import Doorbell
from web.probing.prober import Severity, Trouble

STUCK_S = 10.0
"""The time after which the committer is stuck with one group."""

FAILING = 3
"""The number of failures in a row after which a thread is a trouble."""


_OF_THREADS = metrics.Growing()
"""The failures of the threads of this process are counted once, however many look at them."""


class Own:
    """The threads and pools of this process."""

    def __init__(self, engine: Engine, committer: Committer, doorbell: Doorbell) -> None:
        self._engine, self._committer, self._doorbell = engine, committer, doorbell
        self._growing = metrics.Growing()
        committer.committed = metrics.count_append

    def check(self) -> Iterator[Trouble]:
        """Find threads that fail or are stuck, after their numbers were passed on."""
        self._follow()
        busy_since = self._committer.busy_since
        if busy_since is not None and time.monotonic() - busy_since > STUCK_S:
            yield Trouble(
                part="threads",
                severity=Severity.DOWN,
                what=f"this process has been committing for {time.monotonic() - busy_since:.0f} s",
                advice="see what Postgres waits for; if it waits for nothing, restart this web process",
            )
        for loop in loops():
            if loop.failures_in_a_row >= FAILING:
                yield Trouble(
                    part="threads",
                    severity=Severity.DEGRADED,
                    what=f"the thread {loop.name} of this process failed {loop.failures_in_a_row} times in a row",
                    advice="see the log, which has the error; the thread goes on by itself when the cause is gone",
                )

    def _follow(self) -> None:
        """Add what has grown since the last call, and set what is now."""
        follow = self._growing.follow
        follow(metrics.REFUSED, self._committer.refused)
        follow(metrics.RUNG, self._doorbell.rung)
        follow(metrics.COALESCED, self._doorbell.coalesced)
        follow(metrics.FAILED, self._doorbell.failed)
        for loop in loops():
            _OF_THREADS.follow(metrics.THREAD_FAILURES.labels(loop.name), loop.failures, loop)
        for name, pool in pools(self._engine).items():
            metrics.CONNECTIONS.labels(name, "used").set(pool.checkedout())
            metrics.CONNECTIONS.labels(name, "open").set(pool.checkedin() + pool.checkedout())
            metrics.CONNECTIONS.labels(name, "limit").set(pool.size())
