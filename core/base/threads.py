"""Keeps the threads of a process running: no exception ends one, and a fork leaves no process without them."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from weakref import WeakSet

import structlog

PAUSE_S = 0.05
"""The pause after a first failure. It doubles with each failure in a row."""
LONGEST_PAUSE_S = 5.0

logger = structlog.get_logger()


class Loop:
    """Runs a step again and again in a daemon thread of its own.

    A step that raises is counted, logged and run again after a pause. The log call may fail too: standard output may be
    full or gone. ``health`` and metrics read the attributes of ``loops()``.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], None],
        *,
        after_fork: Callable[[], None] = lambda: None,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """``wake`` ends the wait of a step that has nothing to do. ``stop`` calls it."""
        self.name = name
        self.failures = 0
        """The number of steps that raised since the process started."""
        self.failures_in_a_row = 0
        self.last_failure: str | None = None
        self.starts = 0
        """The number of threads that were started. A second one means that the first ended, or that a process forked."""
        self._step = step
        self._after_fork = after_fork
        self._wake = wake
        self._stopped = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        _loops.add(self)
        self.ensure()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def ensure(self) -> None:
        """Start the thread if it does not run. Whoever hands work over calls it, so a thread that ended costs nothing."""
        if self._thread is not None and self._thread.is_alive():
            return
        with self._lock:
            if not self.is_alive and not self._stopped:
                self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
                self.starts += 1
                self._thread.start()

    def stop(self) -> None:
        """End the thread for good after its present step. The call does not wait for that."""
        self._stopped = True
        _loops.discard(self)
        self._wake()

    def forked(self) -> None:
        """Start anew in a child process, which inherits no thread, but may inherit a lock that its owner still holds."""
        self._lock = threading.Lock()
        self._thread = None
        self._after_fork()
        self.ensure()

    def _run(self) -> None:
        while not self._stopped:
            try:
                self._step()
                self.failures_in_a_row = 0
            except BaseException as error:
                with suppress(BaseException):
                    self._note(error)
                with suppress(BaseException):
                    time.sleep(min(PAUSE_S * 2 ** min(self.failures_in_a_row - 1, 10), LONGEST_PAUSE_S))

    def _note(self, error: BaseException) -> None:
        self.failures += 1
        self.failures_in_a_row += 1
        self.last_failure = f"{type(error).__name__}: {error}"
        logger.error("a thread failed and goes on", thread=self.name, failures=self.failures, exc_info=error)


def loops() -> list[Loop]:
    """List the loops of this process."""
    return sorted(_loops, key=lambda loop: loop.name)


_loops: "WeakSet[Loop]" = WeakSet()


def _after_fork() -> None:
    for loop in loops():
        loop.forked()


os.register_at_fork(after_in_child=_after_fork)
