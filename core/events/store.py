"""Reads what the feed is made of: the log with its outcomes, the rows of events, and where the feed ends now."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.base.db import driver
from core.events.answers import Position
from core.ledger.rules.model import STATUS_NUMBERS, STATUS_OF_NUMBER, Status
from core.ledger.store.transaction_rows import TransactionRow
from core.ledger.store.waiting import WAITING


class Edge(NamedTuple):
    """Where the feed begins and ends, in one snapshot."""

    head: int
    """The last seq of the log."""
    queue: int | None
    """The queue of the oldest posting that is not decided. None when there is none."""
    waiting: int | None
    """The seq of that posting."""
    waiting_since: datetime | None
    kept: Position
    """Rows of events up to this position are gone."""

    @property
    def decided(self) -> int:
        """The last seq up to which everything is decided."""
        return self.head if self.waiting is None else self.waiting - 1


class FactRow(NamedTuple):
    """A row of events."""

    seq: int
    n: int
    id: UUID
    type: str
    data: str
    ledger_id: str | None
    balance_id: str | None
    at: datetime


class Told(NamedTuple):
    """Something that the feed tells, as it is stored: a transaction, or a row of events."""

    position: Position
    type: str
    row: TransactionRow | None = None
    fact: FactRow | None = None


# log_pkey and log_queue_seq_idx serve it, with one probe for each queue.
_EDGE = f"""
    SELECT head.seq, line.number, line.first, line.accepted_at, coalesce(kept.seq, 0), coalesce(kept.n, 0)
    FROM (SELECT coalesce(max(seq), 0) AS seq FROM log) AS head
    LEFT JOIN events_kept AS kept ON true
    LEFT JOIN LATERAL (
        SELECT number, first, accepted_at
        FROM queues
        CROSS JOIN LATERAL (
            SELECT seq AS first, accepted_at
            FROM log
            WHERE {WAITING}
            ORDER BY queue, seq
            LIMIT 1
        ) AS oldest
        ORDER BY first
        LIMIT 1
    ) AS line ON true
"""

# A transaction is told as it was when it was decided: without what became of a hold, and without later metadata.
_COLUMNS = """
    log.seq, log.id, reference, kind, queue,
    log.source, s.balance_id, s.indicator, log.destination, d.balance_id,
    log.amount, log.currency, log.precision, description, allow_overdraft, overdraft_limit,
    parent, group_first, effective_date, log.meta_data::text, log.terms::text, log.digest, accepted_at, log.actor, log.part,
    o.status, o.amount, o.reason, o.rejection, o.decided_at,
    CASE WHEN o.status = 2 THEN o.amount END,
    CASE WHEN o.status = 2 THEN 0 END,
    CASE WHEN o.status = 2 THEN 0 END,
    NULL
""".strip()

# The limits are positions in log_pkey and outcomes_pkey, which are walked side by side.
_DECIDED = f"""
    SELECT {_COLUMNS}
    FROM log
    JOIN outcomes AS o ON o.seq = log.seq
    LEFT JOIN balances AS s ON s.id = log.source
    LEFT JOIN balances AS d ON d.id = log.destination
    WHERE log.seq BETWEEN %(first)s AND %(last)s
      AND o.seq BETWEEN %(first)s AND %(last)s
      AND o.status = ANY(%(statuses)s)
    ORDER BY log.seq
    LIMIT %(limit)s
"""

_ACCEPTED = f"""
    SELECT {_COLUMNS}
    FROM log
    LEFT JOIN outcomes AS o ON false
    LEFT JOIN balances AS s ON s.id = log.source
    LEFT JOIN balances AS d ON d.id = log.destination
    WHERE log.seq BETWEEN %(first)s AND %(last)s
    ORDER BY log.seq
    LIMIT %(limit)s
"""

# events_pkey serves the next three.
_FACTS = """
    SELECT seq, n, id, type, data, ledger_id, balance_id, at
    FROM (
        SELECT *
        FROM events
        WHERE (seq, n) > (%(seq)s, %(n)s) AND seq <= %(last)s
        ORDER BY seq, n
        LIMIT %(window)s
    ) AS next
    WHERE type = ANY(%(types)s)
    ORDER BY seq, n
    LIMIT %(limit)s
