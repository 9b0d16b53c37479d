"""Names what the audit log records, and the event that a use case hands to ``record``."""

from enum import StrEnum
from typing import Any

from msgspec import Raw, Struct, json

from core.journal.facts import Fact


class Action(StrEnum):
    """Every kind of write that the audit log records. A name is the thing, and what was done to it."""

    LEDGER_CREATED = "ledger.created"
    LEDGER_RENAMED = "ledger.renamed"
    BALANCE_CREATED = "balance.created"
    """By a request for it, or by a transaction that names an @Name for the first time."""
    BALANCE_LIMITED = "balance.limited"
    BALANCE_FROZEN = "balance.frozen"
    BALANCE_RELEASED = "balance.released"
    CURRENCY_FIXED = "currency.fixed"
    """The first use of a currency, or an operator, has fixed its precision."""
    METADATA_CHANGED = "metadata.changed"
    TRANSACTION_CANCELLED = "transaction.cancelled"
    """A scheduled transaction. It never gets into the log."""
    COMMIT_CANCELLED = "commit.cancelled"
    """The date on which a hold would have been committed. Its key was revoked, and what was to come of it stopped."""
    JOB_CREATED = "funding_job.created"
    JOB_PAUSED = "funding_job.paused"
    JOB_RESUMED = "funding_job.resumed"
    JOB_CANCELLED = "funding_job.cancelled"
    JOB_RUN = "funding_job.run"
    """A run that somebody asked for. Runs of the schedule are in the log, as their transactions are."""
    JOB_RETRIED = "funding_job.retried"
    RUN_CANCELLED = "funding_run.cancelled"
    """A run of another key's job, whose own key was revoked."""
    JOB_APPROVED = "funding_job.approved"
    JOB_REFUSED = "funding_job.refused"
    QUEUES_RECOVERED = "queues.recovered"
    QUEUES_RESIZED = "queues.resized"
    IDENTITY_RENEWED = "identity.renewed"
    IDENTITY_CREATED = "identity.created"
    """A person or an organisation. The details of these name fields, and have none of their values."""
    IDENTITY_UPDATED = "identity.updated"
    IDENTITY_DELETED = "identity.deleted"
    IDENTITY_ERASED = "identity.erased"
    IDENTITY_TOKENIZED = "identity.tokenized"
    IDENTITY_READ_IN_CLEAR = "identity.read_in_clear"
    """Somebody has read tokenized fields."""
    BALANCE_LINKED = "balance.linked"
    """A balance was given to an identity, or taken from one."""
    MONITOR_CREATED = "monitor.created"
    MONITOR_UPDATED = "monitor.updated"
    MONITOR_DELETED = "monitor.deleted"
    KEY_CREATED = "key.created"
    KEY_ROTATED = "key.rotated"
    KEY_REVOKED = "key.revoked"
    WEBHOOK_CREATED = "webhook.created"
    WEBHOOK_UPDATED = "webhook.updated"
    WEBHOOK_DELETED = "webhook.deleted"
    WEBHOOK_ROTATED = "webhook.rotated"
    WEBHOOK_REPLAYED = "webhook.replayed"
    HOOK_CREATED = "hook.created"
    HOOK_UPDATED = "hook.updated"
    HOOK_DELETED = "hook.deleted"
    REQUESTS_DENIED = "requests.denied"
    """Requests that were answered 401 or 403, counted by what they asked for."""
    VERIFIED = "ledger.verified"
    """A verification that somebody asked for. The table ``verifications`` has those of the ticks."""
    MIGRATED = "schema.migrated"
    AUDIT_CUT = "audit.cut"
    """Old rows of the audit log were removed. The details say where the chain begins since."""


class Event(Struct, frozen=True, kw_only=True):
    """One thing that was done. ``before`` and ``after`` are JSON texts as the database has them, or None."""

    action: Action
    subject: str
    """The ID of what was changed, or its name."""
    before: str | None = None
    after: str | None = None
    more: dict[str, Any] = {}
    """Further details."""
    fact: Fact | None = None
    """The event of the feed that tells it too."""

    def details(self) -> str:
        """Write the JSON text of the details: ``before`` and ``after`` if there are such, and what else there is."""
        known = {name: Raw(text.encode()) for name, text in (("before", self.before), ("after", self.after)) if text}
        return json.encode({**known, **self.more}).decode()


def text_of(**fields: Any) -> str:
    """Write the JSON text of some fields, for ``before`` or ``after``."""
    return json.encode(fields).decode()


def object_of(text: str | None) -> Raw | None:
    """Put JSON text into an object, as it is."""
    return None if text is None else Raw(text.encode())
