"""Checks the sums of flows and activity against the log. They are no history, so a wrong one is derived anew."""

from sqlalchemy import Connection

from core.base.db import driver
from core.verification.report import LISTED, Report

REMEDY = "`pacioli verify --rebuild-flows` derives them anew"

# All of the log up to the cursor is read, by its key beside that of outcomes. Days are kept for ever, and minutes of the day
# that is not over.
_DAYS = """
    WITH whole AS (
        SELECT date_bin('1 day', at, 'epoch') AS day, seq AS last FROM rollups
    ),
    expected AS (
        SELECT
            date_bin('1 day', log.accepted_at, 'epoch') AS day,
            log.currency,
            CASE WHEN s.indicator IS NULL THEN -s.ledger ELSE s.id END AS source,
            CASE WHEN d.indicator IS NULL THEN -d.ledger ELSE d.id END AS destination,
            sum(outcomes.amount) AS amount,
            count(*) AS count
        FROM whole
        JOIN log ON log.seq <= last
        JOIN outcomes ON outcomes.seq = log.seq AND status = 1
        JOIN balances AS s ON s.id = outcomes.source
        JOIN balances AS d ON d.id = outcomes.destination
        GROUP BY 1, 2, 3, 4
    ),
    found AS (
        SELECT
            date_bin('1 day', at, 'epoch') AS day, currency, source, destination,
            sum(amount) AS amount, sum(count) AS count
        FROM flows
        CROSS JOIN (SELECT day AS today FROM whole) AS open
        WHERE length_s = 86400 AND at < today OR length_s = 60 AND at >= today
        GROUP BY 1, 2, 3, 4
    )
    SELECT
        to_char(day, 'YYYY-MM-DD'), currency, source, destination,
        coalesce(expected.amount, 0), coalesce(expected.count, 0), coalesce(found.amount, 0), coalesce(found.count, 0)
    FROM expected
    FULL JOIN found USING (day, currency, source, destination)
    WHERE (expected.amount, expected.count) IS DISTINCT FROM (found.amount, found.count)
    ORDER BY 1, 2, 3, 4
    LIMIT %(limit)s
"""

# Each longer period against the shorter ones in it, where those are kept.
_LONGER = """
    SELECT
        to_char(at, 'YYYY-MM-DD HH24:MI'), length_s, currency, source, destination,
        coalesce(shorter.amount, 0), coalesce(shorter.count, 0), coalesce(longer.amount, 0), coalesce(longer.count, 0)
    FROM (
        SELECT
            length AS length_s, date_bin(make_interval(secs => length), flows.at, 'epoch') AS at, currency, source, destination,
            sum(amount) AS amount, sum(count) AS count
        FROM rollups
        CROSS JOIN LATERAL (
            VALUES (3600, 60, minutes_from), (86400, 3600, hours_from), (2764800, 86400, 'epoch'::timestamptz)
        ) AS pair (length, shorter_s, kept_from)
        JOIN flows ON length_s = shorter_s AND flows.at >= kept_from
        WHERE flows.at < date_bin(make_interval(secs => length), rollups.at, 'epoch')
        GROUP BY 1, 2, 3, 4, 5
    ) AS shorter
    FULL JOIN (
        SELECT flows.*
        FROM flows
        CROSS JOIN rollups
        WHERE length_s = 3600 AND flows.at >= minutes_from
           OR length_s = 86400 AND flows.at >= hours_from
           OR length_s = 2764800
    ) AS longer USING (length_s, at, currency, source, destination)
    WHERE (shorter.amount, shorter.count) IS DISTINCT FROM (longer.amount, longer.count)
    ORDER BY 1, 2, 3, 4, 5
    LIMIT %(limit)s
"""

_ACTIVITY = """
    SELECT
        to_char(at, 'YYYY-MM-DD HH24:MI'), length_s,
        coalesce(expected.counts, '{0,0,0,0}'), coalesce(found.counts, '{0,0,0,0}')
    FROM (
        SELECT
            length_s, date_bin(make_interval(secs => length_s), minute, 'epoch') AS at,
            ARRAY[
                sum(accepted), sum(accepted) FILTER (WHERE status = 1), sum(accepted) FILTER (WHERE status = 2),
                sum(accepted) FILTER (WHERE status = 4)
            ]::bigint[] AS counts
        FROM (
            SELECT date_bin('1 minute', log.accepted_at, 'epoch') AS minute, status, count(*) AS accepted
            FROM rollups
            JOIN log ON log.seq <= rollups.seq
            JOIN outcomes ON outcomes.seq = log.seq
            GROUP BY 1, 2
        ) AS minutes
        CROSS JOIN (VALUES (60), (3600), (86400)) AS length (length_s)
        GROUP BY 1, 2
    ) AS expected
    FULL JOIN (
        SELECT length_s, at, ARRAY[accepted, nullif(applied, 0), nullif(inflight, 0), nullif(rejected, 0)] AS counts
        FROM activity
    ) AS found USING (length_s, at)
    WHERE expected.counts IS DISTINCT FROM found.counts
    ORDER BY 1, 2
    LIMIT %(limit)s
"""


def check_flows(conn: Connection, report: Report) -> None:
    """Compare every sum with the log up to where they go, and with the shorter periods in it."""
    given = {"limit": LISTED}
    for day, *ends, expected, transactions, amount, count in driver(conn).execute(_DAYS, given):
        _add(report, f"{day}, {_ends(ends)}", (expected, transactions), (amount, count))
    for at, length_s, *ends, expected, transactions, amount, count in driver(conn).execute(_LONGER, given):
        _add(report, f"{at}, {length_s} s, {_ends(ends)}", (expected, transactions), (amount, count))
    for at, length_s, counts, found in driver(conn).execute(_ACTIVITY, given):
        report.add("activity", f"{at}, {length_s} s", "counts", expected=f"{counts}; {REMEDY}", found=found)


def _ends(ends: list[object]) -> str:
    currency, source, destination = ends
    return f"{currency}, from node {source} to {destination}"


def _add(report: Report, key: str, expected: tuple[int, int], found: tuple[int, int]) -> None:
    texts = [f"{amount} in {count}" for amount, count in (expected, found)]
    report.add("flows", key, "amount", expected=f"{texts[0]}, by the log; {REMEDY}", found=texts[1])
