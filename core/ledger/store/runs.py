"""Writes the runs of a balance, and adds them up again.

A run has the entries of ``RUN`` spans that have an effective date, sorted by it. ``spans.py`` says what it is for.
"""

from collections.abc import Collection

from sqlalchemy import Connection

from core.base.db import driver
from core.base.rows import array
from core.ledger.store import spans
from core.ledger.store.span_check import Wrong
from core.ledger.store.spans import Basis, Lag, both

# The entries with an effective date of whole runs. Every run has a part 0, which is empty.
_PARTS = f"""
    SELECT %(key)s::bigint AS balance, last, part, min(at) AS first_at, max(at) AS last_at,
        coalesce(sum(signed) FILTER (WHERE signed > 0), 0) AS credit,
        coalesce(-sum(signed) FILTER (WHERE signed < 0), 0) AS debit,
        count(*) AS entries
    FROM (
        SELECT last, at, signed, 1 + (rank() OVER (PARTITION BY last ORDER BY at) - 1) / %(run_dated)s::bigint AS part
        FROM (
            SELECT
                (version + %(run_size)s::bigint - 1) / %(run_size)s::bigint * %(run_size)s::bigint AS last,
                effective_date AS at,
                signed
            FROM ({both(Basis.BOOKED, above="%(after)s", upto="%(upto)s")}) AS e
            JOIN log ON log.seq = e.seq
            WHERE effective_date IS NOT NULL
              AND (%(every)s OR (SELECT EXISTS (
                  SELECT
                  FROM spans
                  WHERE balance = %(key)s AND last > %(after)s AND last <= %(upto)s AND part > 0
              )))
        ) AS dated
    ) AS parts
    GROUP BY last, part
    UNION ALL
    SELECT %(key)s, last, 0, '-infinity', '-infinity', 0, 0, 0
    FROM generate_series(%(after)s::bigint + %(run_size)s::bigint, %(upto)s::bigint, %(run_size)s::bigint) AS run (last)
"""

COLUMNS = "balance, last, part, first_at, last_at, credit, debit, entries"

_WRITE = f"""
    INSERT INTO dated_spans ({COLUMNS})
    {_PARTS}
    ON CONFLICT DO NOTHING
"""

_WRONG = f"""
    SELECT
        last,
        part,
        format('%%s in, %%s out, %%s entries', summed.credit, summed.debit, summed.entries),
        format('%%s in, %%s out, %%s entries', written.credit, written.debit, written.entries)
    FROM ({_PARTS}) AS summed
    FULL JOIN (
        SELECT *
        FROM dated_spans
        WHERE balance = %(key)s
          AND last > %(after)s
          AND last <= %(upto)s
    ) AS written USING (balance, last, part)
    WHERE (summed.first_at, summed.last_at, summed.credit, summed.debit, summed.entries)
        IS DISTINCT FROM (written.first_at, written.last_at, written.credit, written.debit, written.entries)
    ORDER BY last, part
"""

# It reads the few balances that have a run to write.
_LAGGING = """
    SELECT balances.id, span.last, coalesce(run.last, 0)
    FROM balances
    CROSS JOIN LATERAL (
        SELECT last
        FROM spans
        WHERE spans.balance = balances.id
        ORDER BY last DESC
        LIMIT 1
    ) AS span
    LEFT JOIN LATERAL (
        SELECT last
        FROM dated_spans
        WHERE dated_spans.balance = balances.id
        ORDER BY last DESC
        LIMIT 1
    ) AS run ON true
    WHERE balances.id > %(after)s
      AND (%(keys)s::bigint[] IS NULL OR balances.id = ANY(%(keys)s::bigint[]))
      AND balances.version >= %(run_size)s::bigint
      AND span.last >= coalesce(run.last, 0) + %(run_size)s::bigint
    ORDER BY balances.id
    LIMIT 1
"""

_WRITTEN = """
    SELECT balance, max(last)
    FROM dated_spans
    GROUP BY balance
    ORDER BY balance
"""


def write(conn: Connection, key: int, *, after: int, upto: int) -> None:
    """Write the runs of a balance between two multiples of their size. Two callers at once write the same, once."""
    driver(conn).execute("SET LOCAL statement_timeout = 0")
    driver(conn).execute(_WRITE, _of_runs(key, after, upto) | {"every": False})


def lagging(conn: Connection, *, after: int, of: Collection[int] | None = None) -> Lag | None:
    """Find the next balance beyond the key ``after`` that has a run to write: of all, or of some keys.

    Its version is the end of its spans.
    """
    keys = None if of is None else array(of)
    row = driver(conn).execute(_LAGGING, {"after": after, "run_size": spans.RUN * spans.SIZE, "keys": keys}).fetchone()
    return None if row is None else Lag(*row)


def written(conn: Connection) -> list[tuple[int, int]]:
    """List the balances that have runs, and how far these go."""
    return [(key, last) for key, last in driver(conn).execute(_WRITTEN)]


def wrong(conn: Connection, key: int, *, after: int, upto: int) -> list[Wrong]:
    """Add up the runs of a balance between two multiples of their size again, and list those that differ."""
    return [Wrong(*row) for row in driver(conn).execute(_WRONG, _of_runs(key, after, upto) | {"every": True})]


def _of_runs(key: int, after: int, upto: int) -> dict[str, object]:
    return {"key": key, "after": after, "upto": upto, "run_size": spans.RUN * spans.SIZE, "run_dated": spans.RUN_DATED}
