"""Defines the tables of the service itself: its name, its processes and its regular work."""

from sqlalchemy import Boolean, CheckConstraint, Column, Double, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSON

from core.base.tables.types import Timestamp, metadata

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
