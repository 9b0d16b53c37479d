"""Writes the spans of a balance.

Nearly all that a span says is in the outcomes of its entries. The log is read for the entries with an effective date, if any is
between the first and the last of them, and for the times of acceptance of the first and the last of the others.
``span_check.py`` reads the log for each entry, and so it judges what is written here.
"""

from sqlalchemy import Connection

from core.base.db import driver
from core.ledger.store import spans
from core.ledger.store.spans import COLUMNS, Basis, both

# outcomes_source_version_idx and its twin serve ``entries``, log_dated_idx ``has_dates``, and log_pkey the rest. Times of
# acceptance fall only where clock_falls says so, so elsewhere the first and the last entry have the first and the last time.
# Every span has a part 0, even if it is empty: it ends before any time.
_WRITE = f"""
    WITH entries AS MATERIALIZED (
        SELECT
            (version + %(size)s::bigint - 1) / %(size)s::bigint * %(size)s::bigint AS last,
            seq,
            decided_at,
            signed
        FROM ({both(Basis.BOOKED, above="%(after)s", upto="%(upto)s")}) AS e
    ),
    between_them AS MATERIALIZED (
        SELECT
            EXISTS (
                SELECT
                FROM log
                WHERE log.seq BETWEEN first AND final AND effective_date IS NOT NULL
            ) AS has_dates,
            EXISTS (
                SELECT
                FROM clock_falls
                WHERE clock_falls.seq > first AND clock_falls.seq <= final
            ) AS has_falls
        FROM (SELECT min(seq) AS first, max(seq) AS final FROM entries) AS ends
    ),
    dated AS MATERIALIZED (
        SELECT
            last,
            seq,
            effective_date AS at,
            1 + (rank() OVER (PARTITION BY last ORDER BY effective_date) - 1) / %(dated)s::bigint AS part,
            signed
        FROM entries
        JOIN log USING (seq)
        WHERE (SELECT has_dates FROM between_them)
          AND effective_date IS NOT NULL
    ),
    others AS MATERIALIZED (
        SELECT *
        FROM entries
        WHERE NOT (SELECT has_dates FROM between_them) OR seq NOT IN (SELECT seq FROM dated)
    ),
    decided AS (
        SELECT last, min(decided_at) AS first_decided_at, max(decided_at) AS last_decided_at
        FROM entries
        GROUP BY last
    ),
    summed AS (
        SELECT
            last,
            0 AS part,
            CASE
                WHEN has_falls
                THEN (SELECT min(accepted_at) FROM others AS each JOIN log USING (seq) WHERE each.last = others.last)
                ELSE (SELECT accepted_at FROM log WHERE seq = min(others.seq))
            END AS first_at,
            CASE
                WHEN has_falls
                THEN (SELECT max(accepted_at) FROM others AS each JOIN log USING (seq) WHERE each.last = others.last)
                ELSE (SELECT accepted_at FROM log WHERE seq = max(others.seq))
            END AS last_at,
            sum(signed) FILTER (WHERE signed > 0) AS credit,
            -sum(signed) FILTER (WHERE signed < 0) AS debit,
            count(*) AS entries
        FROM others
        CROSS JOIN between_them
        GROUP BY last, has_falls
        UNION ALL
        SELECT
            last,
            part,
            min(at),
            max(at),
            sum(signed) FILTER (WHERE signed > 0),
            -sum(signed) FILTER (WHERE signed < 0),
            count(*)
        FROM dated
        GROUP BY last, part
        UNION ALL
        SELECT last, 0, NULL, NULL, NULL, NULL, 0
        FROM generate_series(%(after)s::bigint + %(size)s::bigint, %(upto)s::bigint, %(size)s::bigint) AS span (last)
        WHERE last NOT IN (SELECT last FROM others)
    )
    INSERT INTO spans ({COLUMNS})
    SELECT
        %(key)s::bigint,
        last,
        part,
        coalesce(first_at, '-infinity'),
        coalesce(last_at, '-infinity'),
        coalesce(first_decided_at, '-infinity'),
        coalesce(last_decided_at, '-infinity'),
        coalesce(credit, 0),
        coalesce(debit, 0),
        entries
    FROM summed
    LEFT JOIN decided USING (last)
    ORDER BY last, part
    ON CONFLICT DO NOTHING
"""


def write(conn: Connection, key: int, *, after: int, upto: int) -> None:
    """Write the spans of a balance between two multiples of ``spans.SIZE``. Two callers at once write the same, once."""
    driver(conn).execute("SET LOCAL statement_timeout = 0")
    given = {"key": key, "after": after, "upto": upto, "size": spans.SIZE, "dated": spans.DATED}
    driver(conn).execute(_WRITE, given)
