"""Checkpoints: what the chains were at a time. Rows are only ever added."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from core.base.db import driver
from core.base.locks import AdvisoryLock, take

_COLUMNS = "id, heads::text, signature, at"


class CheckpointRow(NamedTuple):
    """As it is stored. Whether that is worth anything is for whoever reads it to find out."""

    id: int
    heads: str
    """JSON text, to the letter as it was signed."""
    signature: str
    at: datetime


def may_add(conn: Connection) -> bool:
    """Whether this connection can write: a replica and a reader's account cannot."""
    found = driver(conn).execute(
        "SELECT current_setting('transaction_read_only') = 'off' AND has_table_privilege('checkpoints', 'INSERT')"
    )
    return found.fetchone() == (True,)


def lock(conn: Connection) -> datetime:
    """Keep others from adding one until the transaction ends; the database's time then."""
    take(conn, AdvisoryLock.CHECKPOINT)
    (now,) = driver(conn).execute("SELECT clock_timestamp()").fetchone()  # type: ignore[misc]
    assert isinstance(now, datetime)
    return now


def newest(conn: Connection, limit: int) -> list[CheckpointRow]:
    """The newest ones, newest first."""
    rows = driver(conn).execute(f"SELECT {_COLUMNS} FROM checkpoints ORDER BY id DESC LIMIT %s", (limit,))
    return list(map(CheckpointRow._make, rows.fetchall()))


def every(conn: Connection) -> Iterator[CheckpointRow]:
    """All, oldest first, through a server-side cursor."""
    with driver(conn).cursor("every_checkpoint") as cursor:
        cursor.execute(f"SELECT {_COLUMNS} FROM checkpoints ORDER BY id")
        yield from map(CheckpointRow._make, cursor)


def add(conn: Connection, *, heads: str, signature: str, at: datetime) -> CheckpointRow:
    """Add one. The caller holds the lock."""
    row = driver(conn).execute(
        "INSERT INTO checkpoints (heads, signature, at) VALUES (%s::json, %s, %s) RETURNING " + _COLUMNS,
        (heads, signature, at),
    ).fetchone()  # fmt: skip
    assert row is not None
    return CheckpointRow._make(row)
