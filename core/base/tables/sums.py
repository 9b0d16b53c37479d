"""Defines the tables of sums that are derived from the log, and that could be made from it again."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Integer, PrimaryKeyConstraint, Table, Text

from core.base.tables.types import MinorUnits, Timestamp, metadata

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
