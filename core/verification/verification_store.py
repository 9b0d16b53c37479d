"""SQL of the table of verifications: the results of the last ones of each kind."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from core.base.db import driver

KEPT = 1_000
"""So many results of each kind are kept."""

_MAY_ADD = """
SELECT current_setting('transaction_read_only') = 'off'
   AND has_table_privilege('verifications', 'INSERT, DELETE')
"""

_ADD = """
WITH old AS (
    DELETE FROM verifications
    WHERE kind = %(kind)s
      AND id <= (
          SELECT id
          FROM verifications
          WHERE kind = %(kind)s
          ORDER BY id DESC
          OFFSET %(kept)s - 1
          LIMIT 1
      )
)
INSERT INTO verifications (at, kind, first_seq, last_seq, complete, problem_count, problems, took_s)
VALUES (clock_timestamp(), %(kind)s, %(first_seq)s, %(last_seq)s, %(complete)s, %(problem_count)s, %(problems)s,
        %(took_s)s)
"""

_SELECT = """
SELECT at, extract(epoch FROM clock_timestamp() - at)::float, kind, first_seq, last_seq, complete, problem_count,
       problems::text, took_s
FROM verifications
"""

_NEWEST = f"""{_SELECT}
ORDER BY id DESC
LIMIT %(limit)s
"""

_NEWEST_OF_KIND = f"""{_SELECT}
WHERE kind = %(kind)s
ORDER BY id DESC
LIMIT 1
"""


class VerificationRow(NamedTuple):
    """The stored result of a verification."""

    at: datetime
    age_s: float
    kind: str
    first_seq: int
    last_seq: int
    complete: bool
    problem_count: int
    problems: str
    """JSON text of the first problems."""
    took_s: float


def may_add(conn: Connection) -> bool:
    """Return whether this connection may add a result. A replica and a reader's account may not."""
    return driver(conn).execute(_MAY_ADD).fetchone() == (True,)


def add(
    conn: Connection, *, kind: str, seqs: range, complete: bool, problem_count: int, problems: str, took_s: float
) -> None:
    """Add a result, and remove the oldest of its kind. ``seqs`` are the rows of the log that were read."""
    driver(conn).execute(
        _ADD,
        {
            "kind": kind,
            "kept": KEPT,
            "first_seq": seqs.start,
            "last_seq": seqs.stop - 1,
            "complete": complete,
            "problem_count": problem_count,
            "problems": problems,
            "took_s": took_s,
        },
    )


def newest(conn: Connection, limit: int) -> list[VerificationRow]:
    """Read the newest results, newest first."""
    return [VerificationRow(*row) for row in driver(conn).execute(_NEWEST, {"limit": limit}).fetchall()]


def newest_of(conn: Connection, kind: str) -> VerificationRow | None:
    """Read the newest result of a kind; None when there is none."""
    row = driver(conn).execute(_NEWEST_OF_KIND, {"kind": kind}).fetchone()
    return None if row is None else VerificationRow(*row)
