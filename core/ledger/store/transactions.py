"""Transactions as they are read: a row of the log, with its outcome if it has one."""

import json
from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.base.db import driver
from core.base.ids import uuid_of
from core.ledger.rules.log_row import LogRow
from core.ledger.rules.model import (
    STATUS_NUMBERS,
    STATUS_OF_NUMBER,
    BalanceRef,
    Hold,
    Kind,
    Outcome,
    Rejection,
    RejectReason,
    Status,
)
from core.ledger.rules.requests import terms_of
from core.ledger.store.balances import BALANCE_PREFIX
from core.ledger.store.log import queues_that_may_credit
from core.ledger.store.queues import COUNTED, WAITING, first_waiting

TRANSACTION_PREFIX = "txn_"


class TransactionRow(NamedTuple):
    """A transaction as it is now. Amounts are minor units."""

    seq: int
    """0 where it waits for its date, or was cancelled before that (``settled_at``)."""
    id: UUID
    reference: str
    kind: int
    queue: int | None
    """None for a split."""
    source_key: int | None
    """None where a split has several."""
    source: UUID | None
    source_indicator: str | None
    destination_key: int | None
    destination: UUID | None
    requested: int
    """The amount as accepted. In a commit_inflight, void_inflight or refund, 0 stands for all that is left."""
    currency: str
    precision: int
    description: str
    allow_overdraft: bool
    overdraft_limit: int | None
    parent: str | None
    group_first: int | None
    effective_date: datetime | None
    meta_data: str | None
    """JSON text of an object, with what was added later."""
    terms: str | None
    """JSON text of ``Terms``."""
    digest: bytes | None
    accepted_at: datetime
    actor: str | None
    """The ID of the key that asked for it. None in rows from before there were keys."""
    part: str | None
    """The part of the service that accepted it; None as well where it waits for its date."""
    outcome: int | None
    """Number of the outcome's status; None while undecided."""
    decided_amount: int | None
    reason: int | None
    rejection_json: str | None
    decided_at: datetime | None
    hold_amount: int | None
    committed: int | None
    voided: int | None
    settled_at: datetime | None
    legs_status: int | None = None
    """The number of a split's status as its legs make it; None while one of them is undecided."""
    legs_settled_at: datetime | None = None
    left: int | None = None
    """The amount that a commit_inflight, void_inflight or refund of all that is left would come to now; None once decided."""

    @property
    def transaction_id(self) -> str:
        return f"{TRANSACTION_PREFIX}{self.id}"

    @property
    def hold(self) -> Hold | None:
        """How far a decided hold is settled; None for anything else."""
        if self.hold_amount is None or self.committed is None or self.voided is None:
            return None
        return Hold(self.seq, self.hold_amount, self.committed, self.voided)

    @property
    def status(self) -> Status:
        if self.seq == 0:
            return Status.SCHEDULED if self.settled_at is None else Status.VOID
        if self.kind == Kind.SPLIT:
            return STATUS_OF_NUMBER[self.legs_status] if self.legs_status is not None else Status.QUEUED
        if self.outcome is None:
            return Status.QUEUED
        hold = self.hold
        return hold.status if hold is not None else STATUS_OF_NUMBER[self.outcome]

    @property
    def amount(self) -> int:
        """The amount. For a settlement or refund of all that is left it is what it came to, or would come to now."""
        return self.requested or self.decided_amount or self.left or 0

    @property
    def is_pending(self) -> bool:
        """True when the amount is what is left now, and the engine has yet to say what it comes to."""
        return self.left is not None

    @property
    def inflight(self) -> bool:
        return self.kind == Kind.HOLD

    @property
    def timeline(self) -> list[tuple[Status, datetime]]:
        """The statuses it had, and since when."""
        terms = terms_of(self.terms)
        if self.seq == 0:
            line = [(Status.SCHEDULED, self.accepted_at)]
            return line if self.settled_at is None else [*line, (Status.VOID, self.settled_at)]
        line = [(Status.SCHEDULED, terms.scheduled_at)] if terms.scheduled_at else []
        line.append((Status.QUEUED, self.accepted_at))
        if self.status is Status.QUEUED or self.decided_at is None:
            return line
        held = self.hold is not None or (terms.inflight and self.status is not Status.REJECTED)
        line.append((Status.INFLIGHT if held else self.status, self.decided_at))
        settled_at = self.settled_at or self.legs_settled_at
        if settled_at is not None and self.status is not Status.INFLIGHT:
            line.append((self.status, settled_at))
        return line

    @property
    def rejection(self) -> Rejection | None:
        if self.reason is None:
            return None
        return Rejection(RejectReason(self.reason), **json.loads(self.rejection_json or "{}"))


