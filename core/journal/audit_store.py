"""Appends to the audit log, and reads it."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from core.base.db import driver
from core.base.locks import TAKE_WITHIN_BOUNDS, AdvisoryLock
from core.journal.audit_row import COLUMNS, START, AuditRow, row_of

_SELECTED = ", ".join("details::text" if name == "details" else name for name in COLUMNS)

_READ_HEAD = """
    SELECT coalesce(id, 0), coalesce(hash, %(start)s), clock_timestamp()
    FROM (VALUES (0)) AS one
    LEFT JOIN (
        SELECT id, hash
        FROM audit
        ORDER BY id DESC
        LIMIT 1
    ) AS last ON true
"""

_APPEND = f"""
    INSERT INTO audit ({", ".join(COLUMNS)})
    SELECT id, created_at, actor, owner, part, request_id, action, subject, details::json, hash
    FROM unnest(
        %(id)s::bigint[],
        %(created_at)s::timestamptz[],
        %(actor)s::text[],
        %(owner)s::text[],
        %(part)s::text[],
        %(request_id)s::text[],
        %(action)s::text[],
        %(subject)s::text[],
        %(details)s::text[],
        %(hash)s::bytea[]
    ) AS new ({", ".join(COLUMNS)})
"""

_READ_RANGE = f"""
    SELECT {_SELECTED}
    FROM audit
    WHERE id > %(after)s
    ORDER BY id
    LIMIT %(limit)s
"""

_FIND = f"""
    SELECT {_SELECTED}
    FROM audit
    WHERE id = ANY(%(ids)s)
"""

# audit_actor_idx serves it, from the newest row on. It stops at the limit.
_COUNT_RECENT = """
    SELECT count(*)
    FROM (
        SELECT action
        FROM audit
        WHERE actor = %(actor)s AND created_at > clock_timestamp() - interval '1 hour' AND action = %(action)s
        ORDER BY id DESC
        LIMIT %(most)s
    ) AS recent
"""

_LAST_ID = """
    SELECT coalesce(max(id), 0)
    FROM audit
"""

_LAST_BEFORE = """
    SELECT id, hash
    FROM audit
    WHERE created_at < %(before)s
    ORDER BY id DESC
    LIMIT 1
"""

# A trigger lets rows go only when a newer row says so.
_CUT = """
    DELETE FROM audit
    WHERE id <= %(last)s
"""


class Head(NamedTuple):
    """The end of the audit log."""

    id: int
    hash: bytes
    now: datetime
    """The database's clock."""


def count_recent(conn: Connection, actor: str, action: str, *, most: int) -> int:
    """Count the rows of an actor and an action in the last hour, up to ``most``."""
    row = driver(conn).execute(_COUNT_RECENT, {"actor": actor, "action": action, "most": most}).fetchone()
    assert row is not None
    return int(row[0])


def lock_head(conn: Connection) -> Head:
    """Take the lock of the audit log until the transaction ends, and read the end of it. It takes one round trip.

    Raises:
        TransientError: the lock was not had in time.
    """
    connection = driver(conn)
    with connection.pipeline():
        connection.execute(TAKE_WITHIN_BOUNDS, {"lock": AdvisoryLock.AUDIT})
        found = connection.execute(_READ_HEAD, {"start": START})
    row = found.fetchone()
    assert row is not None
    return Head(*row)


def append(conn: Connection, rows: Sequence[AuditRow]) -> None:
    """Write rows that have their positions and hashes. The caller holds the lock."""
    columns = {name: [getattr(row, name) for row in rows] for name in COLUMNS}
    driver(conn).execute(_APPEND, columns)


def read_range(conn: Connection, *, after: int, limit: int) -> list[AuditRow]:
    """Read the rows after a position, in order."""
    return [row_of(row) for row in driver(conn).execute(_READ_RANGE, {"after": after, "limit": limit}).fetchall()]


def last_id(conn: Connection) -> int:
    """Read the position of the newest row. It is 0 when there is none."""
    row = driver(conn).execute(_LAST_ID).fetchone()
    assert row is not None
    return int(row[0])


def find(conn: Connection, ids: Iterable[int]) -> dict[int, AuditRow]:
    """Find rows by their positions."""
    rows = map(row_of, driver(conn).execute(_FIND, {"ids": list(ids)}).fetchall())
    return {row.id: row for row in rows}


def last_before(conn: Connection, before: datetime) -> tuple[int, bytes] | None:
    """Find the position and hash of the last row that is older than a time."""
    return driver(conn).execute(_LAST_BEFORE, {"before": before}).fetchone()


def cut(conn: Connection, last: int) -> int:
    """Remove the rows up to a position, which a row of the chain must announce. Returns their number."""
    return driver(conn).execute(_CUT, {"last": last}).rowcount
