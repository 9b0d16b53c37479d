"""Writes the sums of flows and activity, and reads how far they go."""

from collections.abc import Collection
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from sqlalchemy import Connection

from core.base.db import driver, plan_for_values
from core.flows.periods import DAY_S, HOUR_S, LENGTHS_S, MINUTE_S, rounded_down
from core.ledger.store import spans
from core.ledger.store.waiting import WAITING

ACTIVITY_LENGTHS_S = (MINUTE_S, HOUR_S, DAY_S)
"""The lengths of the periods that have sums of activity. There is one row for each, so all of them are written at once."""

# The cursor is locked, so that one process adds at a time. log_pkey and log_queue_seq_idx serve the rest, with one probe for
# each queue. Head and line are read in one snapshot: what is accepted later is beyond the head. Times of acceptance fall only
# where clock_falls says so, so a chunk that begins and ends in one minute is all of it.
_NEXT = f"""
    SELECT
        next.*,
        (
            SELECT min(date_bin('1 minute', accepted_at, 'epoch'))
            FROM log
            WHERE seq IN (after + 1, last)
            HAVING min(date_bin('1 minute', accepted_at, 'epoch')) = max(date_bin('1 minute', accepted_at, 'epoch'))
               AND NOT EXISTS (SELECT FROM clock_falls WHERE seq > after AND seq <= last)
        )
    FROM (
        SELECT rollups.seq AS after, least(rollups.seq + %(limit)s, head.seq, line.first - 1) AS last, at, minutes_from
        FROM rollups
        CROSS JOIN (SELECT coalesce(max(seq), 0) AS seq FROM log) AS head
        LEFT JOIN LATERAL (
            SELECT min(first) AS first
            FROM queues
            CROSS JOIN LATERAL (
                SELECT seq AS first
                FROM log
                WHERE {WAITING}
                ORDER BY queue, seq
                LIMIT 1
            ) AS oldest
        ) AS line ON true
        FOR NO KEY UPDATE OF rollups SKIP LOCKED
    ) AS next
"""

# A range of outcomes_pkey.
_ROWS_OF_ONE_MINUTE = "outcomes AS o"

# log_pkey and outcomes_pkey are walked side by side.
_ROWS_OF_SOME_MINUTES = """
        log
        JOIN outcomes AS o ON o.seq = log.seq AND log.seq BETWEEN %(first)s AND %(last)s
""".strip()

_MINUTE = "%(minute)s::timestamptz"
_MINUTE_OF_ROW = "greatest(date_bin('1 minute', log.accepted_at, 'epoch'), %(minutes_from)s)"

# All rows are added up in one pass, so that no more than some sums are sorted, kept and counted again. A split (5) has no
# outcome, and so it is in none. Balances are looked up by their keys. An internal balance is the node of its own key, and a
# ledger that of its key below zero. A minute whose row is removed already is added to the first that is kept, which only a
# clock that was set back can make happen. Both balances have the currency of the posting, and all postings in a currency have
# its precision, so one row of the log tells it. Whoever writes spans is told the balances whose next span is whole now.
_ADD = """
    WITH sums AS MATERIALIZED (
        SELECT
            {minute} AS minute,
            o.status,
            s.currency,
            CASE WHEN s.indicator IS NULL THEN -s.ledger ELSE s.id END AS source,
            CASE WHEN d.indicator IS NULL THEN -d.ledger ELSE d.id END AS destination,
            sum(o.amount) AS amount,
            count(*) AS count,
            min(o.seq) AS first,
            array_agg(o.source) FILTER (WHERE o.source_version %% %(span)s = 0) AS full_sources,
            array_agg(o.destination) FILTER (WHERE o.destination_version %% %(span)s = 0) AS full_destinations
        FROM {rows}
        LEFT JOIN balances AS s ON s.id = o.source
        LEFT JOIN balances AS d ON d.id = o.destination
        WHERE o.seq BETWEEN %(first)s AND %(last)s
        GROUP BY 1, 2, 3, 4, 5
    ),
    minutes AS MATERIALIZED (
        SELECT
            minute,
            sum(count) AS accepted,
            coalesce(sum(count) FILTER (WHERE status = 1), 0) AS applied,
            coalesce(sum(count) FILTER (WHERE status = 2), 0) AS inflight,
            coalesce(sum(count) FILTER (WHERE status = 4), 0) AS rejected
        FROM sums
        GROUP BY minute
    ),
    new_flows AS (
        INSERT INTO flows AS old (length_s, at, currency, source, destination, amount, precision, count)
        SELECT
            60,
            minute,
            currency,
            source,
            destination,
            amount,
            (SELECT precision FROM log WHERE log.seq = sums.first),
            count
        FROM sums
        WHERE status = 1 AND source IS NOT NULL AND destination IS NOT NULL
        ORDER BY 2, 3, 4, 5
        ON CONFLICT (length_s, at, currency, source, destination) DO UPDATE
        SET amount = old.amount + excluded.amount,
            precision = greatest(old.precision, excluded.precision),
            count = old.count + excluded.count
    ),
    new_activity AS (
        INSERT INTO activity AS old (length_s, at, accepted, applied, inflight, rejected)
        SELECT
            length_s,
            date_bin(make_interval(secs => length_s), minute, 'epoch'),
            sum(accepted),
            sum(applied),
            sum(inflight),
            sum(rejected)
        FROM minutes
        CROSS JOIN unnest(%(lengths)s::int[]) AS length (length_s)
        GROUP BY 1, 2
        ORDER BY 1, 2
        ON CONFLICT (length_s, at) DO UPDATE
        SET accepted = old.accepted + excluded.accepted,
            applied = old.applied + excluded.applied,
            inflight = old.inflight + excluded.inflight,
            rejected = old.rejected + excluded.rejected
    )
    UPDATE rollups
    SET seq = %(last)s,
        at = greatest(at, (SELECT max(minute) FROM minutes))
    RETURNING
        at,
        (SELECT array_agg(DISTINCT date_bin('1 hour', minute, 'epoch')) FROM minutes),
        (SELECT array_agg(DISTINCT key) FROM sums CROSS JOIN unnest(full_sources || full_destinations) AS each (key))
"""

