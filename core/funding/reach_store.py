"""SQL of the reach of funding jobs: which jobs a key finds, and which rows are beyond a reach."""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from core.base.actors import Reach
from core.base.db import driver
from core.ledger.store import reach as ledger_reach

# A job that was made within the reach needs no look at its rows. Of any other job with a list, the first row that is out of
# reach ends the look, so that other people's jobs cost little.
_IN_REACH = """
{pool} AND CASE
    WHEN {made_within} THEN true
    WHEN j.row_count IS NULL THEN false
    ELSE NOT EXISTS (
        SELECT
        FROM funding_rows AS f
        JOIN balances AS d ON d.id = f.destination
        WHERE f.list = j.id
          AND NOT {recipient}
    )
END
"""

_IS_IN_REACH = """
SELECT EXISTS (
    SELECT
    FROM funding_jobs AS j
    JOIN balances AS b ON b.id = j.source
    WHERE j.id = %(id)s
      AND {in_reach}
)
"""

_FIRST_OUT_OF_REACH = """
SELECT f.row
FROM funding_rows AS f
JOIN balances AS d ON d.id = f.destination
WHERE f.list = %(list)s
  AND NOT {recipient}
ORDER BY f.row
LIMIT 1
"""

_LARGEST = """
SELECT amount, row
FROM funding_rows
WHERE list = %(list)s
ORDER BY amount DESC, row
LIMIT 1
"""


def in_reach(conn: Connection, reach: Reach) -> tuple[str, dict[str, Any]]:
    """Write the condition of the jobs ``j`` with the pool ``b`` that a reach has, and its values."""
    if not reach.bounds_balances:
        return "true", {}
    made_within, stored = ledger_reach.sql_of_narrower(reach, "j.terms::jsonb -> 'reach'")
    sql = _IN_REACH.format(
        pool=ledger_reach.sql(reach, "b"), made_within=made_within, recipient=ledger_reach.sql(reach, "d")
    )
    return sql, {**stored, **ledger_reach.values(conn, reach)}


def is_in_reach(conn: Connection, job: UUID, reach: Reach) -> bool:
    """Tell whether a reach has the pool and all recipients of a job."""
    sql, values = in_reach(conn, reach)
    ((found,),) = driver(conn).execute(_IS_IN_REACH.replace("{in_reach}", sql), {**values, "id": job})
    return bool(found)


def first_out_of_reach(conn: Connection, list: UUID, reach: Reach) -> int | None:
    """Find the first row of a list whose recipient is out of reach."""
    sql = _FIRST_OUT_OF_REACH.replace("{recipient}", ledger_reach.sql(reach, "d"))
    row = driver(conn).execute(sql, {**ledger_reach.values(conn, reach), "list": list}).fetchone()
    return None if row is None else int(row[0])


def largest(conn: Connection, list: UUID) -> int:
    """Return the largest amount of a list, in minor units."""
    return largest_row(conn, list)[0]


def largest_row(conn: Connection, list: UUID) -> tuple[int, int]:
    """Return the largest amount of a list, in minor units, and the first row that has it. Both are 0 for an empty list."""
    row = driver(conn).execute(_LARGEST, {"list": list}).fetchone()
    return (0, 0) if row is None else (int(row[0]), int(row[1]))
