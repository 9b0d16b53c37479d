"""The tables, as the statements see them. The migrations make them; a test holds the two equal.

Foreign keys from the hot tables to ``balances`` are left out on purpose: each would take a share lock on the balance
row that every drain wants, and cost a trigger per row. ``pacioli verify`` checks those links instead.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import DOMAIN, JSONB

metadata = MetaData()

MinorUnits = DOMAIN("minor_units", Numeric(), create_type=False)
"""Whole numbers of any size: the domain refuses fractions, NaN and infinity."""

Timestamp = DateTime(timezone=True)

queues = Table(
    "queues",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("cursor", BigInteger, nullable=False, server_default="0", comment="everything up to this seq is decided"),
    Column("decided", BigInteger, nullable=False, server_default="0", comment="postings decided since it exists"),
    Column("rate", Double, nullable=False, server_default="0", comment="decided a second, decaying over ten seconds"),
    Column("drained_at", Timestamp, comment="the last drain that decided something"),
)

currencies = Table(
    "currencies",
    metadata,
    Column("currency", Text, primary_key=True),
    Column("precision", BigInteger, nullable=False),
    CheckConstraint("precision > 0", name="currencies_precision_positive"),
)

ledgers = Table(
    "ledgers",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("ledger_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("meta_data", JSONB),
    Column("created_at", Timestamp, nullable=False, server_default=func.clock_timestamp()),
    UniqueConstraint("ledger_id", name="ledgers_ledger_id_key"),
)

BALANCE_INDICATOR_KEY = "balances_indicator_currency_key"

balances = Table(
    "balances",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("balance_id", Uuid, nullable=False),
    Column("ledger", BigInteger, ForeignKey("ledgers.id", name="balances_ledger_fkey"), nullable=False),
    Column("indicator", Text, comment="the @Name of an internal balance"),
    Column("currency", Text, nullable=False),
    Column("balance", MinorUnits, nullable=False, server_default="0"),
    Column("credit_balance", MinorUnits, nullable=False, server_default="0"),
    Column("debit_balance", MinorUnits, nullable=False, server_default="0"),
    Column("inflight_credit_balance", MinorUnits, nullable=False, server_default="0"),
    Column("inflight_debit_balance", MinorUnits, nullable=False, server_default="0"),
    Column("version", BigInteger, nullable=False, server_default="1"),
    Column("last_credit_seq", BigInteger, nullable=False, server_default="0", comment="highest seq that credited it"),
    Column("meta_data", JSONB),
    Column("created_at", Timestamp, nullable=False, server_default=func.clock_timestamp()),
    UniqueConstraint("balance_id", name="balances_balance_id_key"),
    UniqueConstraint("indicator", "currency", name=BALANCE_INDICATOR_KEY),
    CheckConstraint("balance = credit_balance - debit_balance", name="balances_adds_up"),
    CheckConstraint(
        "credit_balance >= 0 AND debit_balance >= 0 AND inflight_credit_balance >= 0 AND inflight_debit_balance >= 0",
        name="balances_sums_not_negative",
    ),
    postgresql_with={"fillfactor": "70"},
)
Index("balances_ledger_idx", balances.c.ledger)

log = Table(
    "log",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False, comment="place in the order of acceptance"),
    Column("id", Uuid, nullable=False),
    Column("reference", Text, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("queue", SmallInteger, nullable=False),
    Column("source", BigInteger, nullable=False),
    Column("destination", BigInteger, nullable=False),
    Column("amount", MinorUnits, nullable=False, comment="0 in a commit or void: all that is left"),
    Column("currency", Text, nullable=False),
    Column("precision", BigInteger, nullable=False),
    Column("description", Text, nullable=False),
    Column("allow_overdraft", Boolean, nullable=False),
    Column("overdraft_limit", MinorUnits),
    Column("hold_seq", BigInteger, comment="the hold that a commit or void settles"),
    Column("group_first", BigInteger, comment="first seq of the atomic group"),
    Column("group_last", BigInteger),
    Column("parent", Text, comment="id of the transaction or batch that this belongs to"),
    Column("effective_date", Timestamp),
    Column("meta_data", JSONB),
    Column("accepted_at", Timestamp, nullable=False),
    UniqueConstraint("id", name="log_id_key"),
    UniqueConstraint("reference", name="log_reference_key"),
    CheckConstraint("source <> destination", name="log_two_balances"),
    CheckConstraint(
        "CASE WHEN kind IN (1, 2) THEN amount > 0 AND hold_seq IS NULL ELSE amount >= 0 AND hold_seq IS NOT NULL END",
        name="log_amount_fits_kind",
    ),
    CheckConstraint("overdraft_limit >= 0", name="log_overdraft_limit_not_negative"),
    CheckConstraint("seq BETWEEN group_first AND group_last", name="log_inside_its_group"),
)
Index("log_queue_seq_idx", log.c.queue, log.c.seq)
Index("log_destination_seq_idx", log.c.destination, log.c.seq)
Index("log_hold_seq_idx", log.c.hold_seq, postgresql_where=text("hold_seq IS NOT NULL"))

outcomes = Table(
    "outcomes",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("status", SmallInteger, nullable=False),
    Column("amount", MinorUnits, nullable=False, comment="moved, held or released; 0 when rejected"),
    Column("source", BigInteger, comment="null when nothing changed"),
    Column("source_version", BigInteger, comment="of the balance after this posting"),
    Column("source_balance", MinorUnits, comment="after this posting"),
    Column("destination", BigInteger),
    Column("destination_version", BigInteger),
    Column("destination_balance", MinorUnits),
    Column("reason", SmallInteger, comment="why it was rejected"),
    Column("rejection", JSONB, comment="the sum that did not work out"),
    Column("decided_at", Timestamp, nullable=False),
    CheckConstraint("(status = 4) = (reason IS NOT NULL)", name="outcomes_rejected_with_reason"),
    CheckConstraint("(status = 4) = (source IS NULL)", name="outcomes_rejected_changes_nothing"),
)
Index(
    "outcomes_source_version_idx",
    outcomes.c.source,
    outcomes.c.source_version,
    unique=True,
    postgresql_where=text("source IS NOT NULL"),
)
Index(
    "outcomes_destination_version_idx",
    outcomes.c.destination,
    outcomes.c.destination_version,
    unique=True,
    postgresql_where=text("destination IS NOT NULL"),
)

holds = Table(
    "holds",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("amount", MinorUnits, nullable=False),
    Column("committed", MinorUnits, nullable=False, server_default="0"),
    Column("voided", MinorUnits, nullable=False, server_default="0"),
    Column("settled_at", Timestamp, comment="when nothing was left"),
    CheckConstraint("committed >= 0 AND voided >= 0 AND committed + voided <= amount", name="holds_not_exceeded"),
    CheckConstraint("(committed + voided = amount) = (settled_at IS NOT NULL)", name="holds_settled_when_nothing_left"),
    postgresql_with={"fillfactor": "80"},
)

heartbeats = Table(
    "heartbeats",
    metadata,
    Column("worker", Text, primary_key=True),
    Column("at", Timestamp, nullable=False),
)
