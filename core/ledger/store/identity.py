"""Reads and renews the identity of the ledger, which names it in Redis and Celery."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.base.db import driver


class Identity(NamedTuple):
    """The identity of the ledger."""

    id: UUID
    made_at: datetime


_READ = """
    SELECT id, made_at
    FROM identity
"""

_RENEW = """
    UPDATE identity
    SET id = gen_random_uuid(), made_at = clock_timestamp()
    RETURNING id, made_at
"""


def read(conn: Connection) -> Identity:
    """Read the identity of the ledger."""
    return _one(conn, _READ)


def renew(conn: Connection) -> Identity:
    """Give the ledger another identity, and return it."""
    return _one(conn, _RENEW)


def _one(conn: Connection, statement: str) -> Identity:
    row = driver(conn).execute(statement).fetchone()
    assert row is not None, "a migration makes the identity, and nothing removes it"
    return Identity(*row)
