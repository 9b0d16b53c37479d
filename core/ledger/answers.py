"""Transactions, balances, ledgers and queues as they go out. Amounts are minor units, unless a field says otherwise.

Read ``Transaction`` first. Nothing here reads the database: each answer is made from a row that a store has read.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from core.base.answers import NO_TIME, Major, Members, Time, encode, major
from core.base.money import to_text
from core.ledger.explain import WIRE_NAMES, RejectionName, blnk_text, sum_text, waiting_text
from core.ledger.rules.model import Accepted, Draft, Kind, Status
from core.ledger.rules.requests import Leg, TransactionRequest, terms_of
from core.ledger.store import transactions as transaction_store
from core.ledger.store.queues import QueueState
from core.ledger.store.transactions import Line, TransactionRow

_members = msgspec.json.Decoder(dict[str, Raw]).decode


class Step(Struct, frozen=True):
    """A status that a transaction had, and since when."""

    status: Status
    at: Time


class Place(Struct, frozen=True, kw_only=True):
    """Where a transaction stands in line."""

    number: int
    """Of the queue."""
    position: int
    """From 1, which is next."""
    ahead: int
    oldest_age_s: float
    waiting_for: str


class RejectionAnswer(Struct, frozen=True, kw_only=True):
    """The sum that did not work out."""

    reason: RejectionName
    message: str
    available: int | None
    """Of a commit, void or refund it is what is left."""
    requested: int | None
    held: int | None
    overdraft_limit: int | None
    short_by: int | None


class Settled(Struct, frozen=True):
    """How far a hold is settled."""

    committed: int
    voided: int
    remaining: int


class SplitLeg(Struct, frozen=True, kw_only=True):
    """One posting of a split. The answer to a fresh submission has no more than its id, reference and amount."""

    transaction_id: str
    reference: str
    source: str | UnsetType = UNSET
    destination: str | UnsetType = UNSET
    precise_amount: int
    status: Status | UnsetType = UNSET
    rejection: RejectionAnswer | UnsetType = UNSET


class Transaction(Struct, frozen=True, kw_only=True):
    """Blnk's transaction object, with what Pacioli adds at its end."""

    precise_amount: int
    """Minor units, of any size."""
    amount: Major
    """Major units."""
    amount_string: str
    """The same, for clients whose numbers are floats."""
    precision: int
    """Minor units in a major unit."""
    overdraft_limit: Major | None
    """Major units."""
    transaction_id: str
    parent_transaction: str
    """The hold or batch that it belongs to; empty for none."""
    source: str
    """Balance id. The answer to a fresh submission has it as it was sent."""
    destination: str
    reference: str
    currency: str
    description: str
    status: Status
    """QUEUED until it is decided. An INFLIGHT hold becomes APPLIED or VOID."""
    hash: str
    """SHA-256 over what was accepted, and over the hash of the transaction accepted before it."""
    allow_overdraft: bool
    inflight: bool
    skip_queue: bool = False
    atomic: bool
    created_at: Time
    effective_date: Time
    scheduled_for: Time
    inflight_expiry_date: Time
    inflight_commit_date: Time
    sources: list[Leg] | UnsetType = UNSET
    """As they were sent. A split with a leg for each names its transaction."""
    destinations: list[Leg] | UnsetType = UNSET
    meta_data: Members | UnsetType = UNSET
    sequence: int
    """Place in the order of acceptance, which outcomes follow."""
    rejection: RejectionAnswer | UnsetType = UNSET
    """When it is REJECTED: the sum that did not work out."""
    inflight_amounts: Settled | UnsetType = UNSET
    """Of a decided hold."""
    timeline: list[Step]
    legs: list[SplitLeg] | UnsetType = UNSET
    """Of a split: its postings."""
    queue: Place | UnsetType = UNSET
    """While it is QUEUED: where it stands."""
    queued: bool | UnsetType = UNSET
    """Of a settlement: it is in line."""
    child_transaction: str | UnsetType = UNSET
    """Of a settlement: its own id."""
    child_transactions: list[str] | UnsetType = UNSET
    """Of several settlements: their ids."""


class Batch(Struct, frozen=True, kw_only=True):
    """What was sent together, or belongs to one run of a funding job, as it is now."""

    batch_id: str
    transaction_id: str
    """The same, for clients that read a transaction here."""
    status: Status
    """The first of QUEUED, SCHEDULED, INFLIGHT, APPLIED, VOID and REJECTED that one of its transactions has."""
    inflight: bool
    """Whether one of them is a hold."""
    transaction_count: int
    counts: dict[Status, int]
    """Its transactions by status."""
    decided: int
    progress: float
    """From 0 to 1."""
    rate: float
    """Transactions decided a second."""
    created_at: Time
    decided_at: Time | None
    """When the last of them was; null before that."""
    queued: bool | UnsetType = UNSET
    """Of settlements: they are in line."""
    child_transaction: str | UnsetType = UNSET
    """Of settlements: the id of the first."""
    child_transactions: list[str] | UnsetType = UNSET


