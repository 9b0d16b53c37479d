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

from core.base.actors import EVERYTHING, Reach
from core.base.answers import encode
from core.base.errors import Gone
from core.events import batches, store, visible
from core.events.answers import Event, Held, Page, Position
from core.events.store import Edge, FactRow, Told
from core.events.types import Types
from core.journal.event_types import BATCH, EventType
from core.journal.facts import DECIDED, QUEUED
from core.ledger.answers import transaction_of
from core.ledger.rules.model import Status
from core.ledger.store.transaction_rows import TransactionRow

EVENT_PREFIX = "evt_"

MAX_LIMIT = 1_000
MAX_BYTES = 8 * 1024 * 1024
"""A page whose events have more bytes ends earlier."""

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


class Ends(NamedTuple):
    """Where the feed ends now."""

    decided: Position
    """For those that want to know what became of transactions."""
    accepted: Position
    """For those that want to know alone what was accepted."""

    def of(self, types: Types) -> Position:
        """Return the end for a reader of these types."""
        return self.accepted if types.of_acceptance else self.decided


def ends(conn: Connection) -> Ends:
    """Find where the feed ends now."""
    edge = store.edge(conn)
    accepted = Position(edge.head, max(QUEUED, store.last_n(conn, edge.head)))
    if edge.waiting is None:
        return Ends(max(accepted, Position(edge.head, DECIDED)), accepted)
    return Ends(Position(edge.decided, max(DECIDED, store.last_n(conn, edge.decided))), accepted)


def first(conn: Connection, types: Types) -> Position:
    """Return the position before the first event that is kept."""
    return Position(0, 0) if types.kept_for_ever else store.edge(conn).kept


def read(conn: Connection, after: Position, *, limit: int, types: Types, reach: Reach = EVERYTHING) -> Page:
    """Read the next events after a position, at most ``limit``. The transaction of ``conn`` must see one snapshot.

    A page may have fewer events, or none, and be followed by others: ``more`` says so. It looks through a window at a time.
    Events of what is out of ``reach`` are left out.

    Raises:
        Gone: events after the position were kept no longer. The error says from where the reader can go on.
    """
    edge = store.edge(conn)
    if after < edge.kept and not types.kept_for_ever:
        raise Gone(str(edge.kept))
    end = ends(conn).of(types)
    until = _window(conn, after, end, types, limit)
    sources = [
        _decided(conn, after, until, limit, types),
        _accepted(conn, after, until, limit, types),
        _facts(conn, after, until, limit, types),
    ]
    found = list(islice(merge(*sources, key=lambda each: each.position), limit))
    if len(found) == limit:
        until = found[-1].position
    events, size = list[Event](), 0
    for event in _events(conn, visible.within(conn, found, reach), types):
        size += len(event.data)
        if size > MAX_BYTES and events:
            until = events[-1].place
            break
        events.append(event)
    return Page(events=events, next=str(max(after, until)), more=until < end, held=_held(edge))


def _events(conn: Connection, found: list[Told], types: Types) -> Iterator[Event]:
    """Make events of what was found."""
    told = batches.told(conn, [each.fact for each in found if each.fact is not None and each.fact.type == BATCH])
    for each in found:
        if each.row is not None:
            yield _of_transaction(each.row, each.type, each.position)
        elif each.fact is not None and each.position in told:
            type, data = told[each.position]
            if type in types.wanted:
                yield _of_fact(each.fact, type, data)
        elif each.fact is not None:
            yield _of_fact(each.fact, each.fact.type, each.fact.data.encode())


def _window(conn: Connection, after: Position, end: Position, types: Types, limit: int) -> Position:
    """Find how far one page looks.

    As many sequences as it may have events are enough where each has one that is wanted. A range with an end is also what keeps
    Postgres from sorting all that is left for each page, when it does not know yet how much there is.
    """
    until = end
    if types.stored and (last := store.end_of_window(conn, after, last=end.seq, window=WINDOW)) is not None:
        until = min(until, last)
    if types.decided or types.queued:
        is_each_wanted = types.queued or len(types.decided) == len(_STATUSES)
        until = min(until, Position(after.seq + (limit if is_each_wanted else WINDOW), _BEHIND_ALL))
    return until


class _Range(NamedTuple):
    """Sequences of the log, both included."""

    first: int
    last: int


def _range(after: Position, until: Position, n: int) -> _Range:
    """List the sequences whose event with this number is behind one position, and not behind the other."""
    return _Range(after.seq if after.n < n else after.seq + 1, until.seq if until.n >= n else until.seq - 1)


def _decided(conn: Connection, after: Position, until: Position, limit: int, types: Types) -> Iterator[Told]:
    statuses = [_STATUSES[each] for each in types.decided]
    of = _range(after, until, DECIDED)
    if statuses and of.first <= of.last:
        for row in store.decided(conn, statuses, first=of.first, last=of.last, limit=limit):
            yield Told(Position(row.seq, DECIDED), _TYPES[row.status], row)


def _accepted(conn: Connection, after: Position, until: Position, limit: int, types: Types) -> Iterator[Told]:
    of = _range(after, until, QUEUED)
    if types.queued and of.first <= of.last:
        for row in store.accepted(conn, first=of.first, last=of.last, limit=limit):
            yield Told(Position(row.seq, QUEUED), EventType.TRANSACTION_QUEUED, row)


def _facts(conn: Connection, after: Position, until: Position, limit: int, types: Types) -> Iterator[Told]:
    if types.stored:
        for fact in store.facts(conn, after, types.stored, last=until.seq, window=WINDOW, limit=limit):
            if (position := Position(fact.seq, fact.n)) <= until:
                yield Told(position, fact.type, fact=fact)


def _of_transaction(row: TransactionRow, type: str, position: Position) -> Event:
    return Event(
        id=event_id(row.id, type),
        position=str(position),
        sequence=row.seq,
        type=type,
        at=row.decided_at or row.accepted_at,
        data=Raw(encode(transaction_of(row))),
    )


def _of_fact(row: FactRow, type: str, data: bytes) -> Event:
    return Event(
        id=f"{EVENT_PREFIX}{row.id}",
        position=str(Position(row.seq, row.n)),
        sequence=row.seq,
        type=type,
        at=row.at,
        data=Raw(data),
    )


def event_id(transaction: UUID, type: str) -> str:
    """Derive the ID of an event of a transaction. It is the same at every reading."""
    return f"{EVENT_PREFIX}{uuid5(transaction, type)}"


def _held(edge: Edge) -> Held | None:
    if edge.queue is None or edge.waiting is None or edge.waiting_since is None:
        return None
    return Held(queue=edge.queue, sequence=edge.waiting, since=edge.waiting_since)
