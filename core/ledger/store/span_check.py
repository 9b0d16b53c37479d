"""Adds up the spans of balances again. It reads the log for each entry, and so it judges what ``new_spans.py`` writes."""

from typing import NamedTuple

from sqlalchemy import Connection

from core.base.db import driver
from core.ledger.store import spans
from core.ledger.store.spans import COLUMNS, Basis, Lag, both

# This reads the log for each entry. Every span has a part 0, even if it is empty: it ends before any time.
_PARTS = f"""
    entries AS (
        SELECT
            (version + %(size)s::bigint - 1) / %(size)s::bigint * %(size)s::bigint AS last,
            effective_date IS NOT NULL AS is_dated,
            coalesce(effective_date, accepted_at) AS at,
            e.decided_at,
            e.signed
        FROM ({both(Basis.BOOKED, above="%(after)s", upto="%(upto)s")}) AS e
        JOIN log ON log.seq = e.seq
    ),
    parts AS (
        SELECT
            last,
            CASE WHEN is_dated THEN 1 + (rank() OVER (PARTITION BY last, is_dated ORDER BY at) - 1) / %(dated)s::bigint ELSE 0 END
                AS part,
            at,
            min(decided_at) OVER (PARTITION BY last) AS first_decided_at,
            max(decided_at) OVER (PARTITION BY last) AS last_decided_at,
            signed,
            1 AS entries
        FROM entries
        UNION ALL
        SELECT last, 0, NULL, first_decided_at, last_decided_at, 0, 0
        FROM generate_series(%(after)s::bigint + %(size)s::bigint, %(upto)s::bigint, %(size)s::bigint) AS span (last)
        LEFT JOIN (
            SELECT last, min(decided_at) AS first_decided_at, max(decided_at) AS last_decided_at
            FROM entries
            GROUP BY last
        ) AS decided USING (last)
    ),
    summed AS (
        SELECT
            %(key)s::bigint AS balance,
            last,
            part,
            coalesce(min(at), '-infinity') AS first_at,
            coalesce(max(at), '-infinity') AS last_at,
            coalesce(min(first_decided_at), '-infinity') AS first_decided_at,
            coalesce(max(last_decided_at), '-infinity') AS last_decided_at,
            coalesce(sum(signed) FILTER (WHERE signed > 0), 0) AS credit,
            coalesce(-sum(signed) FILTER (WHERE signed < 0), 0) AS debit,
            sum(entries) AS entries
        FROM parts
        GROUP BY last, part
    )
"""

# The same sums again, beside those that were written.
_WRONG = f"""
    WITH {_PARTS}
    SELECT
        last,
        part,
        format('%%s in, %%s out, %%s entries', summed.credit, summed.debit, summed.entries),
        format('%%s in, %%s out, %%s entries', written.credit, written.debit, written.entries)
    FROM summed
    FULL JOIN (
        SELECT *
        FROM spans
        WHERE balance = %(key)s
          AND last > %(after)s
          AND last <= %(upto)s
    ) AS written USING ({COLUMNS.partition(", first_at")[0]})
    WHERE (summed.first_at, summed.last_at, summed.first_decided_at, summed.last_decided_at,
           summed.credit, summed.debit, summed.entries)
        IS DISTINCT FROM
          (written.first_at, written.last_at, written.first_decided_at, written.last_decided_at,
           written.credit, written.debit, written.entries)
    ORDER BY last, part
"""

_WRITTEN = """
    SELECT spans.balance, coalesce(balances.version, 0), max(spans.last)
    FROM spans
    LEFT JOIN balances ON balances.id = spans.balance
    GROUP BY 1, 2
    ORDER BY 1
"""


class Wrong(NamedTuple):
    """A part of a span that is not what its entries come to."""

    last: int
    part: int
    expected: str
    found: str


def written(conn: Connection) -> list[Lag]:
    """List the balances that have spans, with their versions and how far their spans go."""
    return [Lag(*row) for row in driver(conn).execute(_WRITTEN)]


def wrong(conn: Connection, key: int, *, after: int, upto: int) -> list[Wrong]:
    """Add up the spans of a balance between two multiples of ``SIZE`` again, and list those that differ."""
    values = {"key": key, "after": after, "upto": upto, "size": spans.SIZE, "dated": spans.DATED}
    return [Wrong(*row) for row in driver(conn).execute(_WRONG, values)]
