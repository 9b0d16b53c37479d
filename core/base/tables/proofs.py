"""Defines the tables of what proves the ledger: pledges, checkpoints, seals and verifications."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Identity,
    Index,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSON

from core.base.tables.types import Timestamp, metadata

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("heads", JSON, nullable=False, comment="how far the log and the chains were, and their hashes"),
    Column("signature", Text, nullable=False),
    Column("at", Timestamp, nullable=False),
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
