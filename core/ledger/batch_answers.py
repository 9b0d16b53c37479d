"""Makes the answers about many transactions at once: a batch or run, and the commit or void of several holds.

Each answer is made from what a store has counted, so nothing here reads the database.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from core.base.answers import Time
from core.base.problems import MAX_LISTED
from core.ledger.answers import Warning
from core.ledger.rules.model import Status
from core.ledger.rules.requests import TransactionRequest
from core.ledger.rules.validation import warnings_of
from core.ledger.store import families as family_store


class Batch(Struct, frozen=True, kw_only=True):
    """The transactions that were sent together, or that belong to one run of a funding job, as they are now."""

    batch_id: str
    transaction_id: str
    """The ID of the batch again, for clients that read a transaction here."""
    status: Status
    """The first status of QUEUED, SCHEDULED, INFLIGHT, APPLIED, VOID and REJECTED that one of its transactions has."""
    inflight: bool
    """Whether one of them is a hold."""
    transaction_count: int
    counts: dict[Status, int]
    """The number of its transactions with each status."""
    decided: int
    progress: float
    """The part that is decided, from 0 to 1."""
    rate: float
    """The number of transactions that are decided in a second."""
    created_at: Time
    decided_at: Time | None
    """The time when the last transaction was decided. It is null before that."""
    queued: bool | UnsetType = UNSET
    """Whether settlements are in line."""
    child_transaction: str | UnsetType = UNSET
    """The ID of the first settlement."""
    child_transactions: list[str] | UnsetType = UNSET
    warnings: list[Warning] | UnsetType = UNSET


BulkStatus = Literal["queued", "applied", "inflight", "processing"]


class BatchAccepted(Struct, frozen=True, kw_only=True):
    """A batch that was accepted."""

    batch_id: str | None
    """The ID of the batch. It is null when all transactions were accepted before, and not in one batch."""
    status: BulkStatus
    """The status: queued, applied or inflight with skip_queue, or processing with run_async."""
    transaction_count: int
    """The number of transactions in the request."""
    accepted_before: int | UnsetType = UNSET
    """How many of them were accepted before, if some were. They are not in this batch."""
    message: str | UnsetType = UNSET
    warnings: list[Warning] | UnsetType = UNSET
    """The fields of the request that had no effect, a hundred at most."""


class SettledItem(Struct, frozen=True, kw_only=True):
    """The result for one hold of a commit or void of a batch."""

    transaction_id: str
    status: Literal["succeeded", "queued", "failed"]
    code: str | UnsetType = UNSET
    """Blnk's code: QUEUED, or the reason why it failed."""
    message: str | UnsetType = UNSET


class Settlements(Struct, frozen=True, kw_only=True):
    """The results of a commit or void of a batch."""

    succeeded: int
    """The number of holds that were settled, or wait in line for it."""
    failed: int
    results: list[SettledItem]
    """The results in the order of the request."""
    warnings: list[Warning] | UnsetType = UNSET


def batch_of(batch_id: str, batch: family_store.Batch, now: datetime) -> Batch:
    """Make the answer of a batch: its transactions by status, progress and rate."""
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
"""The order of statuses for that of a batch: first those that are to come, and then those that moved money."""


def warnings_of_batch(asked: Sequence[TransactionRequest | None]) -> list[Warning] | UnsetType:
    """List the warnings of a batch, at most a hundred."""
    every = (
        Warning(f"transactions[{index}].{field}", message)
        for index, each in enumerate(asked)
        if each is not None
        for field, message in warnings_of(each)
    )
    return list(islice(every, MAX_LISTED)) or UNSET
