"""Checks the sums of flows and activity against the log. They are no history, so a wrong one is derived anew."""

from typing import Any

from sqlalchemy import Connection

from core.base.db import driver
from core.verification.report import LISTED, Report

REMEDY = "`pacioli verify --rebuild-flows` derives them anew"

_KEPT = """
    SELECT seq AS last, minutes_from, hours_from
    FROM rollups
"""

# All of the log up to the cursor is read once, by its key beside that of outcomes, and added up by minutes. Activity is compared
# in all periods, and a flow in the shortest that is kept of its time. A rejected posting has no balances.
_SHORTEST = """
    WITH sums AS MATERIALIZED (
        SELECT
            date_bin('1 minute', log.accepted_at, 'epoch') AS minute,
            outcomes.status,
            log.currency,
            CASE WHEN s.indicator IS NULL THEN -s.ledger ELSE s.id END AS source,
            CASE WHEN d.indicator IS NULL THEN -d.ledger ELSE d.id END AS destination,
            sum(outcomes.amount) AS amount,
            count(*) AS count,
            min(log.precision) AS least,
            max(log.precision) AS most
        FROM log
        JOIN outcomes ON outcomes.seq = log.seq
        LEFT JOIN balances AS s ON s.id = outcomes.source
        LEFT JOIN balances AS d ON d.id = outcomes.destination
        WHERE log.seq <= %(last)s
        GROUP BY 1, 2, 3, 4, 5
    ),
    moved AS (
        SELECT length_s, date_bin(make_interval(secs => length_s), minute, 'epoch') AS at, currency, source, destination,
            sum(amount) AS amount, sum(count)::bigint AS count, min(least) AS least, max(most) AS most
        FROM sums
        CROSS JOIN LATERAL (
            SELECT CASE WHEN minute >= %(minutes_from)s THEN 60 WHEN minute >= %(hours_from)s THEN 3600 ELSE 86400 END
        ) AS kept (length_s)
        WHERE status = 1 AND source IS NOT NULL AND destination IS NOT NULL
        GROUP BY 1, 2, 3, 4, 5
    ),
    kept AS (
        SELECT *
        FROM flows
        WHERE length_s = 60 AND at >= %(minutes_from)s
           OR length_s = 3600 AND at >= %(hours_from)s AND at < %(minutes_from)s
           OR length_s = 86400 AND at < %(hours_from)s AND at < %(minutes_from)s
    ),
    decided AS (
        SELECT length_s, date_bin(make_interval(secs => length_s), minute, 'epoch') AS at,
            sum(count)::bigint AS accepted,
            coalesce(sum(count) FILTER (WHERE status = 1), 0)::bigint AS applied,
            coalesce(sum(count) FILTER (WHERE status = 2), 0)::bigint AS inflight,
            coalesce(sum(count) FILTER (WHERE status = 4), 0)::bigint AS rejected
        FROM sums
        CROSS JOIN (VALUES (60), (3600), (86400)) AS length (length_s)
        GROUP BY 1, 2
    )
    SELECT 'flows', at, length_s, currency, source, destination,
        ARRAY[moved.amount, moved.count, CASE WHEN kept.precision < least THEN least ELSE most END],
        ARRAY[kept.amount, kept.count, kept.precision]::numeric[]
    FROM moved
    FULL JOIN kept USING (length_s, at, currency, source, destination)
    WHERE (moved.amount, moved.count) IS DISTINCT FROM (kept.amount::numeric, kept.count)
       OR kept.precision NOT BETWEEN least AND most
    UNION ALL
    SELECT 'activity', at, length_s, NULL, NULL, NULL,
        ARRAY[decided.accepted, decided.applied, decided.inflight, decided.rejected]::numeric[],
        ARRAY[activity.accepted, activity.applied, activity.inflight, activity.rejected]::numeric[]
    FROM decided
    FULL JOIN activity USING (length_s, at)
    WHERE (decided.accepted, decided.applied, decided.inflight, decided.rejected)
        IS DISTINCT FROM (activity.accepted, activity.applied, activity.inflight, activity.rejected)
    ORDER BY 1 DESC, 2, 3, 4, 5, 6
    LIMIT %(limit)s
"""

# Each longer period against the shorter ones in it, where those are kept.
_LONGER = """
    SELECT 'flows', at, length_s, currency, source, destination,
        ARRAY[shorter.amount, shorter.count, shorter.precision], ARRAY[longer.amount, longer.count, longer.precision]::numeric[]
    FROM (
        SELECT
            length AS length_s, date_bin(make_interval(secs => length), flows.at, 'epoch') AS at, currency, source, destination,
            sum(amount) AS amount, sum(count) AS count, max(precision) AS precision
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
    WHERE (shorter.amount, shorter.count, shorter.precision)
        IS DISTINCT FROM (longer.amount::numeric, longer.count::numeric, longer.precision)
    ORDER BY 2, 3, 4, 5, 6
    LIMIT %(limit)s
"""


def check_flows(conn: Connection, report: Report) -> None:
    """Compare every sum with the log up to where they go, and with the shorter periods in it."""
    for last, minutes_from, hours_from in driver(conn).execute(_KEPT).fetchall():
        given = {"last": last, "minutes_from": minutes_from, "hours_from": hours_from, "limit": LISTED}
        for row in driver(conn).execute(_SHORTEST, given):
            _add(report, row)
    for row in driver(conn).execute(_LONGER, {"limit": LISTED}):
        _add(report, row)


_WHAT = {"flows": ("amount", "count", "precision"), "activity": ("accepted", "applied", "inflight", "rejected")}


def _add(report: Report, row: tuple[Any, ...]) -> None:
    """Report each value of a sum that differs. Those of a sum that is missing are 0."""
    table, at, length_s, currency, source, destination, expected, found = row
    key = f"{at:%Y-%m-%d %H:%M}, {length_s} s"
    if currency is not None:
        key = f"{key}, {currency}, from node {source} to {destination}"
    because = f"by the log; {REMEDY}"
    for what, by_log, kept in zip(_WHAT[table], expected, found, strict=True):
        report.compare(table, key, because, [(what, by_log or 0, kept or 0)])
