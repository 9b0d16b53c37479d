"""Ends the use of a database connection that takes too long, from a thread beside it.

A server that stands still answers nothing and closes nothing, so whoever waits for it would wait for ever. The thread
here shuts the connection down at its deadline. Whoever waits then gets the driver's error for a lost connection.
"""

import math
import os
import socket
import threading
import time
import weakref
from contextlib import suppress

import psycopg
import structlog

_LOOK_EVERY_S = 0.2
"""A use ends at most so long after its deadline, if that is more than ``_LOOK_AFTER_S`` from its beginning."""

_LOOK_AFTER_S = 1.0
"""The longest pause. Uses may begin in it, and nearly all have longer, so an idle process is not woken five times a second."""

logger = structlog.get_logger()


class Lifeline:
    """The second handle of a connection's socket. It is ours, so its number never names another socket.

    It is closed when the connection is collected as garbage.
    """

    def __init__(self, connection: "psycopg.Connection[object]") -> None:
        self.handle = os.dup(connection.fileno())
        weakref.finalize(connection, _close, self.handle).atexit = False


class Watch:
    """Knows the deadline of each use in this process, by the handle of its connection's lifeline."""

    def __init__(self) -> None:
        self._deadlines: dict[int, float] = {}
        self._cutting = threading.RLock()  # A search for garbage may close a handle in the middle of a cut.
        self._thread: threading.Thread | None = None

    def start(self, handle: int, deadline: float) -> None:
        """Begin a use that must end by then, in the time of ``time.monotonic``."""
        self._deadlines[handle] = deadline
        if self._thread is None:
            self._run_thread()

    def end(self, handle: int) -> bool:
        """End a use. Returns False when it was overdue, and its connection is cut."""
        if self._deadlines.pop(handle, None) is not None:
            return True
        with self._cutting:  # The cut may be under way.
            return False

    def is_under_way(self, handle: int) -> bool:
        """Tell whether a use has begun and has not ended."""
        return handle in self._deadlines

    def forget(self, handle: int) -> None:
        """Close a handle that nobody uses any more."""
        self._deadlines.pop(handle, None)
        with self._cutting, suppress(OSError):
            os.close(handle)

    def _run_thread(self) -> None:
        with self._cutting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(self._pause_s())
            try:
                self._cut_overdue()
            except Exception:  # The thread must live, whatever happens.
                with suppress(Exception):
                    logger.exception("deadlines could not be checked")

    def _pause_s(self) -> float:
        """Return the time until the first deadline, within bounds."""
        left_s = min(self._deadlines.copy().values(), default=math.inf) - time.monotonic()
        return min(max(left_s, _LOOK_EVERY_S), _LOOK_AFTER_S)

    def _cut_overdue(self) -> None:
        now = time.monotonic()
        for handle, deadline in self._deadlines.copy().items():
            if deadline >= now:
                continue
            with self._cutting:
                # Whoever takes the entry out decides: a use that ends now, or we.
                if self._deadlines.get(handle) != deadline or self._deadlines.pop(handle, None) is None:
                    continue
                _shut_down(handle)
            with suppress(Exception):  # Standard output may be gone.
                logger.warning("a use of the database was cut", overdue_s=round(now - deadline, 1))


def _shut_down(handle: int) -> None:
    with suppress(OSError):
        other = socket.socket(fileno=os.dup(handle))
        try:
            other.shutdown(socket.SHUT_RDWR)
        finally:
            other.close()


WATCH = Watch()
"""The watch of this process."""


def _close(handle: int) -> None:
    WATCH.forget(handle)


def _start_anew() -> None:
    """Give a child process a watch of its own. The uses, the lock and the thread of its parent are not here."""
    WATCH.__init__()  # type: ignore[misc]


os.register_at_fork(after_in_child=_start_anew)
