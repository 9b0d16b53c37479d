"""SQL of the tries of a run: which rows each try took from which run.

A row is taken from a run once, which a unique key makes sure of. A run that rejected it, or that ended without it, can never
post it any more. So over all tries of a run a row is posted without a rejection at most once.

A run that was refused because its rows are not those that somebody expects, approved or sent leaves nothing to a try.
"""

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.base.db import driver
from core.funding.run_store import FOR_GOOD

REJECTED, UNPOSTED = "rejected", "unposted"

# The list of a run that was cancelled before it started is not written in its row.
_FAMILY = """
WITH RECURSIVE family AS (
    SELECT
        id,
        status,
        coalesce(list, CASE WHEN retry_of IS NULL THEN job ELSE id END) AS list,
        coalesce(refusal ->> 'reason', '') AS refused
    FROM funding_runs
    WHERE id = %(run)s
    UNION ALL
    SELECT r.id, r.status, coalesce(r.list, r.id), coalesce(r.refusal ->> 'reason', '')
    FROM funding_runs AS r
    JOIN family ON r.retry_of = family.id
)
"""

# Status 4 is REJECTED. LIMIT 1 makes the planner look up each row by a whole key, whatever the statistics say of the run.
_TAKE = f"""{_FAMILY},
taken AS (
    INSERT INTO funding_retries (retry, row, run)
    SELECT %(retry)s, f.row, family.id
    FROM family
    JOIN funding_rows AS f ON f.list = family.list
    LEFT JOIN LATERAL (
        SELECT seq
        FROM funding_postings
        WHERE run = family.id
          AND row = f.row
        LIMIT 1
    ) AS p ON true
    LEFT JOIN outcomes AS o ON o.seq = p.seq
    LEFT JOIN LATERAL (
        SELECT retry
        FROM funding_retries
        WHERE run = family.id
          AND row = f.row
        LIMIT 1
    ) AS before ON true
    WHERE family.status IN ('COMPLETED', 'REFUSED', 'CANCELLED')
      AND family.refused <> ALL(%(for_good)s)
      AND before.retry IS NULL
      AND (%(rejected)s AND o.status = 4 OR %(unposted)s AND p.seq IS NULL)
    RETURNING row, run
)
INSERT INTO funding_rows (list, row, destination, amount, description, meta_data)
SELECT %(retry)s, f.row, f.destination, f.amount, f.description, f.meta_data
FROM taken
JOIN family ON family.id = taken.run
JOIN funding_rows AS f ON f.list = family.list AND f.row = taken.row
"""

_LAST_TRY = f"""{_FAMILY}
SELECT g.retry
FROM family
JOIN funding_retries AS g ON g.run = family.id
LEFT JOIN funding_postings AS p ON p.run = g.run AND p.row = g.row
WHERE %(rejected)s AND p.seq IS NOT NULL OR %(unposted)s AND p.seq IS NULL
ORDER BY g.retry DESC
LIMIT 1
"""

_IDS = f"""{_FAMILY}
SELECT id
FROM family
ORDER BY id
"""

# Served by the unique key of run and row, and by the primary key.
_TAKEN = """
SELECT (SELECT count(*) FROM funding_retries WHERE run = %(run)s),
       (SELECT count(*) FROM funding_retries WHERE retry = %(run)s)
"""


class Taken(NamedTuple):
    """How many rows later tries took from a run, and how many a try was made of."""

    by_others: int
    of_others: int


def take_rows(conn: Connection, retry: UUID, run: UUID, only: str | None) -> int:
    """Fill the list of a new try with the rows that a run and its tries have left. Returns how many there are.

    A row is left if the run that had it last is over, and rejected it or did not post it. ``only`` is ``rejected`` or
    ``unposted``. The rows keep their numbers. The caller has locked the job.
    """
    return (
        driver(conn).execute(_TAKE, {"retry": retry, "run": run, "for_good": list(FOR_GOOD), **_kinds(only)}).rowcount
    )


def last_try(conn: Connection, run: UUID, only: str | None) -> UUID | None:
    """Return the newest try that took such rows of a run or of its tries, or None if there is none."""
    row = driver(conn).execute(_LAST_TRY, {"run": run, **_kinds(only)}).fetchone()
    return None if row is None else row[0]


def family_of(conn: Connection, run: UUID) -> list[UUID]:
    """List a run and all of its tries, the oldest first."""
    return [id for (id,) in driver(conn).execute(_IDS, {"run": run})]


def taken(conn: Connection, run: UUID) -> Taken:
    """Count the rows that were taken from a run, and that it took from others."""
    row = driver(conn).execute(_TAKEN, {"run": run}).fetchone()
    assert row is not None
    return Taken(*row)


def _kinds(only: str | None) -> dict[str, bool]:
    return {REJECTED: only != UNPOSTED, UNPOSTED: only != REJECTED}
