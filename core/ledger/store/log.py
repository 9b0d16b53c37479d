"""The log: what was accepted, in the order in which it was."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.base.db import copy_text, driver
from core.base.locks import AdvisoryLock
from core.ledger.rules import chain
from core.ledger.rules.model import Draft, Posting
from core.ledger.store.queues import WAITING

_COLUMNS = (
    "seq, id, reference, kind, queue, source, destination, amount, currency, precision, description, allow_overdraft, "
    "overdraft_limit, hold_seq, refund_of, group_first, group_last, parent, effective_date, meta_data, terms, "
    "accepted_at, digest"
)

HASHED = _COLUMNS.removesuffix(", digest").replace("meta_data, terms", "meta_data::text, terms::text")
"""What the digest covers, in its order."""

_FIND_IN_LOG = (
    "SELECT id, seq, queue, accepted_at, digest, reference, kind, source, destination, amount, currency, precision, "
    "description, allow_overdraft, overdraft_limit, hold_seq, parent, effective_date, meta_data::text, refund_of, "
    "terms::text FROM log WHERE reference = ANY(%(names)s)"
)
_FIND_SCHEDULED = (
    "SELECT id, 0, -1, scheduled_at, NULL::bytea, reference, kind, source, destination, amount, currency, precision, "
    "description, allow_overdraft, overdraft_limit, NULL::bigint, parent, effective_date, meta_data::text, "
    "NULL::bigint, terms::text FROM scheduled WHERE reference = ANY(%(names)s)"
)
_FIND_REFERENCES = f"{_FIND_IN_LOG} UNION ALL {_FIND_SCHEDULED}"
"""One statement, so that thousands of references are sent once."""

_POSTING = (
    "seq, kind, queue, source, destination, amount, allow_overdraft, overdraft_limit, hold_seq, group_first, "
    "group_last, refund_of"
)
"""The columns of ``Posting``, in its order."""


class Head(NamedTuple):
    """Where the log ends, for whoever holds the append lock."""

    seq: int
    digest: bytes
    queues: int
    now: datetime


class Prior(NamedTuple):
    """A row that is already in the log, or scheduled, with what a repeated reference is compared with."""

    transaction_id: str
    seq: int
    queue: int
    accepted_at: datetime
    digest: bytes | None
    draft: Draft


def lock_head(conn: Connection, references: Collection[str] = ()) -> tuple[Head, dict[str, Prior]]:
    """Take the append lock until the transaction ends; read where the log ends, and the rows with these references.

    What is read has a snapshot of its own, taken under the lock, so it sees every append there ever was. All of it is
    one round trip.

    Raises:
        TransientError: the lock was not had in time.
    """
    connection = driver(conn)
    with connection.pipeline():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (AdvisoryLock.APPEND,))
        head = connection.execute(
            "SELECT coalesce(seq, 0), coalesce(digest, %s), (SELECT count(*) FROM queues), clock_timestamp() "
            "FROM (VALUES (0)) AS one LEFT JOIN (SELECT seq, digest FROM log ORDER BY seq DESC LIMIT 1) AS last ON true",
            (chain.START,),
        )
        prior = connection.execute(_FIND_REFERENCES, {"names": list(references)})
    row = head.fetchone()
    assert row is not None
    return Head(*row), {found.draft.reference: found for found in map(_prior, prior.fetchall())}


def find_references(conn: Connection, references: Collection[str | None]) -> dict[str, Prior]:
    """The rows that have one of these references, accepted or scheduled."""
    rows = driver(conn).execute(_FIND_REFERENCES, {"names": list(references)}).fetchall()
    return {found.draft.reference: found for found in map(_prior, rows)}


def append(conn: Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    """Write rows of ``row_of``. The caller holds the append lock and has checked the references."""
    copy_text(conn, "log", _COLUMNS, map(_line, rows))


_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def escaped(text: str | None) -> str:
    """A text in COPY's format."""
    return r"\N" if text is None else text.translate(_ESCAPES)


def _line(row: tuple[Any, ...]) -> str:
    """A row in COPY's text format. Half the cost of having the driver adapt two dozen values."""
    (
        seq, id, reference, kind, queue, source, destination, amount, currency, precision, description, allow_overdraft,
        limit, hold_seq, refund_of, first, last, parent, effective_date, meta_data, terms, accepted_at, digest,
    ) = row  # fmt: skip
    texts = f"{reference}{currency}{description}{parent}{meta_data}{terms}"
    if "\\" in texts or "\n" in texts or "\t" in texts or "\r" in texts:  # Several times as fast as a pattern.
        reference, currency, description, parent, meta_data, terms = (
            value if value is None else value.translate(_ESCAPES)
            for value in (reference, currency, description, parent, meta_data, terms)
        )
    null = r"\N"
    return (
        f"{seq}\t{id}\t{reference}\t{kind:d}\t{null if queue is None else queue}\t{null if source is None else source}"
        f"\t{null if destination is None else destination}\t{amount}\t{currency}\t{precision}\t{description}"
        f"\t{'t' if allow_overdraft else 'f'}\t{null if limit is None else limit}"
        f"\t{null if hold_seq is None else hold_seq}\t{null if refund_of is None else refund_of}"
        f"\t{null if first is None else first}\t{null if last is None else last}"
        f"\t{null if parent is None else parent}\t{null if effective_date is None else effective_date.isoformat()}"
        f"\t{null if meta_data is None else meta_data}\t{null if terms is None else terms}"
        f"\t{accepted_at.isoformat()}\t\\\\x{digest.hex()}"
    )


