"""Reads what waits in the queues: the line of each, how long and how old it is. It locks nothing."""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, text

from core.base.db import driver

WAITING = "(queue, seq) > (number, cursor) AND queue <= number"
"""The condition that a row of the log is undecided in the queue ``number``, which is decided up to ``cursor``.

It is a position in log_queue_seq_idx, and its reader sorts by queue and seq. Where one queue has all of the history,
the planner takes ``queue = number`` for true, and would walk through all of the log by seq.
"""


COUNTED = 10_000
"""The largest number of waiting postings of a queue that are counted for an answer. Where more wait, the count stays at it."""


class Line(NamedTuple):
    """The line of postings that wait in one queue."""

    number: int
    cursor: int
    first: int
    """The seq of the first posting that waits."""


class AgedLine(NamedTuple):
    """The line of postings that wait in one queue, and how old it is."""

    number: int
    first: int
    """The seq of the first posting that waits."""
    age_s: float
    last: int
    """The last seq of the log, in whatever queue."""
    queues: int
    """The number of queues."""


HAS_WORK = f"""
    (
        SELECT seq
        FROM log
        WHERE {WAITING}
        ORDER BY queue, seq
        LIMIT 1
    ) IS NOT NULL
""".strip()
"""The condition that something waits in a row of ``queues``. Of EXISTS, the planner might make a join with all of the log."""

# Every drain asks it after its commits.
_WITH_WORK = f"""
    SELECT number
    FROM queues
    WHERE {HAS_WORK}
    ORDER BY number
"""

# The oldest posting that waits, of each queue that has one. It is served by the index of what waits.
_FROM_OLDEST = f"""
    FROM queues
    CROSS JOIN LATERAL (
        SELECT accepted_at
        FROM log
        WHERE {WAITING}
        ORDER BY queue, seq
        LIMIT 1
    ) AS oldest
""".strip()

# A posting from the future was accepted before the database's clock was set back, so its age is unknown.
_WITH_OLD_WORK = f"""
    SELECT number
    {_FROM_OLDEST}
    WHERE accepted_at <= clock_timestamp() - make_interval(secs => %(age)s)
       OR accepted_at > clock_timestamp()
    ORDER BY number
"""

_FIRST_WAITING = f"""
    SELECT number, seq
    FROM queues
    CROSS JOIN LATERAL (
        SELECT seq
        FROM log
        WHERE {WAITING}
        ORDER BY queue, seq
        LIMIT 1
    ) AS oldest
    WHERE number <> ALL(%(but)s)
"""

_LINES = f"""
    SELECT number, cursor, first
    FROM queues
    CROSS JOIN LATERAL (
        SELECT seq AS first
        FROM log
        WHERE {WAITING}
        ORDER BY queue, seq
        LIMIT 1
    ) AS line
"""

_LINES_BY_AGE = f"""
    SELECT
        number,
        first,
        extract(epoch FROM clock_timestamp() - oldest_at)::float,
        (SELECT max(seq) FROM log),
        (SELECT count(*) FROM queues)
    FROM queues
    CROSS JOIN LATERAL (
        SELECT seq AS first, accepted_at AS oldest_at
        FROM log
        WHERE {WAITING}
        ORDER BY queue, seq
        LIMIT 1
    ) AS line
"""

# It stops at the limit in each queue, so it never counts a line of millions. log_queue_seq_idx has all that it reads.
_DEPTHS = f"""
    SELECT number, depth
    FROM queues
    CROSS JOIN LATERAL (
        SELECT count(*) AS depth
        FROM (
            SELECT
            FROM log
            WHERE {WAITING}
            ORDER BY queue, seq
            LIMIT %(limit)s
        ) AS each
    ) AS line
    WHERE depth > 0
"""

_LAST_WAITING = f"""
    SELECT number, seq
    FROM queues
    CROSS JOIN LATERAL (
        SELECT seq
        FROM log
        WHERE {WAITING}
        ORDER BY queue DESC, seq DESC
        LIMIT 1
    ) AS last
    ORDER BY number
"""

_OVERDUE = f"""
    SELECT number, max(seq), count(*)
    FROM queues
    CROSS JOIN LATERAL (
        SELECT seq, accepted_at
        FROM log
        WHERE {WAITING}
        ORDER BY queue, seq
        LIMIT %(limit)s
    ) AS line
    WHERE accepted_at <= clock_timestamp() - make_interval(secs => %(age)s)
    GROUP BY number
    ORDER BY number
"""

_OLDEST_AGE = text(
    f"""
    SELECT extract(epoch FROM clock_timestamp() - min(accepted_at))::float
    {_FROM_OLDEST}
    """
)

_STILL = text(
    f"""
    SELECT least(
        max(abs(extract(epoch FROM clock_timestamp() - accepted_at))),
        (SELECT min(abs(extract(epoch FROM clock_timestamp() - drained_at))) FROM queues)
    )::float
    {_FROM_OLDEST}
    """
)


def with_work(conn: Connection, *, older_than_s: float | None = None) -> list[int]:
    """List the queues that have a posting to decide. Locks nothing.

    ``older_than_s`` limits the search to postings of at least this age.
    """
    if older_than_s is None:
        rows = driver(conn).execute(_WITH_WORK)
    else:
        rows = driver(conn).execute(_WITH_OLD_WORK, {"age": older_than_s})
    return [number for (number,) in rows.fetchall()]


def first_waiting(conn: Connection, *, but: Collection[int]) -> dict[int, int]:
    """Read the first undecided seq of each queue that has one, except the queues in ``but``.

    The answer is out of date at once, and can only be too low.
    """
    return dict(driver(conn).execute(_FIRST_WAITING, {"but": list(but)}).fetchall())


def lines(conn: Connection) -> list[Line]:
    """Read the line of each queue in which something waits."""
    return [Line(*row) for row in driver(conn).execute(_LINES).fetchall()]


def lines_by_age(conn: Connection) -> list[AgedLine]:
    """Read the line of each queue in which something waits. It reads one posting of each, and counts nothing."""
    return [AgedLine(*row) for row in driver(conn).execute(_LINES_BY_AGE).fetchall()]


def depths(conn: Connection, limit: int) -> dict[int, int]:
    """Count what waits in each queue that has work, up to ``limit`` postings in each. Locks nothing."""
    return dict(driver(conn).execute(_DEPTHS, {"limit": limit}).fetchall())


def last_waiting(conn: Connection) -> dict[int, int]:
    """Read the last undecided seq of each queue that has one."""
    return dict(driver(conn).execute(_LAST_WAITING).fetchall())


def overdue(conn: Connection, older_than_s: float) -> dict[int, tuple[int, int]]:
    """Find the queues in which postings have waited for too long: the last seq of these, and how many they are.

    It looks at the first ``COUNTED`` of each queue.
    """
    rows = driver(conn).execute(_OVERDUE, {"age": older_than_s, "limit": COUNTED})
    return {number: (last, count) for number, last, count in rows.fetchall()}


def oldest_age_s(conn: Connection) -> float | None:
    """Read the age in seconds of the oldest undecided posting. Returns None when all are decided."""
    age: float | None = conn.execute(_OLDEST_AGE).scalar_one()
    return age


def still_s(conn: Connection) -> float | None:
    """Read for how many seconds postings have waited while no queue moved. Returns None when all are decided."""
    age: float | None = conn.execute(_STILL).scalar_one()
    return age
