"""Finds and stops what keys asked for and is still to come: scheduled transactions, and the dates of holds."""

from collections.abc import Sequence

from sqlalchemy import Connection

from core.base.db import driver

# The partial index on actor serves the first part. The dates are few, and the log's index on id finds the hold of each.
_COUNT = """
SELECT
    (
        SELECT count(*)
        FROM scheduled
        WHERE actor = ANY(%(actors)s) AND cancelled_at IS NULL
    ),
    count(*) FILTER (WHERE due.action = 3),
    count(*) FILTER (WHERE due.action = 4)
FROM due
JOIN log ON log.id = due.transaction
WHERE log.actor = ANY(%(actors)s)
"""

_CANCEL = """
UPDATE scheduled
SET cancelled_at = clock_timestamp()
WHERE id IN (
    SELECT id
    FROM scheduled
    WHERE actor = ANY(%(actors)s) AND cancelled_at IS NULL
    ORDER BY id
    LIMIT %(limit)s
    FOR UPDATE
)
RETURNING 'txn_' || id
"""

_DROP_COMMITS = """
DELETE FROM due
USING log
WHERE log.id = due.transaction AND log.actor = ANY(%(actors)s) AND due.action = 3
RETURNING 'txn_' || due.transaction
"""


def count(conn: Connection, actors: Sequence[str]) -> tuple[int, int, int]:
    """Count the scheduled transactions, the holds to commit and the holds to void that keys asked for."""
    row = driver(conn).execute(_COUNT, {"actors": list(actors)}).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


def cancel_scheduled(conn: Connection, actors: Sequence[str], limit: int) -> list[str]:
    """Cancel scheduled transactions, and return their IDs."""
    return [row[0] for row in driver(conn).execute(_CANCEL, {"actors": list(actors), "limit": limit})]


def drop_commits(conn: Connection, actors: Sequence[str]) -> list[str]:
    """Forget the dates on which holds would be committed, and return the IDs of the holds."""
    return [row[0] for row in driver(conn).execute(_DROP_COMMITS, {"actors": list(actors)})]
