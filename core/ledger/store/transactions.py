"""Transactions as they are read: a row of the log, with its outcome if it has one."""

import json
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.base.db import driver
from core.base.ids import key_of
from core.ledger.rules.model import STATUS_OF_NUMBER, Hold, Kind, Rejection, RejectReason, Status
from core.ledger.rules.requests import terms_of
from core.ledger.store.log import queues_that_may_credit
from core.ledger.store.queues import WAITING, first_waiting

TRANSACTION_PREFIX = "txn_"


class TransactionRow(NamedTuple):
    """A transaction as it is now. Amounts are minor units."""

    seq: int
    """0 of one that waits for its date, or was cancelled before that (``settled_at``)."""
    id: UUID
    reference: str
    kind: int
    queue: int | None
    """None of a split."""
    source_key: int | None
    """None where a split has several."""
    source: UUID | None
    source_indicator: str | None
    destination_key: int | None
    destination: UUID | None
    requested: int
    """As accepted; 0 in a commit, void or refund of all that is left."""
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
    """Of a split: the number of its status as its legs make it; None while one of them is undecided."""
    legs_settled_at: datetime | None = None

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
        """Of a settlement of all that was left, what it came to."""
        return self.requested or self.decided_amount or 0

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


class Line(NamedTuple):
    """Where an undecided transaction stands."""

    queue: int
    ahead: int
    oldest_age_s: float
    waits_for_queues: list[int]
    """Other queues with an earlier posting that would credit its source."""


_META_DATA = (
    "CASE WHEN a.id IS NULL THEN {0}.meta_data::text "
    "ELSE (coalesce({0}.meta_data::jsonb, '{{}}') || a.meta_data)::text END"
)

LEGS = (
    # A one-time filter on the kind, so that it costs nothing for anything but a split.
    "LEFT JOIN LATERAL (SELECT CASE WHEN count(leg_o.seq) < count(*) THEN NULL "
    "WHEN bool_or(leg_h.seq IS NOT NULL AND leg_h.settled_at IS NULL) THEN 2 "
    "WHEN bool_or(leg_o.status = 1 OR leg_h.committed > 0) THEN 1 WHEN bool_or(leg_h.seq IS NOT NULL) THEN 3 "
    "ELSE 4 END AS status, max(leg_o.decided_at) AS decided_at, max(leg_h.settled_at) AS settled_at "
    "FROM log AS leg LEFT JOIN outcomes AS leg_o ON leg_o.seq = leg.seq LEFT JOIN holds AS leg_h ON leg_h.seq = leg.seq "
    "WHERE log.kind = 5 AND leg.parent = 'txn_' || log.id AND leg.kind IN (1, 2, 6)) AS l ON true "
)
"""The status of a split is what its legs make it: money held, moved or released by any of them, else rejected."""

STATUS = (
    "CASE WHEN log.kind = 5 THEN l.status WHEN h.seq IS NULL THEN o.status WHEN h.settled_at IS NULL THEN 2 "
    "WHEN h.committed > 0 THEN 1 ELSE 3 END"
)
"""The number of a transaction's status; null is QUEUED. Over ``FROM``."""

FROM = (
    "FROM log LEFT JOIN balances s ON s.id = log.source LEFT JOIN balances d ON d.id = log.destination "
    "LEFT JOIN outcomes o ON o.seq = log.seq LEFT JOIN holds h ON h.seq = log.seq "
    f"LEFT JOIN annotations a ON a.id = log.id {LEGS}"
)

_SELECT = (
    "SELECT log.seq, log.id, reference, kind, queue, log.source, s.balance_id, s.indicator, log.destination, "
    "d.balance_id, log.amount, log.currency, log.precision, description, allow_overdraft, overdraft_limit, parent, "
    f"group_first, effective_date, {_META_DATA.format('log')}, log.terms::text, log.digest, accepted_at, o.status, "
    "o.amount, o.reason, o.rejection, coalesce(o.decided_at, l.decided_at), h.amount, h.committed, h.voided, h.settled_at, "
    f"l.status, l.settled_at {FROM}"
)

