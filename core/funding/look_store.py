"""SQL that looks at a list before it is paid: its first and largest rows, and the rows that are odd."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.base.db import driver


class Seen(NamedTuple):
    """A row of a list with the name of its balance. The amount is minor units."""

    row: int
    destination: str
    amount: int
    description: str | None
    alike: int
    """The number of rows that are odd in the same way; 0 for rows that are not odd."""


_SHOWN = """
SELECT f.row, coalesce(b.indicator, 'bln_' || b.balance_id), f.amount, f.description, found.count
FROM found
JOIN funding_rows AS f ON f.list = %(list)s AND f.row = found.row
JOIN balances AS b ON b.id = f.destination
ORDER BY place
"""

_FIRST = f"""
WITH found AS (
    SELECT row, row AS place, 0 AS count
    FROM funding_rows
    WHERE list = %(list)s
    ORDER BY row
    LIMIT %(limit)s
)
{_SHOWN}
"""

_LARGEST = f"""
WITH found AS (
    SELECT row, -amount AS place, 0 AS count
    FROM funding_rows
    WHERE list = %(list)s
    ORDER BY amount DESC, row
    LIMIT %(limit)s
)
{_SHOWN}, f.row
"""

_LARGE = f"""
WITH found AS (
    SELECT row, row AS place, count(*) OVER () AS count
    FROM funding_rows
    WHERE list = %(list)s
      AND amount >= %(times)s * (
          SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount)
          FROM funding_rows
          WHERE list = %(list)s
      )
    ORDER BY row
    LIMIT %(limit)s
)
{_SHOWN}
"""

_TWICE = f"""
WITH found AS (
    SELECT row, row AS place, count(*) OVER () AS count
    FROM (
        SELECT row, description,
               count(*) OVER (PARTITION BY destination, amount) AS to_one,
               count(*) OVER (PARTITION BY description, amount) AS described_alike,
               count(*) OVER (PARTITION BY description) AS described
        FROM funding_rows
        WHERE list = %(list)s
    ) AS each
    WHERE to_one > 1
       OR description IS NOT NULL AND described_alike > 1 AND described <= %(few)s
    ORDER BY row
    LIMIT %(limit)s
)
{_SHOWN}
"""

_TOTAL = f"""
WITH found AS (
    SELECT row, row AS place, count(*) OVER () AS count
    FROM funding_rows
    WHERE list = %(list)s
      AND 2 * amount = (
          SELECT sum(amount)
          FROM funding_rows
          WHERE list = %(list)s
      )
    ORDER BY row
    LIMIT %(limit)s
)
{_SHOWN}
"""

LARGE_TIMES = 10
"""A row of so many times the median is large."""

FEW = 3
"""A description that more rows have says what is paid, not to whom."""


def first_rows(conn: Connection, list: UUID, limit: int) -> Sequence[Seen]:
    """Read the first rows of a list."""
    return _read(conn, _FIRST, list, limit)


def largest_rows(conn: Connection, list: UUID, limit: int) -> Sequence[Seen]:
    """Read the rows with the largest amounts, the largest first."""
    return _read(conn, _LARGEST, list, limit)


def large_rows(conn: Connection, list: UUID, limit: int) -> Sequence[Seen]:
    """Find rows of ten times the median or more."""
    return _read(conn, _LARGE, list, limit)


def repeated_rows(conn: Connection, list: UUID, limit: int) -> Sequence[Seen]:
    """Find rows that pay an amount twice to one balance, or twice with a description that few rows have."""
    return _read(conn, _TWICE, list, limit)


def total_rows(conn: Connection, list: UUID, limit: int) -> Sequence[Seen]:
    """Find a row that is as much as all others together."""
    return _read(conn, _TOTAL, list, limit)


def _read(conn: Connection, sql: str, list: UUID, limit: int) -> Sequence[Seen]:
    values = {"list": list, "limit": limit, "times": LARGE_TIMES, "few": FEW}
    return [*map(Seen._make, driver(conn).execute(sql, values))]