def decided_row(
    row: LogRow, sides: tuple[BalanceRef, BalanceRef], outcome: Outcome, decided_at: datetime
) -> TransactionRow:
    """Make the row of a transfer or hold that was decided just now, as ``find`` would read it."""
    source, destination = sides
    hold = outcome.hold
    assert row.accepted_at is not None and outcome.rejection is None
    return TransactionRow(
        seq=row.seq,
        id=UUID(row.id),
        reference=row.reference,
        kind=row.kind,
        queue=row.queue,
        source_key=source.key,
        source=uuid_of(source.balance_id, BALANCE_PREFIX),
        source_indicator=source.indicator,
        destination_key=destination.key,
        destination=uuid_of(destination.balance_id, BALANCE_PREFIX),
        requested=row.amount,
        currency=row.currency,
        precision=row.precision,
        description=row.description,
        allow_overdraft=row.allow_overdraft,
        overdraft_limit=row.overdraft_limit,
        parent=row.parent,
        group_first=row.group_first,
        effective_date=row.effective_date,
        meta_data=row.meta_data,
        terms=row.terms,
        digest=row.digest,
        accepted_at=row.accepted_at,
        actor=row.actor,
        part=row.part,
        outcome=STATUS_NUMBERS[outcome.status],
        decided_amount=outcome.amount,
        reason=None,
        rejection_json=None,
        decided_at=decided_at,
        hold_amount=None if hold is None else hold.amount,
        committed=None if hold is None else hold.committed,
        voided=None if hold is None else hold.voided,
        settled_at=None,
    )


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

_FROM = f"""
FROM log
LEFT JOIN balances AS s ON s.id = log.source
LEFT JOIN balances AS d ON d.id = log.destination
LEFT JOIN outcomes AS o ON o.seq = log.seq
LEFT JOIN holds AS h ON h.seq = log.seq
LEFT JOIN annotations AS a ON a.id = log.id
{LEGS}
"""

_SELECT = f"""
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
{_FROM}
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

_FIND = f"{_SELECT} WHERE log.id = %(value)s"
_FIND_SCHEDULED = f"{_SELECT_SCHEDULED} WHERE w.id = %(value)s"
_FIND_REFERENCE = f"{_SELECT} WHERE reference = %(value)s"
_FIND_SCHEDULED_REFERENCE = f"{_SELECT_SCHEDULED} WHERE reference = %(value)s"

_LEGS_OF_SPLIT = f"""{_SELECT}
WHERE parent = %(id)s
  AND kind IN (1, 2, 6)
ORDER BY log.seq
"""

_LEGS_OF_BATCH = f"""{_SELECT}
WHERE kind IN (1, 2)
  AND (
      parent = %(id)s
      OR parent IN (
          SELECT 'txn_' || id
          FROM log AS split
          WHERE split.parent = %(id)s
            AND split.kind = 5
      )
  )
ORDER BY log.seq
"""

_COUNT_MEMBERS = """
SELECT count(*)
FROM log
WHERE parent = %(id)s
  AND kind IN (1, 2)
"""

_SETTLEMENTS = f"""{_SELECT}
WHERE hold_seq = %(hold_seq)s
  AND o.status <> 4
ORDER BY log.seq
"""

_UNREFUNDED = """
SELECT o.seq, o.amount - coalesce(refunded, 0)
FROM outcomes AS o
LEFT JOIN refunds AS r ON r.seq = o.seq
WHERE o.seq = ANY(%(seqs)s)
  AND o.status = 1
"""

_FIND_SEQS = f"""{_SELECT}
WHERE log.seq = ANY(%(seqs)s)
ORDER BY log.seq
"""

_FIND_SCHEDULED_KEYS = f"{_SELECT_SCHEDULED} WHERE w.id = ANY(%(keys)s)"

_UNDECIDED_SETTLEMENTS = """
SELECT EXISTS (
    SELECT
    FROM log
    JOIN queues ON queues.number = log.queue
    WHERE hold_seq = ANY(%(hold_seqs)s)
      AND log.seq > queues.cursor
)
"""

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

# A row without a status waits; 0 and 3 are scheduled and cancelled before its date.
_BATCH = f"""
SELECT CASE
           WHEN log.kind = 5 THEN l.status
           WHEN h.seq IS NULL THEN o.status
           WHEN h.settled_at IS NULL THEN 2
           WHEN h.committed > 0 THEN 1
           ELSE 3
       END AS number,
       count(*), bool_or(kind = 2 OR log.terms->>'inflight' = 'true'),
       min(accepted_at), max(coalesce(o.decided_at, l.decided_at))
{_FROM}
WHERE parent = %(id)s
  AND kind IN (1, 2, 5)
  AND log.terms->>'refund' IS NULL
