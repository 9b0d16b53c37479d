"""Finds the rows of the log that were accepted within a time, by their positions.

``accepted_at`` never falls along ``seq``: an append takes the later of the clock and the time of the row before it. So a
time is a range of positions, which is found by bisection, and the log needs no index on its times. A release before this
rule took the clock as it was, so its rows may fall where the clock was set back. ``clock_falls`` names the first row after
each fall, and each stretch between them is searched for itself.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection

from core.base.db import driver


class Range(NamedTuple):
    """Positions from ``first`` on, and before ``end``."""

    first: int
    end: int


# Each step reads one row by the primary key. A step that finds none above the middle goes on below it.
_POSITIONS = """
    WITH RECURSIVE stretches (number, first, stop) AS (
        SELECT
            row_number() OVER (ORDER BY first),
            first,
            lead(first, 1, (SELECT coalesce(max(seq), 0) + 1 FROM log)) OVER (ORDER BY first)
        FROM (SELECT 0::bigint AS first UNION SELECT seq FROM clock_falls) AS firsts
    ),
    search (stretch, ordinal, at, low, high) AS (
        SELECT number, ordinal, at, first, stop
        FROM stretches
        CROSS JOIN unnest(%(times)s::timestamptz[]) WITH ORDINALITY AS given (at, ordinal)
        UNION ALL
        SELECT
            stretch,
            ordinal,
            at,
            CASE WHEN accepted_at < at THEN seq + 1 ELSE low END,
            CASE WHEN accepted_at < at THEN high ELSE (low + high) / 2 END
        FROM search
        LEFT JOIN LATERAL (
            SELECT seq, accepted_at
            FROM log
            WHERE seq >= (low + high) / 2 AND seq < high
            ORDER BY seq
            LIMIT 1
        ) AS middle ON true
        WHERE low < high
    )
    SELECT stretch, ordinal, low
    FROM search
    WHERE low >= high
    ORDER BY stretch, ordinal
"""


def ranges(conn: Connection, intervals: Sequence[tuple[datetime, datetime]]) -> list[Range]:
    """Find the positions of the rows that were accepted in one of these intervals, from each start on and before its end.

    There is one range for each interval, and more if the clock was set back in the past. None is empty.
    """
    if not intervals:
        return []
    times = [time for interval in intervals for time in interval]
    rows = driver(conn).execute(_POSITIONS, {"times": times}).fetchall()
    found = []
    for start in range(0, len(rows), len(times)):
        positions = [low for _, _, low in rows[start : start + len(times)]]
        found += [Range(*pair) for pair in zip(positions[::2], positions[1::2], strict=True) if pair[0] < pair[1]]
    return found


def around(conn: Connection, ats: Sequence[datetime | None]) -> list[Range]:
    """Find, for each time, the positions outside of which no row needs a look to be compared with it.

    Rows before ``first`` were accepted earlier, and rows from ``end`` on later. If the clock was set back in the past, or
    for None, nothing is known, and the range has all rows.
    """
    times = [_within(at) for at in ats if at is not None]
    rows = driver(conn).execute(_POSITIONS, {"times": [*times, *(at + _MOMENT for at in times)]}).fetchall()
    if len(rows) > 2 * len(times):
        return [EVERYWHERE for _ in ats]
    lows = [int(low) for _, _, low in rows]
    found = map(Range, lows[: len(times)], lows[len(times) :])
    return [EVERYWHERE if at is None else next(found) for at in ats]


def _within(at: datetime) -> datetime:
    """Move a time to one that the database can add a moment to."""
    return max(min(at, _LATEST), _EARLIEST)


_MOMENT = timedelta(microseconds=1)
_EARLIEST, _LATEST = (
    datetime.min.replace(tzinfo=UTC) + timedelta(days=2),
    datetime.max.replace(tzinfo=UTC) - timedelta(days=2),
)
EVERYWHERE = Range(0, 2**62)
"""The range of all rows."""


def first_since(conn: Connection, at: datetime) -> int:
    """Find the position from which on all rows were accepted at this time or later. Earlier rows may have been, too."""
    rows = driver(conn).execute(_POSITIONS, {"times": [at]}).fetchall()
    return max(int(low) for _, _, low in rows)
