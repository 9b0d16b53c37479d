"""Writes the sums of flows and activity, and reads how far they go."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from core.base.db import driver
from core.flows.periods import LENGTHS_S
from core.ledger.store.queues import WAITING

# The cursor is locked, so that one process adds at a time. log_pkey and log_queue_seq_idx serve the rest, with one probe for
# each queue. Head and line are read in one snapshot: what is accepted later is beyond the head.
_NEXT = f"""
    SELECT rollups.seq, least(rollups.seq + %(limit)s, head.seq, line.first - 1)
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
"""

# log_pkey and outcomes_pkey are walked side by side. A split (5) has no outcome, and so it is in neither. Balances are looked
# up by their keys. An internal balance is the node of its own key, and a ledger that of its key below zero. The sums are those of
# new minutes, hours and days, or are added to them.
_ADD = """
    WITH decided AS MATERIALIZED (
        SELECT
            date_bin('1 minute', log.accepted_at, 'epoch') AS minute,
            log.currency,
            log.precision,
            outcomes.status,
            outcomes.amount,
            outcomes.source,
            outcomes.destination
        FROM log
        JOIN outcomes ON outcomes.seq = log.seq
        WHERE log.seq BETWEEN %(first)s AND %(last)s
          AND outcomes.seq BETWEEN %(first)s AND %(last)s
    ),
    moved AS (
        SELECT
            minute,
            decided.currency,
            CASE WHEN s.indicator IS NULL THEN -s.ledger ELSE s.id END AS source,
            CASE WHEN d.indicator IS NULL THEN -d.ledger ELSE d.id END AS destination,
            sum(amount) AS amount,
            max(precision) AS precision,
            sum(count) AS count
        FROM (
            SELECT
                minute, currency, source, destination,
                sum(amount) AS amount, max(precision) AS precision, count(*) AS count
            FROM decided
            WHERE status = 1
            GROUP BY minute, currency, source, destination
        ) AS decided
        JOIN balances AS s ON s.id = decided.source
        JOIN balances AS d ON d.id = decided.destination
        GROUP BY 1, 2, 3, 4
    ),
    new_flows AS (
        INSERT INTO flows AS old (length_s, at, currency, source, destination, amount, precision, count)
        SELECT
            length_s, date_bin(make_interval(secs => length_s), minute, 'epoch'), currency, source, destination,
            sum(amount), max(precision), sum(count)
        FROM moved
        CROSS JOIN unnest(%(lengths)s::int[]) AS length (length_s)
        GROUP BY 1, 2, 3, 4, 5
        ORDER BY 1, 2, 3, 4, 5
        ON CONFLICT (length_s, at, currency, source, destination) DO UPDATE
        SET amount = old.amount + excluded.amount,
            precision = greatest(old.precision, excluded.precision),
            count = old.count + excluded.count
    ),
    new_activity AS (
        INSERT INTO activity AS old (length_s, at, accepted, applied, inflight, rejected)
        SELECT
            length_s, date_bin(make_interval(secs => length_s), minute, 'epoch'),
            count(*),
            count(*) FILTER (WHERE status = 1),
            count(*) FILTER (WHERE status = 2),
            count(*) FILTER (WHERE status = 4)
        FROM decided
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
    SET seq = %(last)s
"""

# log_pkey serves both.
_COMPLETE_TO = """
    SELECT coalesce(next.accepted_at, clock_timestamp()), clock_timestamp()
    FROM rollups
    LEFT JOIN LATERAL (
        SELECT accepted_at
        FROM log
        WHERE log.seq > rollups.seq
        ORDER BY log.seq
        LIMIT 1
    ) AS next ON true
"""


class Complete(NamedTuple):
    """How far the sums go."""

    to: datetime
    """Everything that was accepted before this time is added."""
    now: datetime


def add_chunk(conn: Connection, limit: int) -> int:
    """Add the next rows of the log, at most ``limit``, if all before them are decided. Returns their number.

    The caller commits. It adds nothing while another process does.
    """
    row = driver(conn).execute(_NEXT, {"limit": limit}).fetchone()
    if row is None:
        return 0
    after, last = row
    if last <= after:
        return 0
    driver(conn).execute(_ADD, {"first": after + 1, "last": last, "lengths": list(LENGTHS_S)})
    return int(last - after)


def complete(conn: Connection) -> Complete:
    """Read how far the sums go."""
    row = driver(conn).execute(_COMPLETE_TO).fetchone()
    assert row is not None
    return Complete(*row)
