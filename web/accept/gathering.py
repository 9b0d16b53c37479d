"""Lets a thread that serves many requests at once wait for those that are about to come, so that groups are large.

A group costs little more than one request. Without this, one half of a crowd of clients would wait for the other half for ever:
those that were answered send their next requests while the others are served.
"""

import threading
import time
from collections.abc import Callable

BUSY = 4
"""Fewer requests than these are no crowd, and are served at once."""

GAP_S = 0.004
"""The thread waits while another request comes every so often."""

MOST_S = 0.02
"""It waits for so long at most."""


class Gathering:
    """Knows how many requests are expected: those that waited when a group was served, and those of the group, who come again."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        """``waiting`` counts the requests that wait to be served."""
        self._waiting = waiting
        self._expected = 1
        self._served_at = 0.0
        self._all_there = threading.Event()

    def came(self) -> None:
        """Note that a request waits."""
        # Setting an event takes a lock, and every request would queue for that.
        if self._waiting() >= self._expected and not self._all_there.is_set():
            self._all_there.set()

    def wait(self) -> None:
        """Wait until all are there that are expected, or no other comes."""
        if self._expected < BUSY:
            return
        now = time.monotonic()
        if now - self._served_at > MOST_S:  # Whoever is not back by now does not come again.
            self._expected = 1
            return
        deadline, count = now + MOST_S, 0
        self._all_there.clear()
        while count < (there := self._waiting()) < self._expected and time.monotonic() < deadline:
            count = there
            self._all_there.wait(GAP_S)

    def served(self, count: int) -> None:
        """Note that so many requests are being answered."""
        self._expected, self._served_at = count + self._waiting(), time.monotonic()