"""

_END_OF_WINDOW = """
    SELECT seq, n
    FROM events
    WHERE (seq, n) > (%(seq)s, %(n)s) AND seq <= %(last)s
    ORDER BY seq, n
    OFFSET %(window)s - 1
    LIMIT 1
"""

# log_parent_block_idx serves it. Only what was accepted with the batch counts, and so a member that was scheduled does not.
_COUNT_BATCHES = """
    SELECT batch.id, outcomes.status, count(*)
    FROM unnest(%(ids)s::text[], %(seqs)s::bigint[]) AS batch (id, last)
    CROSS JOIN LATERAL (
        SELECT seq
        FROM log
        WHERE parent = batch.id AND seq <= batch.last AND kind IN (1, 2)
        UNION ALL
        SELECT leg.seq
        FROM log AS split
        JOIN log AS leg ON leg.parent = 'txn_' || split.id
        WHERE split.parent = batch.id AND split.seq <= batch.last AND split.kind = 5 AND leg.kind IN (1, 2)
    ) AS member
    JOIN outcomes ON outcomes.seq = member.seq
    GROUP BY batch.id, outcomes.status
"""

_LAST_N = """
    SELECT max(n)
    FROM events
    WHERE seq = %(seq)s
"""


def edge(conn: Connection) -> Edge:
    """Read where the feed begins and ends."""
    row = driver(conn).execute(_EDGE).fetchone()
    assert row is not None
    head, queue, waiting, since, *kept = row
    return Edge(head, queue, waiting, since, Position(*kept))


def decided(
    conn: Connection, statuses: Collection[Status], *, first: int, last: int, limit: int
) -> list[TransactionRow]:
    """Read the transactions of a range that were decided so, as they were then, in order of acceptance."""
    numbers = [STATUS_NUMBERS[status] for status in statuses]
    values = {"statuses": numbers, "first": first, "last": last, "limit": limit}
    return [TransactionRow(*row) for row in driver(conn).execute(_DECIDED, values).fetchall()]


def accepted(conn: Connection, *, first: int, last: int, limit: int) -> list[TransactionRow]:
    """Read the transactions of a range as they were accepted, in order of acceptance."""
    rows = driver(conn).execute(_ACCEPTED, {"first": first, "last": last, "limit": limit})
    return [TransactionRow(*row) for row in rows.fetchall()]


def facts(
    conn: Connection, after: Position, types: Sequence[str], *, last: int, window: int, limit: int
) -> list[FactRow]:
    """Read the rows of these types among the next ``window`` rows after a position, up to a seq, in their order."""
    values = {"seq": after.seq, "n": after.n, "types": list(types), "last": last, "window": window, "limit": limit}
    return [FactRow(*row) for row in driver(conn).execute(_FACTS, values).fetchall()]


def end_of_window(conn: Connection, after: Position, *, last: int, window: int) -> Position | None:
    """Find the last of the next ``window`` rows after a position, up to a seq. None when there are fewer."""
    values = {"seq": after.seq, "n": after.n, "last": last, "window": window}
    row = driver(conn).execute(_END_OF_WINDOW, values).fetchone()
    return None if row is None else Position(*row)


def count_batches(conn: Connection, batches: Sequence[tuple[str, int]]) -> dict[str, dict[Status, int]]:
    """Count the postings of batches by what was decided. Each batch comes with the last seq to look at."""
    values = {"ids": [id for id, _ in batches], "seqs": [seq for _, seq in batches]}
    found: dict[str, dict[Status, int]] = {}
    for id, number, count in driver(conn).execute(_COUNT_BATCHES, values).fetchall():
        found.setdefault(id, {})[STATUS_OF_NUMBER[number]] = count
    return found


def last_n(conn: Connection, seq: int) -> int:
    """Read the highest number among the rows of a seq. It is 0 when there is none."""
    row = driver(conn).execute(_LAST_N, {"seq": seq}).fetchone()
    return row[0] or 0 if row is not None else 0
