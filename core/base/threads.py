"""Keeps the threads of a process running: no exception ends one, and a fork leaves no process without its loops."""

import os
import threading
import time
from collections import deque
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
        self.starts = 0
        """The number of threads that were started. A second one means that the first ended, or that a process forked."""
        self.is_stopped = False
        self._step = step
        self._after_fork = after_fork
        self._wake = wake
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
            if not self.is_alive and not self.is_stopped:
                self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
                self.starts += 1
                self._thread.start()

    def stop(self) -> None:
        """End the thread for good after its present step, which may look at ``is_stopped``. The call does not wait for that."""
        self.is_stopped = True
        _loops.discard(self)
        self._wake()

    def forked(self) -> None:
        """Start anew in a child process, which inherits no thread, but may inherit a lock that its owner still holds."""
        self._lock = threading.Lock()
        self._thread = None
        self._after_fork()
        self.ensure()

    def _run(self) -> None:
        while not self.is_stopped:
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
        logger.error("a thread failed and goes on", thread=self.name, failures=self.failures, exc_info=error)


class Threads:
    """Runs work in daemon threads, at most so many. They are started on demand, and end when nothing was to do for a while.

    A thread that is free takes the work at once, the one that worked last before the others.
    """

    def __init__(self, name: str, most: int, *, idle_s: float = 30.0) -> None:
        self._name, self._most, self._idle_s = name, most, idle_s
        self._lock = threading.Lock()
        self._free: list[_Seat] = []
        self._left: deque[Work] = deque()
        """The work for which there was no thread."""
        self.count = 0
        """The number of threads."""

    def run(self, work: "Work") -> None:
        """Do some work in another thread. The call returns at once."""
        with self._lock:
            if self._free:
                self._free.pop().take(work)
            elif self.count < self._most:
                self.count += 1
                seat = _Seat()
                seat.take(work)  # As an argument, the thread would keep it.
                try:
                    threading.Thread(target=self._run, args=(seat,), name=self._name, daemon=True).start()
                except RuntimeError:  # The process may have no more threads. The next one does the work.
                    self.count -= 1
                    self._left.append(work)
                    logger.exception("a thread could not be started", thread=self._name)
            else:
                self._left.append(work)

    def _run(self, seat: "_Seat") -> None:
        work = seat.wait(0)
        while work is not None:
            try:
                work()
            except BaseException:  # Nobody waits for this thread to exit.
                with suppress(BaseException):
                    logger.exception("work failed in a thread", thread=self._name)
            work = None  # It may hold much.
            with self._lock:
                if self._left:
                    work = self._left.popleft()
                else:
                    self._free.append(seat)
            if work is None:
                work = seat.wait(self._idle_s) or self._leave(seat)

    def _leave(self, seat: "_Seat") -> "Work | None":
        """End this thread, unless it got work at the last moment."""
        with self._lock:
            if seat in self._free:
                self._free.remove(seat)
                self.count -= 1
                return None
        return seat.wait(LONGEST_PAUSE_S)


Work = Callable[[], object]


class _Seat:
    """A thread that waits for work."""

    def __init__(self) -> None:
        self._there = threading.Lock()
        self._there.acquire()
        self._work: Work | None = None

    def take(self, work: Work) -> None:
        self._work = work
        self._there.release()

    def wait(self, timeout_s: float) -> Work | None:
        """Wait for work, and return None when there was none in time."""
        if not self._there.acquire(timeout=timeout_s):
            return None
        work, self._work = self._work, None
        return work


def loops() -> list[Loop]:
    """List the loops of this process."""
    return sorted(_loops, key=lambda loop: loop.name)


_loops: "WeakSet[Loop]" = WeakSet()


def _after_fork() -> None:
    for loop in loops():
        loop.forked()


os.register_at_fork(after_in_child=_after_fork)
