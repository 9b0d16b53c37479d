"""Reads the feed: every fact that changed the ledger, once, in the order of positions.

A transaction is told at its seq, in the order of acceptance, which is that of the serial run. So the feed goes up to just
before the oldest transaction that is not decided. Each page is read in one snapshot. Behind its end nothing can appear any
more that belongs before it: the log and the rows of events grow at their end alone, under one lock, and a drain writes its
events in the commit of the outcomes.
"""

from collections.abc import Iterator
from heapq import merge
from itertools import islice
from typing import NamedTuple
from uuid import UUID, uuid5

from msgspec import Raw
from sqlalchemy import Connection

from core.base.answers import encode
from core.base.errors import Gone
from core.events import store
from core.events.answers import Event, Held, Page, Position
from core.events.store import Edge, FactRow
from core.events.types import Types
from core.journal.event_types import EventType
from core.journal.facts import DECIDED, QUEUED
from core.ledger.answers import transaction_of
from core.ledger.rules.model import Status
from core.ledger.store.transactions import TransactionRow

EVENT_PREFIX = "evt_"

WINDOW = 20_000
"""The number of transactions, and of rows, that one page looks through for the types that are wanted."""

_STATUSES = {
    EventType.TRANSACTION_APPLIED: Status.APPLIED,
    EventType.TRANSACTION_INFLIGHT: Status.INFLIGHT,
    EventType.TRANSACTION_VOID: Status.VOID,
    EventType.TRANSACTION_REJECTED: Status.REJECTED,
}
_TYPES = {status: type for type, status in _STATUSES.items()}

_BEHIND_ALL = 999_999_999
"""A number behind that of every event of a seq."""


def first(conn: Connection, types: Types) -> Position:
    """Return the position before the first event that is kept."""
    return Position(0, 0) if types.kept_for_ever else store.edge(conn).kept


def last(conn: Connection, types: Types) -> Position:
    """Return the position of the end of the feed, which is where a reader begins who wants what is to come."""
    return _end(conn, store.edge(conn), types)


def read(conn: Connection, after: Position, *, limit: int, types: Types) -> Page:
    """Read the next events after a position, at most ``limit``. The transaction of ``conn`` must see one snapshot.

    A page may have fewer events, or none, and be followed by others: ``more`` says so. It looks through a window at a time.

    Raises:
        Gone: events after the position were kept no longer. The error says from where the reader can go on.
    """
    edge = store.edge(conn)
    if after < edge.kept and not types.kept_for_ever:
        raise Gone(str(edge.kept))
    end = _end(conn, edge, types)
    until = min(end, _window(conn, after, end, types))
    sources = [
        _decided(conn, after, until, limit, types),
        _accepted(conn, after, until, limit, types),
        _facts(conn, after, until, limit, types),
    ]
    found = list(islice(merge(*sources, key=lambda each: each[0]), limit))
    if len(found) == limit:
        until = found[-1][0]
    return Page(
        events=[event for _, event in found],
        next=str(max(after, until)),
        more=until < end,
        held=_held(edge),
    )


class _Range(NamedTuple):
    """Sequences of the log, both included."""

    first: int
    last: int


def _end(conn: Connection, edge: Edge, types: Types) -> Position:
    """Find the last position that a reader of these types may see now."""
    seq = edge.head if types.of_acceptance else edge.decided
    n = QUEUED if types.of_acceptance else DECIDED
    return Position(seq, max(n, store.last_n(conn, seq)))


def _window(conn: Connection, after: Position, end: Position, types: Types) -> Position:
    """Find how far one page looks, where it may have to look at much that nobody wants."""
    until = end
    if types.stored and (last := store.end_of_window(conn, after, last=end.seq, window=WINDOW)) is not None:
        until = last
    if len(types.decided) < len(_STATUSES) and (types.decided or types.queued):
        until = min(until, Position(after.seq + WINDOW, _BEHIND_ALL))
    return until


def _range(after: Position, until: Position, n: int) -> _Range:
    """List the sequences whose event with this number is behind one position, and not behind the other."""
    return _Range(after.seq if after.n < n else after.seq + 1, until.seq if until.n >= n else until.seq - 1)


Told = tuple[Position, Event]


def _decided(conn: Connection, after: Position, until: Position, limit: int, types: Types) -> Iterator[Told]:
    statuses = [_STATUSES[each] for each in types.decided]
    of = _range(after, until, DECIDED)
    if not statuses or of.first > of.last:
        return
    for row in store.decided(conn, statuses, first=of.first, last=of.last, limit=limit):
        assert row.decided_at is not None
        yield _of_transaction(row, _TYPES[row.status], Position(row.seq, DECIDED))


def _accepted(conn: Connection, after: Position, until: Position, limit: int, types: Types) -> Iterator[Told]:
    of = _range(after, until, QUEUED)
    if not types.queued or of.first > of.last:
        return
    for row in store.accepted(conn, first=of.first, last=of.last, limit=limit):
        yield _of_transaction(row, EventType.TRANSACTION_QUEUED, Position(row.seq, QUEUED))


def _facts(conn: Connection, after: Position, until: Position, limit: int, types: Types) -> Iterator[Told]:
    if not types.stored:
        return
    for row in store.facts(conn, after, types.stored, last=until.seq, window=WINDOW, limit=limit):
        if (row.seq, row.n) <= until:
            yield _of_fact(row)


def _of_transaction(row: TransactionRow, type: EventType, position: Position) -> Told:
    event = Event(
        id=event_id(row.id, type),
        position=str(position),
        sequence=row.seq,
        type=type,
        at=row.decided_at or row.accepted_at,
        data=Raw(encode(transaction_of(row))),
    )
    return position, event


def _of_fact(row: FactRow) -> Told:
    position = Position(row.seq, row.n)
    event = Event(
        id=f"{EVENT_PREFIX}{row.id}",
        position=str(position),
        sequence=row.seq,
        type=row.type,
        at=row.at,
        data=Raw(row.data.encode()),
    )
    return position, event


def event_id(transaction: UUID, type: EventType) -> str:
    """Derive the ID of an event of a transaction. It is the same at every reading."""
    return f"{EVENT_PREFIX}{uuid5(transaction, type)}"


def _held(edge: Edge) -> Held | None:
    if edge.queue is None or edge.waiting is None or edge.waiting_since is None:
        return None
    return Held(queue=edge.queue, sequence=edge.waiting, since=edge.waiting_since)
