"""Defines a transaction as it is read, with what follows from its row and its outcome."""

import json
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

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
