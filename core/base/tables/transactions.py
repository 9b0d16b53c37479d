"""Defines the tables of transactions: the log, what was decided, and what is not yet in the log.

The hot tables have no foreign keys to ``balances``. Each would take a share lock on the balance row that every drain
wants, and would cost a trigger for each row. ``pacioli verify`` checks those links instead.
"""

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    event,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import JSON, JSONB

from core.base.tables.types import MinorUnits, Timestamp, metadata

queues = Table(
    "queues",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("cursor", BigInteger, nullable=False, server_default="0", comment="everything up to this seq is decided"),
    Column("decided", BigInteger, nullable=False, server_default="0", comment="postings decided since it exists"),
    Column("rate", Double, nullable=False, server_default="0", comment="decided a second, decaying over ten seconds"),
    Column("drained_at", Timestamp, comment="the last drain that decided something"),
    Column(
        "hash",
        LargeBinary,
        nullable=False,
        server_default="\\x" + "00" * 32,
        comment="of its last outcome: the chain's head",
    ),
    Column("chained_after", BigInteger, nullable=False, server_default="0", comment="outcomes up to it have no hash"),
)

log = Table(
    "log",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False, comment="position in the order of acceptance"),
    Column("id", Uuid, nullable=False),
    Column("reference", Text, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("queue", SmallInteger, comment="null for a split: its legs are in queues"),
    Column("source", BigInteger, comment="null where a split has several"),
    Column("destination", BigInteger),
    Column("amount", MinorUnits, nullable=False, comment="0 in a commit, void or refund: all that is left"),
    Column("currency", Text, nullable=False),
    Column("precision", BigInteger, nullable=False),
    Column("description", Text, nullable=False),
    Column("allow_overdraft", Boolean, nullable=False),
    Column("overdraft_limit", MinorUnits),
    Column("hold_seq", BigInteger, comment="the hold that a commit or void settles"),
    Column("refund_of", BigInteger, comment="what a refund gives back"),
    Column("group_first", BigInteger, comment="first seq of the atomic group"),
    Column("group_last", BigInteger),
    Column("parent", Text, comment="id of the transaction or batch that this belongs to"),
    Column("effective_date", Timestamp),
    Column("meta_data", JSON, comment="the text as it came, which the digest covers"),
    Column("terms", JSON, comment="distributions of a split, and dates"),
    Column("digest", LargeBinary, comment="hash over all other columns, and the digest before it"),
    Column("accepted_at", Timestamp, nullable=False),
    Column("request_id", Text, comment="the request that brought it, as the log of the service names it"),
    Column("actor", Text, comment="the key that asked for it"),
    Column("part", Text, comment="the part of the service that accepted it"),
    Column(
        "digest_version", SmallInteger, nullable=False, server_default="1", comment="by which the digest is computed"
    ),
    UniqueConstraint("id", name="log_id_key"),
    UniqueConstraint("reference", name="log_reference_key"),
    CheckConstraint(
        "kind = 5 OR (source IS NOT NULL AND destination IS NOT NULL AND source <> destination)",
        name="log_two_balances",
    ),
    CheckConstraint("(kind = 5) = (queue IS NULL)", name="log_split_is_in_no_queue"),
    CheckConstraint(
        "(hold_seq IS NOT NULL) = (kind IN (3, 4)) AND (refund_of IS NOT NULL) = (kind = 6) "
        "AND CASE WHEN kind IN (1, 2, 5) THEN amount > 0 ELSE amount >= 0 END",
        name="log_amount_fits_kind",
    ),
    CheckConstraint("overdraft_limit >= 0", name="log_overdraft_limit_not_negative"),
    CheckConstraint("seq BETWEEN group_first AND group_last", name="log_inside_its_group"),
    # Triggers check the texts of the other tables, because their older rows change. Migration 0007 says more.
    CheckConstraint(
        "octet_length(description) <= 4096 AND octet_length(meta_data::text) <= 65536 OR kind IN (3, 4, 6) "
        "OR coalesce(left(parent, 4) IN ('run_', 'txn_'), false) "
        "OR coalesce(terms ->> 'scheduled_at' IS NOT NULL, false)",
        name="log_texts_fit",
    ),
)
# Pages of these two are filled, because their keys only grow at the end, or at the end of a queue.
event.listen(log, "after_create", DDL("ALTER INDEX log_pkey SET (fillfactor = 100)"))  # type: ignore[no-untyped-call]
Index("log_queue_seq_idx", log.c.queue, log.c.seq, postgresql_with={"fillfactor": "100"})
Index("log_destination_seq_idx", log.c.destination, log.c.seq)
Index("log_hold_seq_idx", log.c.hold_seq, postgresql_where=text("hold_seq IS NOT NULL"))
Index("log_refund_of_idx", log.c.refund_of, postgresql_where=text("refund_of IS NOT NULL"))
# Of the members of a batch, which are neighbours, 1,024 have equal keys here, and the index has each such key once.
Index(
    "log_parent_block_idx",
    log.c.parent,
    log.c.seq.bitwise_rshift(literal_column("10")),
    postgresql_where=text("parent IS NOT NULL"),
)
Index("log_source_seq_idx", log.c.source, log.c.seq)
Index("log_split_idx", log.c.seq, postgresql_where=text("kind = 5"))
Index("log_effective_date_idx", log.c.effective_date, postgresql_where=text("effective_date IS NOT NULL"))
Index("log_dated_idx", log.c.seq, postgresql_where=text("effective_date IS NOT NULL"))
for _side in ("source", "destination"):
    Index(
        f"log_{_side}_effective_idx",
        log.c[_side],
        log.c.effective_date,
        postgresql_where=text("effective_date IS NOT NULL"),
    )

