"""Defines the tables of ledgers, balances and their owners."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from core.base.tables.types import MinorUnits, Timestamp, metadata

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
    UniqueConstraint("indicator", "currency", name="balances_indicator_currency_key"),
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