_ADD_ONE_MINUTE = _ADD.format(minute=_MINUTE, rows=_ROWS_OF_ONE_MINUTE)
_ADD_SOME_MINUTES = _ADD.format(minute=_MINUTE_OF_ROW, rows=_ROWS_OF_SOME_MINUTES)

# A range of flows_pkey for each period. OFFSET keeps the planner from reading them all at once, which would be all of the table.
_FOLD = """
    INSERT INTO flows (length_s, at, currency, source, destination, amount, precision, count)
    SELECT %(length)s, period, currency, source, destination, sum(amount), max(precision), sum(count)
    FROM unnest(%(periods)s::timestamptz[]) AS period
    CROSS JOIN LATERAL (
        SELECT currency, source, destination, amount, precision, count
        FROM flows
        WHERE length_s = %(shorter)s AND at >= period AND at < period + make_interval(secs => %(length)s)
        OFFSET 0
    ) AS each
    GROUP BY period, currency, source, destination
    ORDER BY period, currency, source, destination
    ON CONFLICT (length_s, at, currency, source, destination) DO UPDATE
    SET amount = excluded.amount,
        precision = excluded.precision,
        count = excluded.count
"""

# Days are kept for ever, and so nothing is lost but how finely it was cut. While older transactions are being added, nothing is
# removed. The times are at the start of a day, so that hours begin where minutes end.
_REMOVE_OLD = """
    WITH kept AS (
        UPDATE rollups
        SET minutes_from = greatest(minutes_from, date_bin('1 day', at - %(minutes)s, 'epoch')),
            hours_from = greatest(hours_from, date_bin('1 day', at - %(hours)s, 'epoch'))
        WHERE NOT EXISTS (SELECT FROM log WHERE log.seq > rollups.seq + %(behind)s)
        RETURNING minutes_from, hours_from
    )
    DELETE FROM flows
    USING kept
    WHERE length_s = 60 AND flows.at < minutes_from OR length_s = 3600 AND flows.at < hours_from
"""

_CLEAR = """
    WITH no_flows AS (
        DELETE FROM flows
    ),
    no_activity AS (
        DELETE FROM activity
    )
    UPDATE rollups
    SET seq = 0, at = 'epoch', minutes_from = 'epoch', hours_from = 'epoch'
"""

# log_pkey serves both.
_COMPLETE_TO = """
    SELECT coalesce(next.accepted_at, clock_timestamp()), clock_timestamp(), at, minutes_from, hours_from
    FROM rollups
    LEFT JOIN LATERAL (
        SELECT accepted_at
        FROM log
        WHERE log.seq > rollups.seq
        ORDER BY log.seq
        LIMIT 1
    ) AS next ON true
"""