BulkStatus = Literal["queued", "applied", "inflight", "processing"]


class BatchAccepted(Struct, frozen=True, kw_only=True):
    """A bulk that was accepted."""

    batch_id: str
    status: BulkStatus
    """applied or inflight with skip_queue, processing with run_async."""
    transaction_count: int
    message: str | UnsetType = UNSET


class TransactionPage(Struct, frozen=True):
    """A page of transactions, and how many there are in all."""

    data: list[Transaction]
    total_count: int


class SettledItem(Struct, frozen=True, kw_only=True):
    """What became of one hold of a bulk commit or void."""

    transaction_id: str
    status: Literal["succeeded", "queued", "failed"]
    code: str | UnsetType = UNSET
    """Blnk's code: QUEUED, or why it failed."""
    message: str | UnsetType = UNSET


class Settlements(Struct, frozen=True, kw_only=True):
    """What became of a bulk commit or void."""

    succeeded: int
    """Those that wait in line are among them."""
    failed: int
    results: list[SettledItem]
    """In the order asked."""


class Lineage(Struct, frozen=True, kw_only=True):
    """The shadow transactions of a transaction."""

    transaction_id: str
    shadow_transactions: list[dict[str, Any]]


class Added(Struct, frozen=True, kw_only=True):
    """The metadata that is there now."""

    meta_data: Members
    metadata: Members
    """The same once more, for clients that look for it here."""


class Queue(Struct, frozen=True, kw_only=True):
    """A queue, as an operator wants to see it."""

    number: int
    depth: int
    """Transactions that wait in it."""
    oldest_age_s: float | None
    cursor: int
    """Everything in it up to this sequence is decided."""
    last_drained_at: Time | None
    rate_per_s: float
    decided: int


def transaction_of(row: TransactionRow) -> Transaction:
    """A transaction, from its row alone."""
    terms = terms_of(row.terms)
    text = to_text(row.amount, row.precision)
    rejection, hold = row.rejection, row.hold
    meta_data = UNSET if row.meta_data is None else Raw(row.meta_data.encode())
    if rejection is not None:
        own = _members(row.meta_data) if row.meta_data else {}
        meta_data = Raw(encode({**own, "blnk_rejection_reason": blnk_text(rejection, row)}))
    return Transaction(
        precise_amount=row.amount,
        amount=Raw(text.encode()),
        amount_string=text,
        precision=row.precision,
        overdraft_limit=None if row.overdraft_limit is None else major(row.overdraft_limit, row.precision),
        transaction_id=row.transaction_id,
        parent_transaction=row.parent or "",
        source=balance_id(row.source) if row.source is not None else "",
        destination=balance_id(row.destination) if row.destination is not None else "",
        reference=row.reference,
        currency=row.currency,
        description=row.description,
        status=row.status,
        hash=row.digest.hex() if row.digest is not None else "",
        allow_overdraft=row.allow_overdraft,
        inflight=row.inflight or terms.inflight,
        atomic=row.group_first is not None or terms.atomic,
        created_at=row.accepted_at,
        effective_date=row.effective_date or row.accepted_at,
        scheduled_for=terms.scheduled_for or NO_TIME,
        inflight_expiry_date=terms.inflight_expiry_date or NO_TIME,
        inflight_commit_date=terms.inflight_commit_date or NO_TIME,
        sources=terms.sources or UNSET,
        destinations=terms.destinations or UNSET,
        meta_data=meta_data,
        sequence=row.seq,
        rejection=UNSET if rejection is None else rejection_of(row),
        inflight_amounts=UNSET if hold is None else Settled(hold.committed, hold.voided, hold.remaining),
        timeline=[Step(status, at) for status, at in row.timeline],
    )