def row_of(
    draft: Draft,
    *,
    seq: int,
    queue: int | None,
    group: tuple[int, int] | None,
    accepted_at: datetime,
    before: bytes,
) -> tuple[Any, ...]:
    """The log's row of a draft that has got its place. The digest comes last; ``before`` is that of the row before."""
    first, last = group or (None, None)
    row = (
        seq,
        draft.transaction_id[4:],
        draft.reference,
        draft.kind,
        queue,
        draft.source,
        draft.destination,
        draft.amount,
        draft.currency,
        draft.precision,
        draft.description,
        draft.allow_overdraft,
        draft.overdraft_limit,
        draft.hold_seq,
        draft.refund_of,
        first,
        last,
        draft.parent,
        draft.effective_date,
        draft.meta_data,
        draft.terms,
        accepted_at,
    )
    return (*row, chain.digest(before, row))


def read_batch(conn: Connection, cursors: dict[int, int], limit: int) -> list[Posting]:
    """The next postings of these queues after their cursors, in seq order, at most ``limit``."""
    if len(cursors) == 1:
        ((queue, cursor),) = cursors.items()
        # Said as a place in the index, as in queues.py.
        sql = f"SELECT {_POSTING} FROM log WHERE (queue, seq) > (%s, %s) AND queue <= %s ORDER BY queue, seq LIMIT %s"
        rows = driver(conn).execute(sql, (queue, cursor, queue, limit))
    else:
        # One index scan for each queue, which stops at the limit, and not a sort of everything that waits.
        sql = (
            f"SELECT next.* FROM unnest(%s::int[], %s::bigint[]) AS held (number, cursor) CROSS JOIN LATERAL ("
            f"SELECT {_POSTING} FROM log WHERE {WAITING} ORDER BY queue, seq LIMIT %s"
            f") AS next ORDER BY seq LIMIT %s"
        )
        rows = driver(conn).execute(sql, (list(cursors), list(cursors.values()), limit, limit))
    return list(map(Posting._make, rows.fetchall()))


def read_range(conn: Connection, queues: Collection[int], first: int, last: int) -> list[Posting]:
    """The postings of these queues from ``first`` to ``last``, both included, in seq order."""
    sql = f"SELECT {_POSTING} FROM log WHERE seq BETWEEN %s AND %s AND queue = ANY(%s) ORDER BY seq"
    return list(map(Posting._make, driver(conn).execute(sql, (first, last, list(queues))).fetchall()))


def queues_of_range(conn: Connection, first: int, last: int) -> set[int]:
    """The queues that the rows from ``first`` to ``last`` are in."""
    rows = driver(conn).execute(
        "SELECT DISTINCT queue FROM log WHERE seq BETWEEN %s AND %s AND queue IS NOT NULL", (first, last)
    )
    return {queue for (queue,) in rows}


def queues_that_may_credit(conn: Connection, balance: int, before: int, waiting: Mapping[int, int]) -> set[int]:
    """Which queues have an undecided posting before this seq that would credit the balance.

    ``waiting`` is the first undecided seq of each queue to look at. Holds and voids credit nothing.
    """
    late = {queue: first for queue, first in waiting.items() if first < before}
    if not late:
        return set()
    # The index on destination and seq is walked only from the oldest posting that waits.
    rows = driver(conn).execute(
        "SELECT DISTINCT log.queue FROM log JOIN unnest(%s::int[], %s::bigint[]) AS line (number, first) "
        "ON log.queue = line.number AND log.seq >= line.first "
        "WHERE log.destination = %s AND log.seq >= %s AND log.seq < %s AND log.kind IN (1, 3, 6)",
        (list(late), list(late.values()), balance, min(late.values()), before),
    )
    return {queue for (queue,) in rows}


def _prior(row: tuple[Any, ...]) -> Prior:
    key, seq, queue, accepted_at, digest, *content = row
    transaction_id = transaction_id_of(key)
    reference, kind, source, destination, *rest = content
    draft = Draft(transaction_id, reference, kind, source, destination, 0, *rest)
    return Prior(transaction_id, seq, -1 if queue is None else queue, accepted_at, digest, draft)


def transaction_id_of(key: UUID) -> str:
    return f"txn_{key}"