# Probes of log_pkey and ticks_pkey.
_LAG = """
    SELECT
        greatest((SELECT max(seq) FROM log) - rollups.seq, 0),
        coalesce(extract(epoch FROM clock_timestamp() - next.accepted_at)::float, 0),
        (SELECT extract(epoch FROM clock_timestamp() - ended_at)::float FROM ticks WHERE name = 'flows')
    FROM rollups
    LEFT JOIN LATERAL (
        SELECT accepted_at
        FROM log
        WHERE log.seq > rollups.seq
        ORDER BY log.seq
        LIMIT 1
    ) AS next ON true
"""


# A probe of log_pkey.
_HAS_NEWS = """
    SELECT seq < (SELECT max(seq) FROM log)
    FROM rollups
"""


class Lag(NamedTuple):
    """How far the sums are behind the log."""

    rows: int
    age_s: float
    """The age of the first row that is not added; 0 when there is none."""
    ended_s: float | None
    """The time since somebody last added all that there was, or as much as there was time for."""


class Complete(NamedTuple):
    """How far the sums go."""

    to: datetime
    """Everything that was accepted before this time is added."""
    now: datetime
    latest: datetime
    """The last minute that has sums. The hour, day and block that it is in have none yet."""
    minutes_from: datetime
    """The time before which minutes are removed."""
    hours_from: datetime
    """The time before which hours are removed."""


def has_news(conn: Connection) -> bool:
    """Tell whether the log has rows that are not added. They may wait to be decided."""
    row = driver(conn).execute(_HAS_NEWS).fetchone()
    return row == (True,)


class Added(NamedTuple):
    """The rows of the log that were added."""

    rows: int
    full: list[int]
    """The keys of the balances whose versions came to a multiple of ``spans.SIZE`` with them."""


NOTHING = Added(0, [])


def add_chunk(conn: Connection, limit: int) -> Added:
    """Add the next rows of the log, at most ``limit``, if all before them are decided.

    The caller commits. It adds nothing while another process does.
    """
    row = driver(conn).execute(_NEXT, {"limit": limit}).fetchone()
    if row is None:
        return NOTHING
    after, last, before, minutes_from, minute = row
    if last <= after:
        return NOTHING
    given = {
        "first": after + 1,
        "last": last,
        "minutes_from": minutes_from,
        "lengths": list(ACTIVITY_LENGTHS_S),
        "span": spans.SIZE,
    }
    plan_for_values(conn)  # A few rows look up their balances, and many are joined with all of them.
    if minute is None:
        ((latest, hours, full),) = driver(conn).execute(_ADD_SOME_MINUTES, given)
    else:
        ((latest, hours, full),) = driver(conn).execute(_ADD_ONE_MINUTE, given | {"minute": max(minute, minutes_from)})
    _fold(conn, {*(hours or ()), before}, latest)
    return Added(last - after, full or [])


def _fold(conn: Connection, times: Collection[datetime], latest: datetime) -> None:
    """Add up the periods that are over and that these times are in: hours from minutes, days from hours, blocks from days.

    A period whose sums are there already is added up anew. Minutes that are older than the latest come of a clock that was set
    back.
    """
    for shorter, length_s in pairwise(LENGTHS_S):
        over = {rounded_down(at, length_s) for at in times} - {rounded_down(latest, length_s)}
        if not over:
            return
        driver(conn).execute(_FOLD, {"shorter": shorter, "length": length_s, "periods": sorted(over)})


def remove_old(conn: Connection, *, minutes: timedelta, hours: timedelta, behind: int) -> int:
    """Remove minutes and hours that are older, unless there are more rows to add than ``behind``. Returns their number."""
    given = {"minutes": minutes, "hours": hours, "behind": behind}
    return driver(conn).execute(_REMOVE_OLD, given).rowcount


def clear(conn: Connection) -> None:
    """Remove all sums, to be derived anew."""
    driver(conn).execute(_CLEAR)


def lag(conn: Connection) -> Lag:
    """Read how far the sums are behind the log."""
    rows, age_s, ended_s = driver(conn).execute(_LAG).fetchone() or (0, 0.0, None)
    return Lag(rows or 0, age_s, ended_s)


def complete(conn: Connection) -> Complete:
    """Read how far the sums go."""
    row = driver(conn).execute(_COMPLETE_TO).fetchone()
    assert row is not None
    return Complete(*row)
