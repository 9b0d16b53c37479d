"""SQL of pledges. They are added, and never changed or removed."""

from collections.abc import Collection, Iterator, Sequence

from sqlalchemy import Connection

from core.base.db import driver
from core.base.locks import AdvisoryLock, take
from core.ledger.rules.pledges import START, Of, Pledge, PledgeRow, link

_AT_A_TIME = 1_000

_HEAD = """
    SELECT number, hash
    FROM pledges
    ORDER BY number DESC
    LIMIT 1
"""

_ADD = """
    INSERT INTO pledges (number, id, "of", digest, hash)
    VALUES (%s, %s, %s, %s, %s)
"""

_DIGESTS = """
    SELECT id::text, digest
    FROM pledges
    WHERE id = ANY(%(ids)s::uuid[])
"""

_OF_KIND = """
    SELECT id::text, digest
    FROM pledges
    WHERE "of" = %(of)s
    ORDER BY number
"""

_AFTER = """
    SELECT number, id::text, "of", digest, hash
    FROM pledges
    WHERE number > %(after)s
    ORDER BY number
    LIMIT %(limit)s
"""


_BROKEN = """
    SELECT id::text
    FROM pledges
    WHERE "of" = 'scheduled'
      AND NOT EXISTS (SELECT FROM scheduled WHERE scheduled.id = pledges.id)
      AND NOT EXISTS (SELECT FROM log WHERE log.id = pledges.id)
    ORDER BY number
    LIMIT %(limit)s
"""


def head(conn: Connection) -> tuple[int, bytes]:
    """Read number and hash of the last pledge."""
    return driver(conn).execute(_HEAD).fetchone() or (0, START)


def add(conn: Connection, pledges: Sequence[Pledge]) -> None:
    """Add pledges to the end of the chain. Nobody else adds any until the transaction ends.

    The append lock comes first, because most of what is pledged is told in the feed too, in the same commit.
    """
    with driver(conn).pipeline():
        take(conn, AdvisoryLock.APPEND)
        take(conn, AdvisoryLock.PLEDGE)
    number, hash = head(conn)
    rows = []
    for pledge in pledges:
        number += 1
        hash = link(hash, number, pledge)
        rows.append((number, *pledge, hash))
    with driver(conn).cursor() as cursor:
        cursor.executemany(_ADD, rows)


def digests(conn: Connection, ids: Collection[str]) -> dict[str, bytes]:
    """Read the digests of what was pledged, by ID. What was never pledged is left out."""
    return dict(driver(conn).execute(_DIGESTS, {"ids": list(ids)}).fetchall())


def of_kind(conn: Connection, of: Of) -> dict[str, bytes]:
    """Read the digests of all pledges of a kind, by ID, in their order."""
    return dict(driver(conn).execute(_OF_KIND, {"of": of}).fetchall())


def hash_at(conn: Connection, number: int) -> str | None:
    """Return the hash of a pledge in hexadecimal; None when there is no such pledge."""
    row = driver(conn).execute("SELECT encode(hash, 'hex') FROM pledges WHERE number = %s", (number,)).fetchone()
    return None if row is None else row[0]


def broken(conn: Connection, limit: int) -> list[str]:
    """List the IDs of scheduled transactions that were pledged, and neither wait nor are in the log."""
    return [id for (id,) in driver(conn).execute(_BROKEN, {"limit": limit}).fetchall()]


def every(conn: Connection, after: int = 0) -> Iterator[PledgeRow]:
    """Yield all pledges beyond a number, in their order."""
    while rows := driver(conn).execute(_AFTER, {"after": after, "limit": _AT_A_TIME}).fetchall():
        yield from map(PledgeRow._make, rows)
        after = rows[-1][0]
