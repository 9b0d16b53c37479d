"""SQL of the table of checkpoints. Rows are added, and never changed or removed."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from core.base.db import driver
from core.base.locks import AdvisoryLock, take

_MAY_ADD = """
SELECT current_setting('transaction_read_only') = 'off'
   AND has_any_column_privilege('checkpoints', 'INSERT')
"""

_EVERY = """
SELECT id, heads::text, signature, at
FROM checkpoints
ORDER BY id
"""

_NEWEST = """
SELECT id, heads::text, signature, at
FROM checkpoints
ORDER BY id DESC
LIMIT %(limit)s
"""

_ADD = """
INSERT INTO checkpoints (heads, signature, at)
VALUES (%(heads)s::json, %(signature)s, %(at)s)
RETURNING id, heads::text, signature, at
"""


class CheckpointRow(NamedTuple):
    """A checkpoint as it is stored. The reader checks whether it is valid."""

    id: int
    heads: str
    """JSON text, exactly as it was signed."""
    signature: str
    at: datetime


def may_add(conn: Connection) -> bool:
    """Return whether this connection may add a checkpoint. A replica and a reader's account may not."""
    return driver(conn).execute(_MAY_ADD).fetchone() == (True,)


def lock(conn: Connection) -> datetime:
    """Keep others from adding a checkpoint until the transaction ends. Return the database's time under the lock."""
    take(conn, AdvisoryLock.CHECKPOINT)
    (now,) = driver(conn).execute("SELECT clock_timestamp()").fetchone()  # type: ignore[misc]
    assert isinstance(now, datetime)
    return now


def newest(conn: Connection, limit: int) -> list[CheckpointRow]:
    """Read the newest checkpoints, newest first."""
    rows = driver(conn).execute(_NEWEST, {"limit": limit})
    return list(map(CheckpointRow._make, rows.fetchall()))


def signature_of(conn: Connection, id: int) -> str | None:
    """Return the signature of a checkpoint; None when there is no such one."""
    row = driver(conn).execute("SELECT signature FROM checkpoints WHERE id = %s", (id,)).fetchone()
    return None if row is None else row[0]


def every(conn: Connection) -> Iterator[CheckpointRow]:
    """Yield every checkpoint, oldest first, through a server-side cursor."""
    with driver(conn).cursor("every_checkpoint") as cursor:
        cursor.execute(_EVERY)
        yield from map(CheckpointRow._make, cursor)


def add(conn: Connection, *, heads: str, signature: str, at: datetime) -> CheckpointRow:
    """Add a checkpoint and return it. The caller holds the lock."""
    row = driver(conn).execute(_ADD, {"heads": heads, "signature": signature, "at": at}).fetchone()
    assert row is not None
    return CheckpointRow._make(row)
