"""Defines the tables of who may ask, and of what was asked: keys, sessions, repeated requests and the audit log."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON

from core.base.tables.types import Timestamp, metadata

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