_SELECT_SCHEDULED = (
    "SELECT 0, w.id, reference, kind, NULL, w.source, s.balance_id, s.indicator, w.destination, d.balance_id, w.amount, "
    "w.currency, w.precision, description, allow_overdraft, overdraft_limit, parent, NULL, effective_date, "
    f"{_META_DATA.format('w')}, w.terms::text, NULL, scheduled_at, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, "
    "cancelled_at, NULL, NULL FROM scheduled w LEFT JOIN balances s ON s.id = w.source "
    "LEFT JOIN balances d ON d.id = w.destination LEFT JOIN annotations a ON a.id = w.id"
)


def find(conn: Connection, transaction_id: str) -> TransactionRow | None:
    """By ``txn_`` id. One statement, and more for one that is scheduled or unknown."""
    key = key_of(transaction_id, TRANSACTION_PREFIX)
    return _find(conn, "log.id = %s", "w.id = %s", key) if key is not None else None


def find_reference(conn: Connection, reference: str) -> TransactionRow | None:
    return _find(conn, "reference = %s", "reference = %s", reference)


def _find(conn: Connection, accepted: str, scheduled: str, value: object) -> TransactionRow | None:
    """In the log, else among what is scheduled; and in the log again, for it may have moved there between the looks."""
    in_log = f"{_SELECT} WHERE {accepted}"
    found = _one(conn, in_log, value) or _one(conn, f"{_SELECT_SCHEDULED} WHERE {scheduled}", value)
    return found or _one(conn, in_log, value)


def _one(conn: Connection, sql: str, value: object) -> TransactionRow | None:
    row = driver(conn).execute(sql, (value,)).fetchone()
    return TransactionRow(*row) if row is not None else None


def legs_of(conn: Connection, transaction_id: str) -> list[TransactionRow]:
    """The postings of a split or batch, in order of acceptance: of a batch, those of the splits in it too."""
    if transaction_id.startswith(TRANSACTION_PREFIX):
        rows = driver(conn).execute(
            f"{_SELECT} WHERE parent = %s AND kind IN (1, 2, 6) ORDER BY log.seq", (transaction_id,)
        )
    else:
        rows = driver(conn).execute(
            f"{_SELECT} WHERE kind IN (1, 2) AND (parent = %(id)s OR parent IN (SELECT 'txn_' || id FROM log AS split "
            "WHERE split.parent = %(id)s AND split.kind = 5)) ORDER BY log.seq",
            {"id": transaction_id},
        )
    return [TransactionRow(*row) for row in rows]


_COUNT_MEMBERS = """
    SELECT count(*)
    FROM log
    WHERE parent = %s AND kind IN (1, 2)
"""


def count_members(conn: Connection, batch_id: str) -> int:
    """Count the transfers and holds of a batch; the legs of splits in it do not count."""
    (count,) = driver(conn).execute(_COUNT_MEMBERS, (batch_id,)).fetchone()  # type: ignore[misc]
    return int(count)


def settlements_of(conn: Connection, hold_seq: int) -> list[TransactionRow]:
    """The commits and voids of a hold that were not rejected, in order of acceptance."""
    rows = driver(conn).execute(f"{_SELECT} WHERE hold_seq = %s AND o.status <> 4 ORDER BY log.seq", (hold_seq,))
    return [TransactionRow(*row) for row in rows]


def unrefunded(conn: Connection, seqs: list[int]) -> dict[int, int]:
    """What is not yet given back of what these postings moved, in minor units."""
    rows = driver(conn).execute(
        "SELECT o.seq, o.amount - coalesce(refunded, 0) FROM outcomes o LEFT JOIN refunds r ON r.seq = o.seq "
        "WHERE o.seq = ANY(%s) AND o.status = 1",
        (seqs,),
    )
    return dict(rows.fetchall())


