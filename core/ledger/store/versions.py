"""Finds the versions of a balance that were decided within a time, by bisection, so that no long history is walked.

Each version is decided after the one before it, but for what the clock did meanwhile. The bounds that are found leave room
for a clock that was set back by an hour, so what lies between them is still compared with the times. In an hour a balance may
have millions of entries, so the spans of the balance, which know their times, shorten what is compared.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection

from core.base.db import driver
from core.ledger.store import spans

ROOM = timedelta(hours=1)
"""The clock may have been set back by so much."""

_EVER, _NEVER = datetime.min.replace(tzinfo=UTC) + ROOM, datetime.max.replace(tzinfo=UTC) - ROOM

# Each step reads one row of either side by outcomes_source_version_idx or outcomes_destination_version_idx.
_VERSIONS = """
    WITH RECURSIVE search (ordinal, at, low, high) AS (
        SELECT ordinal, at, 1::bigint, (SELECT version + 1 FROM balances WHERE id = %(key)s)
        FROM unnest(%(times)s::timestamptz[]) WITH ORDINALITY AS given (at, ordinal)
        UNION ALL
        SELECT
            ordinal,
            at,
            CASE WHEN decided_at < at THEN version + 1 ELSE low END,
            CASE WHEN decided_at < at THEN high ELSE (low + high) / 2 END
        FROM search
        LEFT JOIN LATERAL (
            SELECT version, decided_at
            FROM (
                (
                    SELECT source_version AS version, decided_at
                    FROM outcomes
                    WHERE source = %(key)s AND source_version >= (low + high) / 2 AND source_version < high
                    ORDER BY source_version
                    LIMIT 1
                )
                UNION ALL
                (
                    SELECT destination_version, decided_at
                    FROM outcomes
                    WHERE destination = %(key)s AND destination_version >= (low + high) / 2 AND destination_version < high
                    ORDER BY destination_version
                    LIMIT 1
                )
            ) AS sides
            ORDER BY version
            LIMIT 1
        ) AS middle ON true
        WHERE low < high
    )
    SELECT low
    FROM search
    WHERE low >= high
    ORDER BY ordinal
"""


# The last version before the first span that ends within a time, that of the last span that begins by then, and the last.
_SPANS = """
    SELECT
        coalesce(
            (
                SELECT min(last) - %(size)s::bigint
                FROM spans
                WHERE balance = %(key)s AND part = 0 AND last_decided_at >= %(since)s
            ),
            max(last),
            0
        ),
        coalesce(max(last) FILTER (WHERE part = 0 AND first_decided_at < %(until)s), 0),
        coalesce(max(last), 0)
    FROM spans
    WHERE balance = %(key)s
"""


class Range(NamedTuple):
    """The versions above one, and before another."""

    above: int
    end: int


def ranges(conn: Connection, key: int, between: tuple[datetime | None, datetime | None]) -> list[Range]:
    """Find the ranges of versions, in order, in which all entries of a balance lie that were decided within a time."""
    since, until = between
    if since is None and until is None:
        return [Range(0, 2**63 - 1)]
    first, end = bounds(conn, key, between)
    values = {"key": key, "since": since or "-infinity", "until": until or "infinity", "size": spans.SIZE}
    before, begun, newest = driver(conn).execute(_SPANS, values).fetchall()[0]
    above = max(first - 1, before)
    parts = (
        [Range(above, min(end, begun + 1)), Range(max(above, newest), end)] if begun < newest else [Range(above, end)]
    )
    return [part for part in parts if part.above + 1 < part.end]


def bounds(conn: Connection, key: int, between: tuple[datetime | None, datetime | None]) -> tuple[int, int]:
    """Find a version from which on, and one before which, all entries of a balance lie that were decided within a time."""
    since, until = between
    if since is None and until is None:
        return 0, 2**63 - 1
    times = [max(since or _EVER, _EVER) - ROOM, min(until or _NEVER, _NEVER) + ROOM]
    first, end = driver(conn).execute(_VERSIONS, {"key": key, "times": times}, prepare=False).fetchall()
    return first[0], end[0]
