"""Tells which queues must not take more, because too much waits in them or has waited for too long.

A limit on what waits protects the database and clients alike: a line of millions is no service. It is looked at once a
second and not by requests. The look is cheap: where all positions between the first waiting posting and the end of the log
would be within the limit, nothing is counted.

A queue that stands still stops only itself. When all queues together hold too much, those with less than their share go on,
so a quiet queue does not suffer from a busy one.
"""

from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import Connection

from core.ledger.append import Submission
from core.ledger.rules.model import COMMIT_INFLIGHT, VOID_INFLIGHT, Draft
from core.ledger.rules.routing import queue_of
from core.ledger.store import waiting as waiting_store

_SETTLEMENTS = frozenset({COMMIT_INFLIGHT, VOID_INFLIGHT})


class Limits(Struct, frozen=True):
    """The limits on what waits undecided."""

    rows: int
    """Postings in all queues together. Commits and voids of holds are taken up to twice as many."""
    age_s: float
    """The age of the oldest posting of a queue."""


class Pressure(Struct, frozen=True):
    """The queues that must not take more."""

    queues: int = 0
    """The number of queues of the ledger."""
    closed: frozenset[int] = frozenset()
    """The queues that take nothing new. They still take commits and voids of holds, which end what is there."""
    is_full: bool = False
    """Whether no queue takes anything."""
    waiting: int = 0
    """Postings that wait. It is counted only when it may be beyond the limit, and is 0 otherwise."""
    oldest_age_s: float = 0.0

    def refuses(self, submission: Submission) -> int | None:
        """Return the queue that must not take a submission. Returns None when all of its queues may.

        A scheduled transaction waits outside of the queues, so it is never refused.
        """
        for draft in submission.drafts:
            for one in draft.legs or (draft,):
                if draft.due_at is None and self._refuses(one):
                    return queue_of(one.route, self.queues)
        return None

    def _refuses(self, draft: Draft) -> bool:
        if self.is_full:
            return True
        return draft.row.kind not in _SETTLEMENTS and queue_of(draft.route, self.queues) in self.closed


NONE = Pressure()
"""No pressure."""


def look(conn: Connection, limits: Limits) -> Pressure:
    """Look at what waits in all queues."""
    lines = waiting_store.lines_by_age(conn)
    closed = {line.number for line in lines if line.age_s > limits.age_s}
    oldest = max((line.age_s for line in lines), default=0.0)
    depths: dict[int, int] = {}
    if lines and lines[0].last - min(line.first for line in lines) + 1 >= limits.rows:
        depths = waiting_store.depths(conn, 2 * limits.rows + 1)
    waiting = sum(depths.values())
    queues = lines[0].queues if lines else 0
    if waiting >= limits.rows:
        closed |= {queue for queue, depth in depths.items() if depth * queues >= limits.rows}
    is_full = waiting >= 2 * limits.rows
    if not closed and not is_full:
        return Pressure(queues, waiting=waiting, oldest_age_s=oldest)
    return Pressure(queues, frozenset(closed), is_full, waiting, oldest)


def refused(pressure: Pressure, submissions: Sequence[Submission]) -> int | None:
    """Return the queue that must not take one of these submissions, or None."""
    for submission in submissions:
        if (queue := pressure.refuses(submission)) is not None:
            return queue
    return None
