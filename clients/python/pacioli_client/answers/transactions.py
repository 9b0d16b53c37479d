"""Answers about transactions, holds and batches."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import UNSET, Struct, UnsetType


class Step(Struct, frozen=True, kw_only=True):
    """The time at which a transaction got a status."""

    status: str
    at: datetime


class Rejection(Struct, frozen=True, kw_only=True):
    """The reason of a rejection, with its sums in minor units."""

    reason: str
    message: str
    available: int | None
    requested: int | None
    held: int | None
    overdraft_limit: int | None
    floor: int | UnsetType = UNSET
    short_by: int | None


class QueuePosition(Struct, frozen=True, kw_only=True):
    """The position of an undecided transaction in its queue."""

    number: int
    """The number of the queue."""
    position: int
    ahead: int
    oldest_age_s: Decimal
    waiting_for: str


class HoldAmounts(Struct, frozen=True, kw_only=True):
    """The parts of a hold that are committed, voided and left, in minor units."""

    committed: int
    voided: int
    remaining: int


class KeptShare(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of several sources or destinations, as the request named it."""

    identifier: str
    distribution: str | UnsetType = UNSET
    precise_distribution: int | str | UnsetType = UNSET
    narration: str | UnsetType = UNSET
    transaction_id: str | UnsetType = UNSET


class SplitLeg(Struct, frozen=True, kw_only=True):
    """One leg of a split."""

    transaction_id: str
    reference: str
    source: str | UnsetType = UNSET
    destination: str | UnsetType = UNSET
    precise_amount: int
    status: str | UnsetType = UNSET
    rejection: Rejection | UnsetType = UNSET


class Transaction(Struct, frozen=True, kw_only=True):
    """A transaction as it is now."""

    precise_amount: int
    amount: Decimal
    amount_string: str
    pending: bool | UnsetType = UNSET
    """The amount is what is left now of what a queued refund, commit or void takes as a whole."""
    precision: int
    overdraft_limit: Decimal | None
    transaction_id: str
    parent_transaction: str
    source: str
    destination: str
    reference: str
    currency: str
    description: str
    status: str
    hash: str
    allow_overdraft: bool
    inflight: bool
    skip_queue: bool
    atomic: bool
    created_at: datetime
    effective_date: datetime
    scheduled_for: datetime
    inflight_expiry_date: datetime
    inflight_commit_date: datetime
    sources: list[KeptShare] | UnsetType = UNSET
    destinations: list[KeptShare] | UnsetType = UNSET
    meta_data: dict[str, Any] | UnsetType | None = UNSET
    created_by: str | UnsetType = UNSET
    created_through: str | UnsetType = UNSET
    sequence: int
    """Its position in the order of acceptance; 0 while it waits for its date."""
    rejection: Rejection | UnsetType = UNSET
    inflight_amounts: HoldAmounts | UnsetType = UNSET
    legs: list[SplitLeg] | UnsetType = UNSET
    timeline: list[Step]
    queue: QueuePosition | UnsetType = UNSET
    warnings: list[Any] | UnsetType = UNSET
    queued: bool | UnsetType = UNSET
    child_transaction: str | UnsetType = UNSET
    child_transactions: list[str] | UnsetType = UNSET


class BatchAccepted(Struct, frozen=True, kw_only=True):
    """A batch that is accepted."""

    batch_id: str | None
    """None when all transactions were accepted before, and not in one batch."""
    status: str
    transaction_count: int
    accepted_before: int | UnsetType = UNSET
    message: str | UnsetType = UNSET
    warnings: list[Any] | UnsetType = UNSET


class Batch(Struct, frozen=True, kw_only=True):
    """A batch, with how many of its transactions have which status."""

    batch_id: str
    transaction_id: str
    status: str
    inflight: bool
    transaction_count: int
    counts: dict[str, int]
    """Transactions by status."""
    decided: int
    progress: Decimal
    rate: Decimal
    created_at: datetime
    decided_at: datetime | None
    queued: bool | UnsetType = UNSET
    child_transaction: str | UnsetType = UNSET
    child_transactions: list[str] | UnsetType = UNSET
    warnings: list[Any] | UnsetType = UNSET
