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

from core.ledger.deciding import Decision, Line, open_book, write
from core.ledger.rules.log_row import LogRow
from core.ledger.rules.model import Outcome, Posting
from core.ledger.store import queues as queue_store

logger = structlog.get_logger()

_as_posting = attrgetter(*Posting._fields)
_new = tuple.__new__
"""Makes a named tuple from all its values, in half the time of its own constructor."""


@dataclass
class Immediate:
    """The decisions that were made in the commit of an append."""

    decision: Decision
    outcomes: dict[int, Outcome]
    """The same outcomes by seq."""
    cursors: dict[int, int]
    """The new cursor of each queue in which something was decided."""


def posting_of(row: LogRow) -> Posting:
    """Make a posting of a row of the log, as the engine needs it."""
    return _new(Posting, _as_posting(row))


def decide_now(conn: Connection, postings: Sequence[Posting], queues: Collection[int]) -> Immediate | None:
    """Decide the new postings of these queues as far as that can be done at once. Returns None when nothing could be decided.

    ``postings`` are all that the append puts into queues, in their order. They are written to the log, and the append lock
    is held.

    Raises:
        TransientError: the connection is lost.
    """
    try:
        return _decide(conn, postings, queues)
    except Exception as error:
        queue_store.undo_deciding(conn)
        logger.warning("postings were not decided at once, and a drain will", rows=len(postings), error=repr(error))
        return None


def _decide(conn: Connection, appended: Sequence[Posting], queues: Collection[int]) -> Immediate | None:
    heads = queue_store.lock_idle_heads(conn, queues, first=appended[0].seq)
    postings = [posting for posting in appended if posting.queue in heads]
    if not postings:
        return None
    opened = open_book(conn, postings, wait=False)
    line = Line(conn, opened.book, heads)
    line.decide_what_needs_no_more(postings)
    decision = Decision(line.postings, line.outcomes, opened.at)
    if not line.outcomes:
        return None
    last = appended[-1].seq
    cursors = {queue: line.stopped[queue] - 1 if queue in line.stopped else last for queue in heads}
    write(conn, opened, decision, heads=heads, cursors=cursors)
    outcomes = {outcome.seq: outcome for outcome in line.outcomes}
    return Immediate(decision, outcomes, cursors)