clock_falls = Table(
    "clock_falls",
    metadata,
    Column(
        "seq",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="was accepted before the row before it, by its time",
    ),
)

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
    Column("hash", LargeBinary, comment="over all other columns, and the hash before it in its queue"),
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

Index("outcomes_status_seq_idx", outcomes.c.status, outcomes.c.seq, postgresql_where=text("status <> 1"))

holds = Table(
    "holds",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("amount", MinorUnits, nullable=False),
    Column("committed", MinorUnits, nullable=False, server_default="0"),
    Column("voided", MinorUnits, nullable=False, server_default="0"),
    Column("settled_at", Timestamp, comment="when nothing was left"),
    Column("source", BigInteger, comment="null where it was settled before it had one"),
    Column("destination", BigInteger),
    CheckConstraint("committed >= 0 AND voided >= 0 AND committed + voided <= amount", name="holds_not_exceeded"),
    CheckConstraint("(committed + voided = amount) = (settled_at IS NOT NULL)", name="holds_settled_when_nothing_left"),
    CheckConstraint(
        "settled_at IS NOT NULL OR (source IS NOT NULL AND destination IS NOT NULL)", name="holds_between_two_balances"
    ),
    postgresql_with={"fillfactor": "80"},
)

Index("holds_inflight_idx", holds.c.seq, postgresql_where=text("settled_at IS NULL"))
for _side in ("source", "destination"):
    Index(f"holds_{_side}_idx", holds.c[_side], holds.c.seq, postgresql_where=text("settled_at IS NULL"))
Index("holds_voided_idx", holds.c.seq, postgresql_where=text("voided = amount"))

refunds = Table(
    "refunds",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False, comment="of what was given back"),
    Column("amount", MinorUnits, nullable=False, comment="that it moved"),
    Column("refunded", MinorUnits, nullable=False),
    CheckConstraint("refunded BETWEEN 0 AND amount", name="refunds_not_exceeded"),
)

scheduled = Table(
    "scheduled",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("reference", Text, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("source", BigInteger),
    Column("destination", BigInteger),
    Column("amount", MinorUnits, nullable=False),
    Column("currency", Text, nullable=False),
    Column("precision", BigInteger, nullable=False),
    Column("description", Text, nullable=False),
    Column("allow_overdraft", Boolean, nullable=False),
    Column("overdraft_limit", MinorUnits),
    Column("parent", Text),
    Column("effective_date", Timestamp),
    Column("meta_data", JSON),
    Column("terms", JSON, nullable=False),
    Column("legs", JSON, nullable=False, comment="of a split: rows of id, source, destination, amount"),
    Column("due_at", Timestamp, nullable=False),
    Column("scheduled_at", Timestamp, nullable=False),
    Column("cancelled_at", Timestamp),
    Column("actor", Text, comment="the key that asked for it"),
    Column("refused_at", Timestamp, comment="when it was due, and was found altered"),
    UniqueConstraint("reference", name="scheduled_reference_key"),
    CheckConstraint(
        "octet_length(description) <= 4096 AND octet_length(meta_data::text) <= 65536 OR cancelled_at IS NOT NULL",
        name="scheduled_texts_fit",
    ),
)
Index("scheduled_due_idx", scheduled.c.due_at, postgresql_where=text("cancelled_at IS NULL"))
Index("scheduled_actor_idx", scheduled.c.actor, postgresql_where=text("actor IS NOT NULL AND cancelled_at IS NULL"))
Index("scheduled_parent_idx", scheduled.c.parent, postgresql_where=text("parent IS NOT NULL"))

due = Table(
    "due",
    metadata,
    Column("transaction", Uuid, nullable=False, comment="a hold, or a split of holds"),
    Column("action", SmallInteger, nullable=False, comment="the kind of posting to append"),
    Column("at", Timestamp, nullable=False),
    PrimaryKeyConstraint("transaction", "action", name="due_pkey"),
    CheckConstraint("action IN (3, 4)", name="due_settles"),
)
Index("due_at_idx", due.c.at)

annotations = Table(
    "annotations",
    metadata,
    Column("id", Uuid, primary_key=True, comment="of a transaction or batch"),
    Column("meta_data", JSONB, nullable=False, comment="added later, so outside the digest"),
)
