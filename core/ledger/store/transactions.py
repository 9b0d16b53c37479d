"""Transactions as they are read: a row of the log, with its outcome if it has one."""

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.base.db import driver
from core.base.ids import uuid_of
from core.ledger.rules.model import Kind
from core.ledger.store.log import queues_that_may_credit
from core.ledger.store.transaction_rows import TRANSACTION_PREFIX, TransactionRow
from core.ledger.store.waiting import COUNTED, WAITING, first_waiting


class Line(NamedTuple):
    """The position of an undecided transaction in its queue."""

    queue: int
    ahead: int
    """It stops at ``COUNTED``."""
    oldest_age_s: float
    waits_for_queues: list[int]
    """Other queues with an earlier posting that would credit its source."""


# A one-time filter on the kind, so that it costs nothing for anything but a split. The status of a split is what its legs
# make it: money held (2), moved (1) or released (3) by any of them, else rejected (4).
LEGS = """
LEFT JOIN LATERAL (
    SELECT CASE
               WHEN count(leg_o.seq) < count(*) THEN NULL
               WHEN bool_or(leg_h.seq IS NOT NULL AND leg_h.settled_at IS NULL) THEN 2
               WHEN bool_or(leg_o.status = 1 OR leg_h.committed > 0) THEN 1
               WHEN bool_or(leg_h.seq IS NOT NULL) THEN 3
               ELSE 4
           END AS status,
           max(leg_o.decided_at) AS decided_at,
           max(leg_h.settled_at) AS settled_at
    FROM log AS leg
    LEFT JOIN outcomes AS leg_o ON leg_o.seq = leg.seq
    LEFT JOIN holds AS leg_h ON leg_h.seq = leg.seq
    WHERE log.kind = 5
      AND leg.parent = 'txn_' || log.id
      AND leg.kind IN (1, 2, 6)
) AS l ON true
"""

# Only what asked for all that is left and is undecided is looked up: a refund (6), else a commit or void. Where nothing is
# left any more, it is the whole amount.
_LEFT = """
       CASE
           WHEN log.kind NOT IN (3, 4, 6) OR log.amount <> 0 OR o.seq IS NOT NULL THEN NULL
           WHEN log.kind = 6 THEN (
               SELECT coalesce(nullif(first.amount - coalesce(given.refunded, 0), 0), first.amount)
               FROM outcomes AS first
               LEFT JOIN refunds AS given ON given.seq = first.seq
               WHERE first.seq = log.refund_of
           )
           ELSE (
               SELECT coalesce(nullif(held.amount - held.committed - held.voided, 0), held.amount)
               FROM holds AS held
               WHERE held.seq = log.hold_seq
           )
       END
"""

FROM = f"""
FROM log
LEFT JOIN balances AS s ON s.id = log.source
LEFT JOIN balances AS d ON d.id = log.destination
LEFT JOIN outcomes AS o ON o.seq = log.seq
LEFT JOIN holds AS h ON h.seq = log.seq
LEFT JOIN annotations AS a ON a.id = log.id
{LEGS}
"""

SELECT = f"""
SELECT log.seq, log.id, reference, kind, queue,
       log.source, s.balance_id, s.indicator, log.destination, d.balance_id,
       log.amount, log.currency, log.precision, description, allow_overdraft, overdraft_limit,
       parent, group_first, effective_date,
       CASE
           WHEN a.id IS NULL THEN log.meta_data::text
           ELSE (coalesce(log.meta_data::jsonb, '{{}}') || a.meta_data)::text
       END,
       log.terms::text, log.digest, accepted_at, log.actor, log.part,
       o.status, o.amount, o.reason, o.rejection, coalesce(o.decided_at, l.decided_at),
       h.amount, h.committed, h.voided, h.settled_at, l.status, l.settled_at,
       {_LEFT}
{FROM}
"""

# The same columns; seq 0 says that it is not in the log.
_SELECT_SCHEDULED = """
SELECT 0, w.id, reference, kind, NULL,
       w.source, s.balance_id, s.indicator, w.destination, d.balance_id,
       w.amount, w.currency, w.precision, description, allow_overdraft, overdraft_limit,
       parent, NULL, effective_date,
       CASE
           WHEN a.id IS NULL THEN w.meta_data::text
           ELSE (coalesce(w.meta_data::jsonb, '{}') || a.meta_data)::text
       END,
       w.terms::text, NULL, scheduled_at, w.actor, NULL,
       NULL, NULL, NULL, NULL, NULL,
       NULL, NULL, NULL, cancelled_at, NULL, NULL
FROM scheduled AS w
LEFT JOIN balances AS s ON s.id = w.source
LEFT JOIN balances AS d ON d.id = w.destination
LEFT JOIN annotations AS a ON a.id = w.id
"""

# The same columns, for what is neither a split nor undecided with an amount that is what is left. The number of IDs is fixed, so
# that a plan for any of them costs no more than one for these, and the server plans the statement once a connection.
_FIND_ANY = """
SELECT log.seq, log.id, reference, kind, queue,
       log.source, s.balance_id, s.indicator, log.destination, d.balance_id,
       log.amount, log.currency, log.precision, description, allow_overdraft, overdraft_limit,
       parent, group_first, effective_date,
       CASE
           WHEN a.id IS NULL THEN log.meta_data::text
           ELSE (coalesce(log.meta_data::jsonb, '{{}}') || a.meta_data)::text
       END,
       log.terms::text, log.digest, accepted_at, log.actor, log.part,
       o.status, o.amount, o.reason, o.rejection, o.decided_at,
       h.amount, h.committed, h.voided, h.settled_at
FROM log
LEFT JOIN balances AS s ON s.id = log.source
LEFT JOIN balances AS d ON d.id = log.destination
LEFT JOIN outcomes AS o ON o.seq = log.seq
LEFT JOIN holds AS h ON h.seq = log.seq
LEFT JOIN annotations AS a ON a.id = log.id
WHERE log.id IN ({ids})
"""

