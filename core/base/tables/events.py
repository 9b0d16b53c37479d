"""Defines the tables of what tells of changes: events, webhooks and monitors."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from core.base.tables.types import MinorUnits, Timestamp, metadata

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("webhook_id", Text, nullable=False),
    Column("kind", Text, nullable=False, comment="webhook, default, pre, post, veto or callback"),
    Column("name", Text, nullable=False, server_default="", comment="of a hook"),
    Column("url", Text, nullable=False, comment="empty for the endpoint default, whose URL is a setting"),
    Column("events", ARRAY(Text), nullable=False, comment="the types, with wildcards"),
    Column("description", Text, nullable=False, server_default=""),
    Column("headers", LargeBinary, comment="JSON of the headers that are added, sealed"),
    Column("ordered", Boolean, nullable=False, server_default="false"),
    Column("active", Boolean, nullable=False, server_default="true"),
    Column("disabled_why", Text, comment="why the service has made it inactive"),
    Column("secret", LargeBinary, comment="sealed under a key that the database does not hold"),
    Column("old_secret", LargeBinary),
    Column("old_secret_ends_at", Timestamp),
    Column("timeout_ms", Integer, nullable=False, server_default="15000"),
    Column("retries", Integer, nullable=False, server_default="7"),
    Column("on_error", Text, comment="of a veto: accept or reject"),
    Column("funding", Boolean, nullable=False, server_default="false", comment="unused: no veto is asked for funding"),
    Column(
        "after_seq",
        BigInteger,
        nullable=False,
        comment="the cursor: everything up to this position is sent, or a delivery",
    ),
    Column("after_n", BigInteger, nullable=False),
    Column("replay_seq", BigInteger, comment="the cursor of a replay"),
    Column("replay_n", BigInteger),
    Column("replay_to_seq", BigInteger, comment="the last position of the replay"),
    Column("replay_to_n", BigInteger),
    Column("lease_by", Text, comment="the process that delivers"),
    Column("lease_until", Timestamp),
    Column("failing_since", Timestamp, comment="no attempt has succeeded since"),
    Column("last_error", Text),
    Column("last_attempt_at", Timestamp),
    Column("last_success_at", Timestamp),
    Column("created_by", Text, nullable=False, comment="the key that made it"),
    Column("created_at", Timestamp, nullable=False, server_default=func.clock_timestamp()),
    UniqueConstraint("webhook_id", name="webhooks_webhook_id_key"),
    CheckConstraint("kind IN ('webhook', 'default', 'pre', 'post', 'veto', 'callback')", name="webhooks_kind"),
)
Index("webhooks_callback_url_idx", webhooks.c.url, unique=True, postgresql_where=text("kind = 'callback'"))

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("webhook", BigInteger, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("seq", BigInteger, nullable=False, comment="the event's position"),
    Column("n", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Timestamp, comment="when the next attempt is due; null when there is none"),
    Column("body", Text, comment="as it is sent; null once it is delivered"),
    Column("answer", Integer, comment="the status of the last answer"),
    Column("error", Text),
    Column("took_ms", Integer),
    Column("created_at", Timestamp, nullable=False, server_default=func.clock_timestamp()),
    Column("ended_at", Timestamp),
    ForeignKeyConstraint(["webhook"], ["webhooks.id"], name="webhook_deliveries_webhook_fkey", ondelete="CASCADE"),
    CheckConstraint("status IN ('PENDING', 'DELIVERED', 'FAILED')", name="webhook_deliveries_status"),
)
Index(
    "webhook_deliveries_status_idx", webhook_deliveries.c.webhook, webhook_deliveries.c.status, webhook_deliveries.c.id
)
Index(
    "webhook_deliveries_due_idx",
    webhook_deliveries.c.webhook,
    webhook_deliveries.c.next_at,
    postgresql_where=text("status = 'PENDING'"),
)

events = Table(
    "events",
    metadata,
    Column("seq", BigInteger, nullable=False, comment="the end of the log when it was written, or its posting"),
    Column("n", Integer, nullable=False, comment="position among the events of this seq"),
    Column("id", Uuid, nullable=False),
    Column("type", Text, nullable=False),
    Column("data", Text, nullable=False, comment="JSON text, as it goes out"),
    Column("ledger_id", Text, comment="whose keys may see it"),
    Column("balance_id", Text, comment="likewise"),
    Column("actor", Text, comment="the key that asked for it"),
    Column("at", Timestamp, nullable=False, server_default=func.clock_timestamp()),
    PrimaryKeyConstraint("seq", "n", name="events_pkey"),
)

events_kept = Table(
    "events_kept",
    metadata,
    Column("one", Boolean, primary_key=True, server_default="true"),
    Column("seq", BigInteger, nullable=False, comment="events up to this position are gone"),
    Column("n", Integer, nullable=False),
    CheckConstraint("one", name="events_kept_is_one"),
)

watches = Table(
    "watches",
    metadata,
    Column("balance", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False, comment="its postings up to this are decided, and in the sums"),
    Column("ahead", BigInteger, nullable=False, comment="the last of its postings that is decided"),
    Column("credit", MinorUnits, nullable=False),
    Column("debit", MinorUnits, nullable=False),
    Column("inflight_credit", MinorUnits, nullable=False),
    Column("inflight_debit", MinorUnits, nullable=False),
    Column("version", BigInteger, nullable=False),
    CheckConstraint("ahead >= seq", name="watches_ahead_is_not_behind"),
    postgresql_with={"fillfactor": "70"},
)

monitors = Table(
    "monitors",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("monitor_id", Uuid, nullable=False),
    Column("balance", BigInteger, nullable=False),
    Column("field", Text, nullable=False),
    Column("operator", Text, nullable=False),
    Column("threshold", MinorUnits, nullable=False),
    Column("hysteresis", MinorUnits, nullable=False),
    Column("precision", BigInteger, nullable=False),
    Column("mode", Text, nullable=False),
    Column("once", Boolean, nullable=False),
    Column("min_interval_s", Double, nullable=False),
    Column("fire_now", Boolean, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("description", Text, nullable=False),
    Column("call_back_url", Text, nullable=False),
    Column("meta_data", JSONB),
    Column("triggered", Boolean, nullable=False, comment="whether the condition was true, and has not ended since"),
    Column("version", BigInteger, nullable=False, comment="of the balance when that changed"),
    Column("since", Timestamp, nullable=False),
    Column("fired", BigInteger, nullable=False, server_default="0"),
    Column("fired_at", Timestamp),
    Column("actor", Text, nullable=False, comment="the key that made it"),
    Column("created_at", Timestamp, nullable=False, server_default=func.clock_timestamp()),
    UniqueConstraint("monitor_id", name="monitors_monitor_id_key"),
    CheckConstraint("mode IN ('edge', 'level')", name="monitors_mode"),
    CheckConstraint("hysteresis >= 0 AND precision > 0 AND min_interval_s >= 0", name="monitors_bounds"),
    postgresql_with={"fillfactor": "80"},
)
Index("monitors_balance_idx", monitors.c.balance, monitors.c.id)
Index("monitors_created_at_idx", monitors.c.created_at, monitors.c.id)
Index("monitors_call_back_url_idx", monitors.c.call_back_url, postgresql_where=text("call_back_url <> ''"))

monitor_firings = Table(
    "monitor_firings",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column(
        "monitor",
        BigInteger,
        ForeignKey("monitors.id", name="monitor_firings_monitor_fkey", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("event", Uuid, nullable=False, comment="its event in the feed"),
    Column("seq", BigInteger, comment="the posting that crossed; null when the condition was true already"),
    Column("before", MinorUnits, comment="the value of the field before the posting"),
    Column("after", MinorUnits, nullable=False),
    Column("version", BigInteger, nullable=False, comment="of the balance"),
    Column("at", Timestamp, nullable=False),
    UniqueConstraint("event", name="monitor_firings_event_key"),
    UniqueConstraint("monitor", "seq", name="monitor_firings_once_a_posting"),
)
