"""States what each role may do with each table. A test sees to it that no table and no column is forgotten.

The service connects as *app*, which adds to history and changes the named columns alone. Only the *notary* adds checkpoints, so
whoever has the rights of app cannot make history look verified. The *owner* made the tables, and may do everything: it
migrates, and does what changes the number of queues or the identity.
"""

from collections.abc import Mapping
from typing import NamedTuple

from core.base.tables.balances import IDENTITY_TEXTS
from core.base.tables.schema import metadata

VERSION = "alembic_version"
"""The table in which Alembic keeps the revision."""


class Rights(NamedTuple):
    """The rights of a role to a table beside reading it."""

    insert: bool | tuple[str, ...] = False
    """Whether it adds rows, or the columns that it gives a value. The others get their defaults."""
    update: tuple[str, ...] = ()
    """The columns that it changes. A lock of a row needs one."""
    delete: bool = False


class Right(NamedTuple):
    """One privilege. ``column`` is empty when it is for the whole table."""

    table: str
    privilege: str
    column: str = ""

    def __str__(self) -> str:
        return f"{self.privilege} of {self.table}" + (f".{self.column}" if self.column else "")


APP: Mapping[str, Rights] = {
    "queues": Rights(update=("cursor", "decided", "rate", "drained_at", "hash")),
    "currencies": Rights(insert=True),
    "ledgers": Rights(insert=("ledger_id", "name", "meta_data"), update=("name", "meta_data")),
    "identities": Rights(
        insert=True,
        update=(
            *IDENTITY_TEXTS,
            "dob",
            "meta_data",
            "tokenized",
            "data_key",
            "erased_at",
        ),
        delete=True,
    ),
    "balances": Rights(
        insert=("balance_id", "ledger", "indicator", "currency", "meta_data", "identity"),
        update=(
            "identity",
            "watched",
            "balance",
            "credit_balance",
            "debit_balance",
            "inflight_credit_balance",
            "inflight_debit_balance",
            "version",
            "last_credit_seq",
            "meta_data",
        ),
    ),
    "balance_limits": Rights(insert=("balance", "after_seq", "floor", "frozen", "reason", "actor")),
    "log": Rights(insert=True),
    "clock_falls": Rights(),
    "outcomes": Rights(insert=True),
    "holds": Rights(insert=True, update=("committed", "voided", "settled_at")),
    "refunds": Rights(insert=True, update=("refunded",)),
    "scheduled": Rights(insert=True, update=("cancelled_at", "refused_at"), delete=True),
    "due": Rights(insert=True, update=("at",), delete=True),
    "annotations": Rights(insert=True, update=("meta_data",)),
    "snapshots": Rights(insert=True),
    "spans": Rights(insert=True),
    "dated_spans": Rights(insert=True),
    "checkpoints": Rights(),
    "api_keys": Rights(insert=True, update=("last_used_at", "revoked_at")),
    "api_key_secrets": Rights(insert=True, update=("ends_at",)),
    "seals": Rights(),
    "seal_nodes": Rights(),
    "attestations": Rights(),
    "pledges": Rights(insert=True),
    "funding_jobs": Rights(insert=True, update=("status", "next_due", "runs_made", "skipped")),
    "funding_approvals": Rights(
        insert=("job", "asked_by", "owner"), update=("status", "digest", "decided_by", "decided_at", "reason")
    ),
    "funding_rows": Rights(insert=True, update=("destination", "amount"), delete=True),
    "funding_runs": Rights(
        insert=("id", "job", "occurrence", "due_at", "created_at", "retry_of", "status", "actor"),
        update=(
            "status",
            "list",
            "row_count",
            "amount",
            "last_row",
            "posted_row",
            "posted",
            "posted_amount",
            "refusal",
            "started_at",
            "progressed_at",
            "ended_at",
            "applied",
            "applied_amount",
            "rejected",
        ),
    ),
    "funding_retries": Rights(insert=True),
    "funding_postings": Rights(insert=True),
    "funding_digests": Rights(insert=True),
    "heartbeats": Rights(insert=True, update=("at", "part", "host", "clock_off_s", "state"), delete=True),
    "identity": Rights(),
    "ticks": Rights(insert=True, update=("started_at", "ended_at", "by")),
    "verifications": Rights(insert=True, delete=True),
    "watches": Rights(
        insert=True,
        update=("seq", "ahead", "credit", "debit", "inflight_credit", "inflight_debit", "version"),
        delete=True,
    ),
    "monitors": Rights(
        insert=True,
        update=(
            "balance",
            "field",
            "operator",
            "threshold",
            "hysteresis",
            "precision",
            "mode",
            "once",
            "min_interval_s",
            "fire_now",
            "active",
            "description",
            "call_back_url",
            "meta_data",
            "triggered",
            "version",
            "since",
            "fired",
            "fired_at",
        ),
        delete=True,
    ),
    "monitor_firings": Rights(insert=True),
    "audit": Rights(insert=True),
    "events": Rights(
        insert=("seq", "n", "id", "type", "data", "ledger_id", "balance_id", "actor"),
        delete=True,
    ),
    "events_kept": Rights(insert=("seq", "n"), update=("seq", "n")),
    "ended_sessions": Rights(insert=True, delete=True),
    "idempotency_keys": Rights(insert=True, update=("claim", "claimed_at", "status", "headers", "body"), delete=True),
    "webhooks": Rights(
        insert=(
            "webhook_id",
            "kind",
            "name",
            "url",
            "events",
            "description",
            "headers",
            "ordered",
            "active",
            "secret",
            "timeout_ms",
            "retries",
            "on_error",
            "funding",
            "after_seq",
            "after_n",
            "created_by",
        ),
        update=(
            "kind",
            "name",
            "url",
            "events",
            "description",
            "headers",
            "ordered",
            "active",
            "disabled_why",
            "secret",
            "old_secret",
            "old_secret_ends_at",
            "timeout_ms",
            "retries",
            "on_error",
            "funding",
            "after_seq",
            "after_n",
            "replay_seq",
            "replay_n",
            "replay_to_seq",
            "replay_to_n",
            "lease_by",
            "lease_until",
            "failing_since",
            "last_error",
            "last_attempt_at",
            "last_success_at",
        ),
        delete=True,
    ),
    "webhook_deliveries": Rights(
        insert=True,
        update=("status", "attempts", "next_at", "body", "answer", "error", "took_ms", "ended_at"),
        delete=True,
    ),
    "flows": Rights(insert=True, update=("amount", "precision", "count"), delete=True),
    "activity": Rights(insert=True, update=("accepted", "applied", "inflight", "rejected"), delete=True),
    "rollups": Rights(update=("seq", "at", "minutes_from", "hours_from")),
    VERSION: Rights(),
}

NOTARY: Mapping[str, Rights] = {
    "checkpoints": Rights(insert=("heads", "signature", "at")),
    "seals": Rights(insert=("number", "first_seq", "last_seq", "statement", "signature")),
    "seal_nodes": Rights(insert=True),
    "attestations": Rights(insert=("checkpoint", "statement", "signature")),
    "heartbeats": Rights(insert=True, update=("at", "part", "host", "clock_off_s", "state"), delete=True),
    "log": Rights(),
    "outcomes": Rights(),
    "queues": Rights(),
    "balances": Rights(),
    "ledgers": Rights(),
    "identity": Rights(),
    "audit": Rights(),
    "pledges": Rights(),
    VERSION: Rights(),
}

TABLES = (*metadata.tables, VERSION)


def expanded(grants: Mapping[str, Rights]) -> set[Right]:
    """List every privilege of a role."""
    found = set()
    for table, rights in grants.items():
        found.add(Right(table, "SELECT"))
        if rights.insert is True:
            found.add(Right(table, "INSERT"))
        elif rights.insert:
            found |= {Right(table, "INSERT", column) for column in rights.insert}
        found |= {Right(table, "UPDATE", column) for column in rights.update}
        if rights.delete:
            found.add(Right(table, "DELETE"))
    return found