GROUP BY number

UNION ALL
SELECT CASE WHEN cancelled_at IS NULL THEN 0 ELSE 3 END, count(*), bool_or(kind = 2), min(scheduled_at), NULL
FROM scheduled
WHERE parent = %(id)s
GROUP BY 1
"""

_LAST_POSITIONS = """
SELECT queue, max(seq)
FROM log
WHERE queue IS NOT NULL
  AND (
      parent = %(id)s
      OR parent IN (
          SELECT 'txn_' || id
          FROM log AS split
          WHERE split.parent = %(id)s
            AND split.kind = 5
      )
  )
GROUP BY queue
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


def legs_of(conn: Connection, transaction_id: str) -> list[TransactionRow]:
    """Read the postings of a split or batch, in order of acceptance. Those of a batch include those of the splits in it."""
    sql = _LEGS_OF_SPLIT if transaction_id.startswith(TRANSACTION_PREFIX) else _LEGS_OF_BATCH
    return [TransactionRow(*row) for row in driver(conn).execute(sql, {"id": transaction_id})]


def count_members(conn: Connection, batch_id: str) -> int:
    """Count the transfers and holds of a batch; the legs of splits in it do not count."""
    (count,) = driver(conn).execute(_COUNT_MEMBERS, {"id": batch_id}).fetchone()  # type: ignore[misc]
    return int(count)


def settlements_of(conn: Connection, hold_seq: int) -> list[TransactionRow]:
    """Read the commits and voids of a hold that were not rejected, in order of acceptance."""
    return [TransactionRow(*row) for row in driver(conn).execute(_SETTLEMENTS, {"hold_seq": hold_seq})]


def unrefunded(conn: Connection, seqs: list[int]) -> dict[int, int]:
    """Read what is not yet given back of what these postings moved, in minor units."""
    return dict(driver(conn).execute(_UNREFUNDED, {"seqs": seqs}).fetchall())


def find_seqs(conn: Connection, seqs: list[int]) -> list[TransactionRow]:
    """Find transactions by their seqs, in order of acceptance."""
    return [TransactionRow(*row) for row in driver(conn).execute(_FIND_SEQS, {"seqs": seqs})]


def find_scheduled(conn: Connection, keys: list[UUID]) -> list[TransactionRow]:
    """Find those that wait for their date, or were cancelled before it, in no order."""
    return [TransactionRow(*row) for row in driver(conn).execute(_FIND_SCHEDULED_KEYS, {"keys": keys})]


def undecided_settlements(conn: Connection, hold_seqs: list[int]) -> bool:
    """Whether a commit or void of one of these holds waits in its queue."""
    row = driver(conn).execute(_UNDECIDED_SETTLEMENTS, {"hold_seqs": hold_seqs}).fetchone()
    assert row is not None
    return bool(row[0])


def line_of(conn: Connection, row: TransactionRow) -> Line:
    """Say where an undecided transaction, not a split, stands in line, and which queues have money on the way to its source."""
    assert row.queue is not None and row.source_key is not None
    line = driver(conn).execute(_LINE, {"seq": row.seq, "queue": row.queue, "counted": COUNTED}).fetchone()
    assert line is not None
    ahead, oldest_age_s = line
    waiting = first_waiting(conn, but=[row.queue])
    waits_for = queues_that_may_credit(conn, row.source_key, before=row.seq, waiting=waiting)
    return Line(row.queue, ahead, oldest_age_s, sorted(waits_for))


class Batch(NamedTuple):
    """The transactions of a batch, counted by status. Times are those of the first and last of them."""

    transactions: int
    by_status: dict[Status, int]
    inflight: bool
    """Whether one of them is a hold."""
    accepted_at: datetime
    decided_at: datetime | None


def batch(conn: Connection, batch_id: str) -> Batch | None:
    """Count the transactions of a bulk by status. None when there is no such batch."""
    rows = driver(conn).execute(_BATCH, {"id": batch_id}).fetchall()
    if not rows:
        return None
    by_status: dict[Status, int] = {}
    for number, count, *_ in rows:
        status = Status.QUEUED if number is None else Status.SCHEDULED if number == 0 else STATUS_OF_NUMBER[number]
        by_status[status] = by_status.get(status, 0) + count
    return Batch(
        sum(by_status.values()),
        by_status,
        any(row[2] for row in rows),
        min(row[3] for row in rows),
        max((row[4] for row in rows if row[4] is not None), default=None),
    )


def last_positions(conn: Connection, batch_id: str) -> dict[int, int]:
    """Read the queues that a batch is in, and the seq of its last posting in each. Those of splits in it come as well."""
    return dict(driver(conn).execute(_LAST_POSITIONS, {"id": batch_id}).fetchall())
