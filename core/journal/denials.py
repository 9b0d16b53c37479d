"""Counts the requests that were denied, and records them together, so that a flood of wrong keys fills no disk.

A process counts in memory, by what was asked and by whom. It writes at most one row in ``EVERY_S``, which names at most ``KINDS``
kinds of requests and counts the others. The first denial after a quiet time is written at once.
"""

import threading
from typing import NamedTuple

from sqlalchemy import Connection

from core.base import actors
from core.base.actors import Part
from core.journal.actions import Action, Event
from core.journal.record import record

EVERY_S = 60.0
KINDS = 20


class Denied(NamedTuple):
    """A kind of denied request."""

    status: int
    actor: str
    """The ID of the key; empty where there was none that is known."""
    route: str
    """The method and the route, or the method alone where no route has the path."""
    address: str


class Denials:
    """The denied requests that no row names yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Denied, int] = {}
        self._others = 0
        self.waiting = threading.Event()
        """Set while there is something to record."""

    def add(self, one: Denied, count: int = 1) -> None:
        """Count a denied request."""
        with self._lock:
            if one in self._counts or len(self._counts) < KINDS:
                self._counts[one] = self._counts.get(one, 0) + count
            else:
                self._others += count
        self.waiting.set()

    def record(self, conn: Connection) -> None:
        """Record what was counted so far. If the commit fails, the counts are to be given back by ``restore``."""
        counts, others = self._taken = self._take()
        if not counts and not others:
            return
        more = {
            "total": sum(counts.values()) + others,
            "requests": [{**one._asdict(), "count": count} for one, count in counts.items()],
            "others": others,
        }
        with actors.acting_for(actors.SERVICE.through(Part.WEB)):
            record(conn, Event(action=Action.REQUESTS_DENIED, subject="requests", more=more))

    def restore(self) -> None:
        """Count again what ``record`` has taken, because its commit has failed."""
        counts, others = self._taken
        for one, count in counts.items():
            self.add(one, count)
        with self._lock:
            self._others += others

    def _take(self) -> tuple[dict[Denied, int], int]:
        with self._lock:
            taken = self._counts, self._others
            self._counts, self._others = {}, 0
            self.waiting.clear()
        return taken