def accepted_of(draft: Draft, accepted: Accepted, asked: TransactionRequest) -> Transaction:
    """A fresh submission, made without reading it back. Names stay as they were sent, as in Blnk."""
    row = draft.row
    terms = terms_of(row.terms)
    status = Status.QUEUED if accepted.seq else Status.SCHEDULED
    text = to_text(row.amount, row.precision)
    legs = [
        SplitLeg(transaction_id=leg.transaction_id, reference=leg.reference, precise_amount=leg.amount)
        for leg in (each.row for each in draft.legs)
    ]
    return Transaction(
        precise_amount=row.amount,
        amount=Raw(text.encode()),
        amount_string=text,
        precision=row.precision,
        overdraft_limit=None if row.overdraft_limit is None else major(row.overdraft_limit, row.precision),
        transaction_id=accepted.transaction_id,
        parent_transaction=row.parent or "",
        source=asked.source or "",
        destination=asked.destination or "",
        reference=row.reference,
        currency=row.currency,
        description=row.description,
        status=status,
        hash=accepted.digest.hex() if accepted.digest is not None else "",
        allow_overdraft=row.allow_overdraft,
        inflight=row.kind == Kind.HOLD or terms.inflight,
        atomic=bool(asked.atomic),
        created_at=accepted.accepted_at,
        effective_date=row.effective_date or accepted.accepted_at,
        scheduled_for=terms.scheduled_for or NO_TIME,
        inflight_expiry_date=terms.inflight_expiry_date or NO_TIME,
        inflight_commit_date=terms.inflight_commit_date or NO_TIME,
        sources=terms.sources or UNSET,
        destinations=terms.destinations or UNSET,
        meta_data=UNSET if row.meta_data is None else Raw(row.meta_data.encode()),
        sequence=accepted.seq,
        timeline=[Step(status, accepted.accepted_at)],
        legs=legs or UNSET,
    )


def with_legs(transaction: Transaction, legs: Sequence[TransactionRow]) -> Transaction:
    """A split with its postings. Each source or destination that has one of its own names it, as in Blnk."""
    return msgspec.structs.replace(
        transaction,
        sources=_named(transaction.sources, legs),
        destinations=_named(transaction.destinations, legs),
        legs=[_leg(leg) for leg in legs],
    )


def with_place(transaction: Transaction, line: Line) -> Transaction:
    """A transaction that is not decided yet, with where it stands."""
    place = Place(
        number=line.queue,
        position=line.ahead + 1,
        ahead=line.ahead,
        oldest_age_s=round(line.oldest_age_s, 3),
        waiting_for=waiting_text(line),
    )
    return msgspec.structs.replace(transaction, queue=place)


def batch_of(batch_id: str, batch: transaction_store.Batch, now: datetime) -> Batch:
    """What a batch has come to: its transactions by status, progress and rate."""
    waiting = batch.by_status.get(Status.QUEUED, 0) + batch.by_status.get(Status.SCHEDULED, 0)
    decided = batch.transactions - waiting
    until = batch.decided_at if not waiting and batch.decided_at is not None else now
    seconds = max((until - batch.accepted_at).total_seconds(), 0.001)
    return Batch(
        batch_id=batch_id,
        transaction_id=batch_id,
        status=next(status for status in _BATCH_STATUS if batch.by_status.get(status)),
        inflight=batch.inflight,
        transaction_count=batch.transactions,
        counts={status: batch.by_status.get(status, 0) for status in Status},
        decided=decided,
        progress=round(decided / batch.transactions, 4),
        rate=round(decided / seconds, 1),
        created_at=batch.accepted_at,
        decided_at=batch.decided_at if not waiting else None,
    )


_BATCH_STATUS = (Status.QUEUED, Status.SCHEDULED, Status.INFLIGHT, Status.APPLIED, Status.VOID, Status.REJECTED)
"""What is still to come first; then what moved money."""


def queue_of(state: QueueState) -> Queue:
    """A queue, from its state."""
    return Queue(
        number=state.number,
        depth=state.depth,
        oldest_age_s=None if state.oldest_age_s is None else round(state.oldest_age_s, 3),
        cursor=state.cursor,
        last_drained_at=state.drained_at,
        rate_per_s=round(state.rate, 1),
        decided=state.decided,
    )


def rejection_of(row: TransactionRow) -> RejectionAnswer:
    """Why a rejected transaction was rejected."""
    rejection = row.rejection
    assert rejection is not None
    return RejectionAnswer(
        reason=WIRE_NAMES[rejection.reason],
        message=sum_text(rejection, row),
        available=rejection.available,
        requested=rejection.requested,
        held=rejection.held,
        overdraft_limit=rejection.overdraft_limit,
        short_by=rejection.short_by,
    )


def balance_id(key: object) -> str:
    """The public id of a balance."""
    return f"bln_{key}"


def _leg(row: TransactionRow) -> SplitLeg:
    return SplitLeg(
        transaction_id=row.transaction_id,
        reference=row.reference,
        source=balance_id(row.source),
        destination=balance_id(row.destination),
        precise_amount=row.amount,
        status=row.status,
        rejection=UNSET if row.rejection is None else rejection_of(row),
    )


def _named(shares: list[Leg] | UnsetType, legs: Sequence[TransactionRow]) -> list[Leg] | UnsetType:
    if not shares or len(shares) != len(legs):
        return shares
    return [
        msgspec.structs.replace(share, transaction_id=leg.transaction_id)
        for share, leg in zip(shares, legs, strict=True)
    ]