_SIZES = {size: _FIND_ANY.format(ids=", ".join(["%s::uuid"] * size)) for size in (1, 4, 16, 64)}
"""The statement by the number of IDs."""

MOST = max(_SIZES)
"""The largest number of transactions that ``find_many`` finds at once."""

_FIND = f"{SELECT} WHERE log.id = %(value)s"
_FIND_SCHEDULED = f"{_SELECT_SCHEDULED} WHERE w.id = %(value)s"
_FIND_REFERENCE = f"{SELECT} WHERE reference = %(value)s"
_FIND_SCHEDULED_REFERENCE = f"{_SELECT_SCHEDULED} WHERE reference = %(value)s"

_UNREFUNDED = """
SELECT o.seq, o.amount - coalesce(refunded, 0)
FROM outcomes AS o
LEFT JOIN refunds AS r ON r.seq = o.seq
WHERE o.seq = ANY(%(seqs)s)
  AND o.status = 1
"""

_FIND_SEQS = f"""{SELECT}
WHERE log.seq = ANY(%(seqs)s)
ORDER BY log.seq
"""

_FIND_SCHEDULED_KEYS = f"{_SELECT_SCHEDULED} WHERE w.id = ANY(%(keys)s)"

# The count stops at a limit, so a line of millions is not read. The first of a line is its oldest, as times never fall.
_LINE = f"""
SELECT
    (
        SELECT count(*)
        FROM (
            SELECT
            FROM log
            WHERE {WAITING}
              AND seq < %(seq)s
            ORDER BY queue, seq
            LIMIT %(counted)s
        ) AS each
    ),
    coalesce(
        (
            SELECT extract(epoch FROM clock_timestamp() - accepted_at)
            FROM log
            WHERE {WAITING}
              AND seq <= %(seq)s
            ORDER BY queue, seq
            LIMIT 1
        ),
        0
    )::float
FROM queues
WHERE number = %(queue)s
"""


def find(conn: Connection, transaction_id: str) -> TransactionRow | None:
    """Find a transaction by its ``txn_`` id. One statement, and more for one that is scheduled or unknown."""
    key = uuid_of(transaction_id, TRANSACTION_PREFIX)
    return _find(conn, key, accepted=_FIND, scheduled=_FIND_SCHEDULED) if key is not None else None


def find_many(conn: Connection, transaction_ids: Collection[str]) -> dict[str, TransactionRow]:
    """Find at most ``MOST`` transactions by their IDs, as ``find`` does. Unknown ones are left out.

    One statement finds all that is in the log. A split, a settlement or refund of all that is left that is undecided, and what
    is scheduled or unknown takes more.
    """
    keys = [id[len(TRANSACTION_PREFIX) :] for id in transaction_ids if uuid_of(id, TRANSACTION_PREFIX) is not None]
    if not keys:
        return {}
    size = next(size for size in _SIZES if size >= len(keys))
    rows = driver(conn).execute(_SIZES[size], keys + keys[-1:] * (size - len(keys))).fetchall()
    found = {row.transaction_id: row for row in (TransactionRow(*each) for each in rows)}
    for id in transaction_ids:
        row = found.get(id)
        if row is None or row.kind == Kind.SPLIT or (row.outcome is None and row.requested == 0):
            whole = find(conn, id)
            if whole is None:
                found.pop(id, None)
            else:
                found[id] = whole
    return found


def find_reference(conn: Connection, reference: str) -> TransactionRow | None:
    return _find(conn, reference, accepted=_FIND_REFERENCE, scheduled=_FIND_SCHEDULED_REFERENCE)


def _find(conn: Connection, value: object, *, accepted: str, scheduled: str) -> TransactionRow | None:
    """Look in the log, else among what is scheduled; and in the log again, for it may have moved there between the looks."""
    return _one(conn, accepted, value) or _one(conn, scheduled, value) or _one(conn, accepted, value)


def _one(conn: Connection, sql: str, value: object) -> TransactionRow | None:
    row = driver(conn).execute(sql, {"value": value}).fetchone()
    return TransactionRow(*row) if row is not None else None


def unrefunded(conn: Connection, seqs: list[int]) -> dict[int, int]:
    """Read what is not yet given back of what these postings moved, in minor units."""
    return dict(driver(conn).execute(_UNREFUNDED, {"seqs": seqs}).fetchall())


def find_seqs(conn: Connection, seqs: list[int]) -> list[TransactionRow]:
    """Find transactions by their seqs, in order of acceptance."""
    return [TransactionRow(*row) for row in driver(conn).execute(_FIND_SEQS, {"seqs": seqs})]


def find_scheduled(conn: Connection, keys: list[UUID]) -> list[TransactionRow]:
    """Find those that wait for their date, or were cancelled before it, in no order."""
    return [TransactionRow(*row) for row in driver(conn).execute(_FIND_SCHEDULED_KEYS, {"keys": keys})]


def line_of(conn: Connection, row: TransactionRow) -> Line:
    """Say where an undecided transaction, not a split, stands in line, and which queues have money on the way to its source."""
    assert row.queue is not None and row.source_key is not None
    line = driver(conn).execute(_LINE, {"seq": row.seq, "queue": row.queue, "counted": COUNTED}).fetchone()
    assert line is not None
    ahead, oldest_age_s = line
    waiting = first_waiting(conn, but=[row.queue])
    waits_for = queues_that_may_credit(conn, row.source_key, before=row.seq, waiting=waiting)
    return Line(row.queue, ahead, oldest_age_s, sorted(waits_for))