def find_seqs(conn: Connection, seqs: list[int]) -> list[TransactionRow]:
    """In order of acceptance."""
    rows = driver(conn).execute(f"{_SELECT} WHERE log.seq = ANY(%s) ORDER BY log.seq", (seqs,))
    return [TransactionRow(*row) for row in rows]


def find_scheduled(conn: Connection, keys: list[UUID]) -> list[TransactionRow]:
    """Those that wait for their date, or were cancelled before it, in no order."""
    return [TransactionRow(*row) for row in driver(conn).execute(f"{_SELECT_SCHEDULED} WHERE w.id = ANY(%s)", (keys,))]


def undecided_settlements(conn: Connection, hold_seqs: list[int]) -> bool:
    """Whether a commit or void of one of these holds waits in its queue."""
    row = driver(conn).execute(
        "SELECT EXISTS (SELECT FROM log JOIN queues ON queues.number = log.queue "
        "WHERE hold_seq = ANY(%s) AND log.seq > queues.cursor)",
        (hold_seqs,),
    )
    (found,) = row.fetchone()  # type: ignore[misc]
    return bool(found)


def line_of(conn: Connection, row: TransactionRow) -> Line:
    """Where an undecided transaction, not a split, stands in line, and which queues have money on the way to its source."""
    assert row.queue is not None and row.source_key is not None
    line = (
        driver(conn)
        .execute(
            "SELECT count(*) FILTER (WHERE line.seq < %(seq)s), "
            "coalesce(extract(epoch FROM clock_timestamp() - min(accepted_at)), 0)::float FROM queues CROSS JOIN LATERAL ("
            f"SELECT seq, accepted_at FROM log WHERE {WAITING} AND seq <= %(seq)s ORDER BY queue, seq) AS line "
            "WHERE number = %(queue)s",
            {"seq": row.seq, "queue": row.queue},
        )
        .fetchone()
    )
    assert line is not None
    ahead, oldest_age_s = line
    waiting = first_waiting(conn, but=[row.queue])
    waits_for = queues_that_may_credit(conn, row.source_key, row.seq, waiting)
    return Line(row.queue, ahead, oldest_age_s, sorted(waits_for))


class Batch(NamedTuple):
    """What a bulk's transactions have come to. Times are of the first and last of them."""

    transactions: int
    by_status: dict[Status, int]
    inflight: bool
    """Whether one of them is a hold."""
    accepted_at: datetime
    decided_at: datetime | None


def batch(conn: Connection, batch_id: str) -> Batch | None:
    """The transactions of a bulk, counted by status. None when there is no such batch."""
    rows = (
        driver(conn)
        .execute(
            f"SELECT {STATUS} AS number, count(*), bool_or(kind = 2 OR log.terms->>'inflight' = 'true'), "
            f"min(accepted_at), max(coalesce(o.decided_at, l.decided_at)) {FROM} "
            "WHERE parent = %(id)s AND kind IN (1, 2, 5) AND log.terms->>'refund' IS NULL GROUP BY number "
            "UNION ALL SELECT CASE WHEN cancelled_at IS NULL THEN 0 ELSE 3 END, count(*), bool_or(kind = 2), "
            "min(scheduled_at), NULL FROM scheduled WHERE parent = %(id)s GROUP BY 1",
            {"id": batch_id},
        )
        .fetchall()
    )
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


def last_places(conn: Connection, batch_id: str) -> dict[int, int]:
    """The queues that a batch is in, and the seq of its last posting in each. Those of splits in it come as well."""
    rows = driver(conn).execute(
        "SELECT queue, max(seq) FROM log WHERE queue IS NOT NULL AND (parent = %(id)s OR parent IN ("
        "SELECT 'txn_' || id FROM log AS split WHERE split.parent = %(id)s AND split.kind = 5)) GROUP BY queue",
        {"id": batch_id},
    )
    return dict(rows.fetchall())
