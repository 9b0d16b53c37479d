"""Decides postings in the commit that accepts them, for whoever asked to be answered with the outcome (``skip_queue``).

The append lock is held meanwhile, so nothing here waits. A queue that a drain has locked or that has a backlog, a balance that
somebody has locked, and a posting that needs another queue are left to the ordinary drain. What is decided is what the ordinary
drain would decide: a queue stops at its first posting that is left, and an earlier credit that is undecided is waited for.

The append never fails because of a decision. One that goes wrong is taken back to a savepoint, and the postings stay in line.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from operator import attrgetter

import structlog
from sqlalchemy import Connection

from core.ledger.deciding import Decision, Opened, groups, is_short, open_book, write
from core.ledger.rules.engine import Book, decide, decide_group
from core.ledger.rules.log_row import LogRow
from core.ledger.rules.model import Outcome, Posting
from core.ledger.store import log as log_store
from core.ledger.store import queues as queue_store

logger = structlog.get_logger()

_as_posting = attrgetter(*Posting._fields)


@dataclass
class Immediate:
    """The decisions that were made in the commit of an append."""

    decision: Decision
    outcomes: dict[int, Outcome]
    """The same outcomes by seq."""
    cursors: dict[int, int]
    """The new cursor of each queue in which something was decided."""


def decide_now(conn: Connection, rows: Sequence[LogRow], queues: Collection[int]) -> Immediate | None:
    """Decide the new rows of these queues as far as that can be done at once. Returns None when nothing could be decided.

    ``rows`` are all rows of the append, in their order. They are written to the log, and the append lock is held.

    Raises:
        TransientError: the connection is lost.
    """
    try:
        return _decide(conn, rows, queues)
    except Exception as error:
        queue_store.undo_deciding(conn)
        logger.warning("postings were not decided at once, and a drain will", rows=len(rows), error=repr(error))
        return None


def _decide(conn: Connection, rows: Sequence[LogRow], queues: Collection[int]) -> Immediate | None:
    heads, now = queue_store.lock_idle_heads(conn, queues, first=rows[0].seq)
    postings = [Posting._make(_as_posting(row)) for row in rows if row.queue in heads]
    if not postings:
        return None
    opened = open_book(conn, postings, wait=False)
    line = _Line(conn, rows, opened, held=set(heads))
    for group in groups(postings):
        line.decide(group)
    decision = Decision(line.postings, line.outcomes, now)
    if not line.outcomes:
        return None
    last = rows[-1].seq
    cursors = {queue: line.stopped[queue] - 1 if queue in line.stopped else last for queue in heads}
    write(conn, opened, decision, heads=heads, cursors=cursors)
    outcomes = {outcome.seq: outcome for outcome in line.outcomes}
    return Immediate(decision, outcomes, cursors)


class _Line:
    """Decides groups in their order. A queue stops at the first posting that cannot be decided at once."""

    def __init__(self, conn: Connection, rows: Sequence[LogRow], opened: Opened, *, held: set[int]) -> None:
        self.postings: list[Posting] = []
        self.outcomes: list[Outcome] = []
        self.stopped: dict[int, int] = {}
        """The first seq that is left of each queue that stops."""
        self._conn, self._rows, self._held = conn, rows, held
        self._book = opened.book
        self._waiting_elsewhere: dict[int, int] | None = None

    def decide(self, group: Sequence[Posting]) -> None:
        decided = self._try(group, self._book)
        if decided is None:
            for posting in group:
                self.stopped.setdefault(posting.queue, posting.seq)
        else:
            self.postings += group
            self.outcomes += decided

    def _try(self, group: Sequence[Posting], book: Book) -> list[Outcome] | None:
        """Decide a group, or return None if something that it needs is not at hand."""
        first = group[0]
        for posting in group:
            if posting.queue in self.stopped:
                return None
            if posting.source not in book.balances or posting.destination not in book.balances:
                return None
        if first.group_first is None or first.group_last is None:
            outcome = decide(first, book)
            if outcome.rejection is None:
                book.write(outcome)
                return [outcome]
            return None if is_short(outcome) and self._may_be_credited(first) else [outcome]
        if len(group) < self._members(first.group_first, first.group_last):
            return None
        decided = decide_group(group, book)
        short = next((member for member, outcome in zip(group, decided, strict=True) if is_short(outcome)), None)
        return None if short is not None and self._may_be_credited(short) else decided

    def _members(self, first: int, last: int) -> int:
        """Count the postings of an atomic group, in whatever queues."""
        offset = self._rows[0].seq
        return sum(row.queue is not None for row in self._rows[first - offset : last - offset + 1])

    def _may_be_credited(self, posting: Posting) -> bool:
        """Tell whether an earlier posting that is undecided would credit the source."""
        if self._waiting_elsewhere is None:
            self._waiting_elsewhere = queue_store.first_waiting(self._conn, but=self._held)
        waiting = self._waiting_elsewhere | self.stopped
        return bool(log_store.queues_that_may_credit(self._conn, posting.source, before=posting.seq, waiting=waiting))
