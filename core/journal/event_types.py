"""Names the events of the ledger. The names are Blnk's where Blnk has one."""

from enum import StrEnum


class EventType(StrEnum):
    """Every kind of event. A name is the thing, and what became of it."""

    LEDGER_CREATED = "ledger.created"
    LEDGER_UPDATED = "ledger.updated"
    BALANCE_CREATED = "balance.created"
    """By a request for it, or by a transaction that names an @Name for the first time."""
    BALANCE_UPDATED = "balance.updated"
    """It was given to an identity, or got a floor or a freeze. Its money is what transactions tell."""
    BALANCE_MONITOR = "balance.monitor"
    """A posting has made a condition of a monitor true."""
    IDENTITY_CREATED = "identity.created"
    IDENTITY_UPDATED = "identity.updated"
    IDENTITY_DELETED = "identity.deleted"
    IDENTITY_ERASED = "identity.erased"
    METADATA_CHANGED = "metadata.changed"
    TRANSACTION_QUEUED = "transaction.queued"
    """It was accepted. It comes in the order of acceptance, and only to those that ask for it by this name."""
    TRANSACTION_SCHEDULED = "transaction.scheduled"
    TRANSACTION_INFLIGHT = "transaction.inflight"
    TRANSACTION_APPLIED = "transaction.applied"
    """It has moved money: a transfer, the commit of a hold, or a refund."""
    TRANSACTION_VOID = "transaction.void"
    """It has released a hold, or it was scheduled and was cancelled before its date."""
    TRANSACTION_REJECTED = "transaction.rejected"
    BULK_TRANSACTION_APPLIED = "bulk_transaction.applied"
    """All transactions of a batch are decided."""
    BULK_TRANSACTION_INFLIGHT = "bulk_transaction.inflight"
    """The same, and they hold money."""
    BULK_TRANSACTION_FAILED = "bulk_transaction.failed"
    """The same, and none of them moves or holds money."""
    FUNDING_RUN_STARTED = "funding_run.started"
    FUNDING_RUN_COMPLETED = "funding_run.completed"
    FUNDING_RUN_REFUSED = "funding_run.refused"
    FUNDING_RUN_CANCELLED = "funding_run.cancelled"
    FUNDING_JOB_PAUSED = "funding_job.paused"
    FUNDING_JOB_RESUMED = "funding_job.resumed"
    FUNDING_JOB_CANCELLED = "funding_job.cancelled"
    VERIFICATION_FAILED = "verification.failed"


ACCEPTED = frozenset({EventType.TRANSACTION_QUEUED, EventType.TRANSACTION_SCHEDULED})
"""The types of what was accepted and not decided. A reader that asks for these alone never waits for a decision."""

DECIDED = frozenset(
    {
        EventType.TRANSACTION_APPLIED,
        EventType.TRANSACTION_INFLIGHT,
        EventType.TRANSACTION_VOID,
        EventType.TRANSACTION_REJECTED,
    }
)
"""The types that outcomes tell."""

BULK = frozenset(
    {
        EventType.BULK_TRANSACTION_APPLIED,
        EventType.BULK_TRANSACTION_INFLIGHT,
        EventType.BULK_TRANSACTION_FAILED,
    }
)
"""The types of a batch. Which of them it is becomes known when its transactions are decided."""

BATCH = "bulk_transaction"
"""The type under which a batch is written when it is accepted."""

FROM_LOG = DECIDED | {EventType.TRANSACTION_QUEUED}
"""The types that the log and the outcomes tell. They are kept as long as the ledger."""
