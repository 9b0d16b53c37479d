"""SQL of the sessions of the dashboard. A session is a cookie, so the database knows only those that ended before their time."""

from uuid import UUID

from sqlalchemy import Connection

from core.base.db import driver

# The primary keys serve it. A secret that a rotation has replaced has an end.
_IS_OPEN = """
SELECT NOT EXISTS (SELECT FROM ended_sessions WHERE id = %(id)s)
   AND (
       %(hash)s::bytea IS NULL
       OR EXISTS (
           SELECT
           FROM api_key_secrets AS s
           JOIN api_keys AS k ON k.id = s.key
           WHERE s.hash = %(hash)s
             AND s.ends_at IS NULL
             AND k.revoked_at IS NULL
       )
   )
"""

_END = """
INSERT INTO ended_sessions (id, until)
VALUES (%(id)s, clock_timestamp() + make_interval(secs => %(for_s)s))
ON CONFLICT DO NOTHING
"""

_FORGET = """
DELETE FROM ended_sessions
WHERE until < clock_timestamp()
"""


def is_open(conn: Connection, id: UUID, hash: bytes | None) -> bool:
    """Tell whether a session has not ended, and its key is neither revoked nor rotated. ``hash`` is None for no stored key."""
    row = driver(conn).execute(_IS_OPEN, {"id": id, "hash": hash}).fetchone()
    assert row is not None
    return bool(row[0])


def end(conn: Connection, id: UUID, *, for_s: float) -> None:
    """Remember for ``for_s`` seconds that a session has ended, and forget those whose time is over."""
    driver(conn).execute(_END, {"id": id, "for_s": for_s})
    driver(conn).execute(_FORGET)
