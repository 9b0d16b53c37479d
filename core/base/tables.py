"""Defines the tables as the statements see them. The migrations make them, and a test compares the two.

The hot tables have no foreign keys to ``balances``. Each would take a share lock on the balance row that every drain
wants, and would cost a trigger for each row. ``pacioli verify`` checks those links instead.
"""

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    event,
    func,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, DOMAIN, JSON, JSONB

metadata = MetaData()

MinorUnits = DOMAIN("minor_units", Numeric(), create_type=False)
"""The type of whole numbers of any size. The domain refuses fractions, NaN and infinity."""

Timestamp = DateTime(timezone=True)

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
Index("ledgers_created_at_idx", ledgers.c.created_at, ledgers.c.id)

BALANCE_INDICATOR_KEY = "balances_indicator_currency_key"

IDENTITY_TEXTS = (
    "identity_type",
    "organization_name",
    "category",
    "first_name",
    "last_name",
    "other_names",
    "gender",
    "email_address",
    "phone_number",
    "nationality",
    "street",
    "country",
    "state",
    "post_code",
    "city",
)
"""The texts about a person, in the order of Blnk's object. A blank text stands for none."""

identities = Table(
    "identities",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("identity_id", Uuid, nullable=False),
    *(Column(name, Text, nullable=False, server_default="") for name in IDENTITY_TEXTS),
    Column("dob", Timestamp),
    Column("meta_data", JSONB),
    Column("tokenized", ARRAY(Text), nullable=False, server_default="{}", comment="the columns that have a token"),
    Column("data_key", LargeBinary, comment="the key of the tokens, sealed; it is thrown away by an erasure"),
    Column("erased_at", Timestamp),
    Column("created_at", Timestamp, nullable=False, server_default=func.clock_timestamp()),
    UniqueConstraint("identity_id", name="identities_identity_id_key"),
)
Index("identities_created_at_idx", identities.c.created_at, identities.c.id)

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
    Column("identity", BigInteger, ForeignKey("identities.id", name="balances_identity_fkey"), comment="its owner"),
    Column("watched", Boolean, nullable=False, server_default=text("false"), comment="a drain tells of its postings"),
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
Index("balances_identity_idx", balances.c.identity, postgresql_where=text("identity IS NOT NULL"))
Index("balances_created_at_idx", balances.c.created_at, balances.c.id)

balance_limits = Table(
    "balance_limits",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("balance", BigInteger, nullable=False),
    Column("after_seq", BigInteger, nullable=False, comment="it counts for what is accepted after this"),
    Column("floor", MinorUnits, comment="the least that the available balance may become"),
    Column("frozen", SmallInteger, nullable=False, comment="0 nothing, 1 debits, 2 all"),
    Column("reason", Text),
    Column("actor", Text, nullable=False, comment="the key that set it"),
    Column("set_at", Timestamp, nullable=False, server_default=func.clock_timestamp()),
    Column("pledged", Boolean, nullable=False, server_default="true", comment="false for those before pledges"),
    CheckConstraint("frozen BETWEEN 0 AND 2", name="balance_limits_frozen_known"),
    CheckConstraint("frozen = 0 OR reason IS NOT NULL", name="balance_limits_frozen_with_reason"),
)
Index("balance_limits_balance_idx", balance_limits.c.balance, balance_limits.c.id)

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
    CheckConstraint("committed >= 0 AND voided >= 0 AND committed + voided <= amount", name="holds_not_exceeded"),
    CheckConstraint("(committed + voided = amount) = (settled_at IS NOT NULL)", name="holds_settled_when_nothing_left"),
    postgresql_with={"fillfactor": "80"},
)

Index("holds_inflight_idx", holds.c.seq, postgresql_where=text("settled_at IS NULL"))
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

