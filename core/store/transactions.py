"""Transactions as they are read: a row of the log, with its outcome if it has one."""

import json
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.ids import key_of
from core.model import STATUS_OF_NUMBER, Hold, Kind, Rejection, RejectReason, Status
from core.store.db import driver
from core.store.log import queues_that_may_credit
from core.store.queues import first_waiting

TRANSACTION_PREFIX = "txn_"


class TransactionRow(NamedTuple):
    """A transaction as it is now. Amounts are minor units."""

    seq: int
    id: UUID
    reference: str
    kind: int
    queue: int
    source_key: int
    source: UUID
    source_indicator: str | None
    destination_key: int
    destination: UUID
    requested: int
    """As accepted; 0 in a commit or void of all that is left."""
    currency: str
    precision: int
    description: str
    allow_overdraft: bool
    overdraft_limit: int | None
    parent: str | None
    group_first: int | None
    effective_date: datetime | None
    meta_data: str | None
    """JSON text of an object."""
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


_SELECT = (
    "SELECT log.seq, log.id, reference, kind, queue, log.source, s.balance_id, s.indicator, log.destination, "
    "d.balance_id, log.amount, log.currency, log.precision, description, allow_overdraft, overdraft_limit, parent, "
    "group_first, effective_date, log.meta_data, accepted_at, o.status, o.amount, o.reason, o.rejection, o.decided_at, "
    "h.amount, h.committed, h.voided, h.settled_at FROM log JOIN balances s ON s.id = log.source "
    "JOIN balances d ON d.id = log.destination LEFT JOIN outcomes o ON o.seq = log.seq "
    "LEFT JOIN holds h ON h.seq = log.seq"
)


def find(conn: Connection, transaction_id: str) -> TransactionRow | None:
    """By ``txn_`` id. One statement."""
    key = key_of(transaction_id, TRANSACTION_PREFIX)
    if key is None:
        return None
    row = driver(conn).execute(f"{_SELECT} WHERE log.id = %s", (key,)).fetchone()
    return TransactionRow(*row) if row is not None else None


def find_reference(conn: Connection, reference: str) -> TransactionRow | None:
    row = driver(conn).execute(f"{_SELECT} WHERE reference = %s", (reference,)).fetchone()
    return TransactionRow(*row) if row is not None else None


def page(conn: Connection, *, limit: int, offset: int, after: int | None, ascending: bool) -> list[TransactionRow]:
    """In order of acceptance, or newest first. ``after`` is the sequence of the last row of the page before."""
    order, beyond = ("ASC", ">") if ascending else ("DESC", "<")
    where = f"WHERE log.seq {beyond} %(after)s" if after is not None else ""
    rows = driver(conn).execute(
        # The page is chosen in the log alone, so the joins see only its rows.
        f"{_SELECT} JOIN (SELECT seq FROM log {where} ORDER BY seq {order} LIMIT %(limit)s OFFSET %(offset)s) AS page "
        f"ON page.seq = log.seq ORDER BY log.seq {order}",
        {"after": after, "limit": limit, "offset": offset},
    )
    return [TransactionRow(*row) for row in rows]


def find_seqs(conn: Connection, seqs: list[int]) -> list[TransactionRow]:
    """In order of acceptance."""
    rows = driver(conn).execute(f"{_SELECT} WHERE log.seq = ANY(%s) ORDER BY log.seq", (seqs,))
    return [TransactionRow(*row) for row in rows]


def has_undecided_settlement(conn: Connection, hold_seq: int) -> bool:
    """Whether a commit or void of this hold waits in its queue."""
    row = driver(conn).execute(
        "SELECT EXISTS (SELECT FROM log JOIN queues ON queues.number = log.queue "
        "WHERE hold_seq = %s AND log.seq > queues.cursor)",
        (hold_seq,),
    )
    (found,) = row.fetchone()  # type: ignore[misc]
    return bool(found)


def line_of(conn: Connection, row: TransactionRow) -> Line:
    """Where an undecided transaction stands in line, and which queues have money on the way to its source."""
    line = (
        driver(conn)
        .execute(
            "SELECT count(*) FILTER (WHERE log.seq < %(seq)s), "
            "coalesce(extract(epoch FROM clock_timestamp() - min(accepted_at)), 0)::float "
            "FROM queues JOIN log ON log.queue = number AND log.seq > cursor WHERE number = %(queue)s AND log.seq <= %(seq)s",
            {"seq": row.seq, "queue": row.queue},
        )
        .fetchone()
    )
    assert line is not None
    ahead, oldest_age_s = line
    waiting = first_waiting(conn, but=[row.queue])
    waits_for = queues_that_may_credit(conn, row.source_key, row.seq, waiting)
    return Line(row.queue, ahead, oldest_age_s, sorted(waits_for))