snapshots = Table(
    "snapshots",
    metadata,
    Column("balance", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("credit", MinorUnits, nullable=False, comment="of entries up to this version without an effective date"),
    Column("debit", MinorUnits, nullable=False),
    Column("taken_at", Timestamp, nullable=False),
    PrimaryKeyConstraint("balance", "version", name="snapshots_pkey"),
)

spans = Table(
    "spans",
    metadata,
    Column("balance", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False, comment="version of the span"),
    Column("part", Integer, nullable=False, comment="0 for entries without an effective date"),
    Column("first_at", Timestamp, nullable=False, comment="of when its entries count"),
    Column("last_at", Timestamp, nullable=False),
    Column("first_decided_at", Timestamp, nullable=False, comment="of the whole span"),
    Column("last_decided_at", Timestamp, nullable=False),
    Column("credit", MinorUnits, nullable=False),
    Column("debit", MinorUnits, nullable=False),
    Column("entries", Integer, nullable=False),
    PrimaryKeyConstraint("balance", "last", "part", name="spans_pkey"),
)

dated_spans = Table(
    "dated_spans",
    metadata,
    Column("balance", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False, comment="version of the run"),
    Column("part", Integer, nullable=False, comment="0 is empty, the others have entries with an effective date"),
    Column("first_at", Timestamp, nullable=False, comment="the first of their dates"),
    Column("last_at", Timestamp, nullable=False),
    Column("credit", MinorUnits, nullable=False),
    Column("debit", MinorUnits, nullable=False),
    Column("entries", Integer, nullable=False),
    PrimaryKeyConstraint("balance", "last", "part", name="dated_spans_pkey"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("heads", JSON, nullable=False, comment="how far the log and the chains were, and their hashes"),
    Column("signature", Text, nullable=False),
    Column("at", Timestamp, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("reach", JSON, comment="null reaches everything"),
    Column("created_by", Text, nullable=False, comment="the key that made it, or master"),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False),
    Column("last_used_at", Timestamp, comment="some seconds late"),
    Column("revoked_at", Timestamp),
    CheckConstraint("expires_at > created_at", name="api_keys_expires_later"),
)
Index("api_keys_owner_idx", api_keys.c.owner, api_keys.c.id)
Index("api_keys_created_by_idx", api_keys.c.created_by)

api_key_secrets = Table(
    "api_key_secrets",
    metadata,
    Column("hash", LargeBinary, primary_key=True, comment="keyed by the pepper, which is not in the database"),
    Column("key", Uuid, ForeignKey("api_keys.id", name="api_key_secrets_key_fkey"), nullable=False),
    Column("prefix", Text, nullable=False, comment="its beginning, which its owner sees"),
    Column("made_at", Timestamp, nullable=False),
    Column("ends_at", Timestamp, comment="of one that was rotated; null is the newest"),
)
Index("api_key_secrets_key_idx", api_key_secrets.c.key)
Index(
    "api_key_secrets_newest_idx",
    api_key_secrets.c.key,
    unique=True,
    postgresql_where=text("ends_at IS NULL"),
)

pledges = Table(
    "pledges",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("id", Uuid, nullable=False, comment="of what was accepted for later"),
    Column("of", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False, comment="over all that was accepted"),
    Column("hash", LargeBinary, nullable=False, comment="over the columns, and the hash before it"),
    UniqueConstraint("id", name="pledges_id_key"),
)

seals = Table(
    "seals",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("first_seq", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("statement", Text, nullable=False, comment="JSON text, exactly as it was signed"),
    Column("signature", Text, nullable=False),
    Column("made_at", Timestamp, nullable=False, server_default=text("clock_timestamp()")),
)
Index("seals_last_seq_idx", seals.c.last_seq, seals.c.number)
Index("seals_hand_over_idx", seals.c.number, postgresql_where=text("""statement LIKE '%"next_key":"%'"""))

seal_nodes = Table(
    "seal_nodes",
    metadata,
    Column("seal", BigInteger, primary_key=True, autoincrement=False),
    Column(
        "rows", LargeBinary, nullable=False, comment="a level of the tree over the rows: hashes, one after the other"
    ),
    Column("outcomes", LargeBinary, nullable=False, comment="the same of the tree over the outcomes"),
    Column("starts", Text, nullable=False, comment="JSON of queue and seq of the first outcome under each hash"),
)

attestations = Table(
    "attestations",
    metadata,
    Column("checkpoint", BigInteger, primary_key=True, autoincrement=False),
    Column("statement", Text, nullable=False, comment="JSON text, exactly as it was signed"),
    Column("signature", Text, nullable=False),
    Column("made_at", Timestamp, nullable=False, server_default=text("clock_timestamp()")),
)

funding_jobs = Table(
    "funding_jobs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("reference", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("source", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("precision", BigInteger, nullable=False),
    Column("terms", JSON, nullable=False),
    Column("digest", LargeBinary, nullable=False, comment="of all that was asked, to tell a repetition from a mistake"),
    Column("row_count", BigInteger, comment="of its list; null where a rule says whom to fund"),
    Column("amount", MinorUnits, comment="of its list"),
    Column("status", Text, nullable=False),
    Column("next_due", Timestamp, comment="the first occurrence that is not dealt with"),
    Column("runs_made", BigInteger, nullable=False, server_default="0", comment="for its schedule"),
    Column("skipped", BigInteger, nullable=False, server_default="0", comment="occurrences that came and were not run"),
    Column("created_at", Timestamp, nullable=False),
    Column("content", LargeBinary, comment="of the pool, the money and the rows, to tell what was sent before"),
    Column(
        "repetition", BigInteger, nullable=False, server_default="0", comment="among the jobs of its content, from 0"
    ),
    Column("actor", Text, comment="the key that asked for it"),
    UniqueConstraint("reference", name="funding_jobs_reference_key"),
    UniqueConstraint("content", "repetition", name="funding_jobs_content_key"),
    CheckConstraint("status IN ('ACTIVE', 'PAUSED', 'CANCELLED', 'WAITING_APPROVAL')", name="funding_jobs_status"),
    CheckConstraint("status <> 'CANCELLED' OR next_due IS NULL", name="funding_jobs_cancelled_is_never_due"),
)
Index(
    "funding_jobs_due_idx",
    funding_jobs.c.next_due,
    postgresql_where=text("status = 'ACTIVE' AND next_due IS NOT NULL"),
)
Index("funding_jobs_source_idx", funding_jobs.c.source, postgresql_where=text("status <> 'CANCELLED'"))

funding_approvals = Table(
    "funding_approvals",
    metadata,
    Column("job", Uuid, primary_key=True),
    Column("asked_by", Text, nullable=False, comment="the key that asked for the job"),
    Column("owner", Text, nullable=False, comment="of that key; another one's must approve"),
    Column("status", Text, nullable=False, server_default="WAITING"),
    Column("digest", LargeBinary, comment="of what was approved: the terms, and the rows"),
    Column("decided_by", Text),
    Column("decided_at", Timestamp),
    Column("reason", Text),
    Column("pledged", Boolean, nullable=False, server_default="true", comment="false for those before pledges"),
    CheckConstraint("status IN ('WAITING', 'APPROVED', 'REFUSED')", name="funding_approvals_status"),
    CheckConstraint("status <> 'APPROVED' OR digest IS NOT NULL", name="funding_approvals_approved_has_digest"),
)

funding_rows = Table(
    "funding_rows",
    metadata,
    Column("list", Uuid, nullable=False, comment="the job that has this list, or the run that it was made for"),
    Column("row", BigInteger, nullable=False, comment="line of the CSV, or position in the list, from 1"),
    Column("destination", BigInteger, nullable=False),
    Column("amount", MinorUnits, nullable=False),
    Column("description", Text, comment="null is the job's"),
    Column("meta_data", JSON),
    PrimaryKeyConstraint("list", "row", name="funding_rows_pkey"),
    CheckConstraint("amount > 0", name="funding_rows_amount_positive"),
)

funding_runs = Table(
    "funding_runs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("job", Uuid, ForeignKey("funding_jobs.id", name="funding_runs_job_fkey"), nullable=False),
    Column("occurrence", Text, nullable=False, comment="what it is for: a due time, or what it was asked for by"),
    Column("due_at", Timestamp, nullable=False),
    Column("retry_of", Uuid, comment="the run whose rejected or unposted rows it posts"),
    Column("status", Text, nullable=False),
    Column("list", Uuid, comment="whose rows it posts; null before it starts"),
    Column("row_count", BigInteger),
    Column("amount", MinorUnits),
    Column("last_row", BigInteger, comment="rows after it are beyond the limit, and are not posted"),
    Column("posted_row", BigInteger, nullable=False, server_default="0", comment="rows up to it are in the log"),
    Column("posted", BigInteger, nullable=False, server_default="0"),
    Column("posted_amount", MinorUnits, nullable=False, server_default="0"),
    Column("refusal", JSON, comment="why nothing of it was posted"),
    Column("created_at", Timestamp, nullable=False),
    Column("started_at", Timestamp),
    Column("progressed_at", Timestamp),
    Column("ended_at", Timestamp),
    Column("applied", BigInteger, comment="rows that moved or hold money; null until all are decided"),
    Column("applied_amount", MinorUnits, comment="what they moved or hold"),
    Column("rejected", BigInteger),
    Column("actor", Text, comment="the key that asked for it; null for one of its schedule"),
    UniqueConstraint("job", "occurrence", name="funding_runs_occurrence_key"),
    CheckConstraint(
        "status IN ('PENDING', 'POSTING', 'POSTED', 'COMPLETED', 'REFUSED', 'CANCELLED')", name="funding_runs_status"
    ),
)
Index(
    "funding_runs_unfinished_idx",
    funding_runs.c.job,
    funding_runs.c.due_at,
    funding_runs.c.id,
    postgresql_where=text("status IN ('PENDING', 'POSTING', 'POSTED')"),
)

Index("funding_runs_retry_of_idx", funding_runs.c.retry_of, postgresql_where=text("retry_of IS NOT NULL"))

funding_retries = Table(
    "funding_retries",
    metadata,
    Column("retry", Uuid, nullable=False, comment="the run that posts the row once more"),
    Column("row", BigInteger, nullable=False),
    Column("run", Uuid, nullable=False, comment="the run that rejected the row, or did not post it"),
    PrimaryKeyConstraint("retry", "row", name="funding_retries_pkey"),
    UniqueConstraint("run", "row", name="funding_retries_run_key"),
)

funding_digests = Table(
    "funding_digests",
    metadata,
    Column("list", Uuid, nullable=False),
    Column("chunk", BigInteger, nullable=False, comment="a thousand rows, from 0"),
    Column("digest", LargeBinary, nullable=False, comment="over its rows as they were accepted"),
    PrimaryKeyConstraint("list", "chunk", name="funding_digests_pkey"),
)

funding_postings = Table(
    "funding_postings",
    metadata,
    Column("run", Uuid, nullable=False),
    Column("row", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False, comment="the row's transaction in the log"),
    PrimaryKeyConstraint("run", "row", name="funding_postings_pkey"),
)

heartbeats = Table(
    "heartbeats",
    metadata,
    Column("worker", Text, primary_key=True),
    Column("at", Timestamp, nullable=False),
    Column("part", Text, nullable=False, server_default="worker"),
    Column("host", Text, nullable=False, server_default=""),
    Column("clock_off_s", Double, nullable=False, server_default="0"),
    Column("state", JSON),
)

identity = Table(
    "identity",
    metadata,
    Column("one", Boolean, primary_key=True, server_default="true"),
    Column("id", Uuid, nullable=False, comment="names the ledger in Redis and Celery"),
    Column("made_at", Timestamp, nullable=False),
    CheckConstraint("one", name="identity_is_one"),
)

ticks = Table(
    "ticks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("started_at", Timestamp),
    Column("ended_at", Timestamp),
    Column("by", Text, nullable=False, server_default=""),
)

verifications = Table(
    "verifications",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", Timestamp, nullable=False),
    Column("kind", Text, nullable=False),
    Column("first_seq", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("problem_count", BigInteger, nullable=False),
    Column("problems", JSON, nullable=False),
    Column("took_s", Double, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False, comment="position, without a gap"),
    Column("created_at", Timestamp, nullable=False),
    Column("actor", Text, nullable=False, comment="the key that asked for it"),
    Column("owner", Text, comment="of that key"),
    Column("part", Text, nullable=False, comment="of the service that did it"),
    Column("request_id", Text),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False, comment="what it was done to"),
    Column("details", JSON, nullable=False, comment="the text that the hash covers"),
    Column("hash", LargeBinary, nullable=False, comment="over all other columns, and the hash before it"),
)
Index("audit_created_at_idx", audit.c.created_at, audit.c.id)
Index("audit_actor_idx", audit.c.actor, audit.c.id)
Index("audit_subject_idx", audit.c.subject, audit.c.id)
Index("audit_cuts_idx", audit.c.id, postgresql_where=text("action = 'audit.cut'"))

ended_sessions = Table(
    "ended_sessions",
    metadata,
    Column("id", Uuid, primary_key=True, comment="of a session of the dashboard that was signed out"),
    Column("until", Timestamp, nullable=False, comment="its cookie is too old from then on"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("actor", Text, nullable=False, comment="the API key that sent it"),
    Column("key", Text, nullable=False, comment="the header Idempotency-Key"),
    Column("fingerprint", LargeBinary, nullable=False, comment="of the route and the body"),
    Column("claim", Uuid, nullable=False, comment="the request that works on it, or has"),
    Column("claimed_at", Timestamp, nullable=False),
    Column("status", SmallInteger, comment="of the first answer; null while there is none"),
    Column("headers", JSON),
    Column("body", LargeBinary),
    PrimaryKeyConstraint("actor", "key", name="idempotency_keys_pkey"),
)
Index("idempotency_keys_claimed_at_idx", idempotency_keys.c.claimed_at)

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
    Column(
        "funding", Boolean, nullable=False, server_default="false", comment="whether a veto is asked for funding too"
    ),
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

flows = Table(
    "flows",
    metadata,
    Column("length_s", Integer, nullable=False, comment="of the period: a minute, an hour, a day or 32 days"),
    Column("at", Timestamp, nullable=False, comment="its start"),
    Column("currency", Text, nullable=False),
    Column("source", BigInteger, nullable=False, comment="an internal balance, or below zero a ledger"),
    Column("destination", BigInteger, nullable=False),
    Column("amount", MinorUnits, nullable=False),
    Column("precision", BigInteger, nullable=False, comment="the largest, where they differ"),
    Column("count", BigInteger, nullable=False),
    PrimaryKeyConstraint("length_s", "at", "currency", "source", "destination", name="flows_pkey"),
    postgresql_with={"fillfactor": "80"},
)

activity = Table(
    "activity",
    metadata,
    Column("length_s", Integer, nullable=False),
    Column("at", Timestamp, nullable=False),
    Column("accepted", BigInteger, nullable=False),
    Column("applied", BigInteger, nullable=False),
    Column("inflight", BigInteger, nullable=False),
    Column("rejected", BigInteger, nullable=False),
    PrimaryKeyConstraint("length_s", "at", name="activity_pkey"),
    postgresql_with={"fillfactor": "80"},
)

rollups = Table(
    "rollups",
    metadata,
    Column("one", Boolean, primary_key=True, server_default="true"),
    Column("seq", BigInteger, nullable=False, comment="flows and activity have everything up to this position"),
    Column("at", Timestamp, nullable=False, comment="the last minute that has sums"),
    Column("minutes_from", Timestamp, nullable=False, comment="flows have no minutes before this time"),
    Column("hours_from", Timestamp, nullable=False, comment="and no hours before this"),
    CheckConstraint("one", name="rollups_is_one"),
)
