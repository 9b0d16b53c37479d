"""Figures of the whole ledger for metrics, from a few statements whose cost is bounded."""

from typing import NamedTuple

from sqlalchemy import Connection

from core.base.db import driver
from core.ledger.store.waiting import WAITING

COUNTED = 50_000
"""The largest number of rows of one kind that is counted. Where there are more, the figure stays at it."""

OVERDUE_S = 10
"""The time after its date at which a hold that was not settled is overdue."""


class Line(NamedTuple):
    """One queue: how much waits in it, for how long, and how much it has decided."""

    queue: int
    depth: int
    oldest_age_s: float
    """The age of the oldest posting that waits. It is 0 when none does."""
    decided: int


class Figures(NamedTuple):
    """The figures of a ledger at one time."""

    last_seq: int
    """The number of rows of the log, because its order has no gaps."""
    lines: list[Line]
    holds_open: int
    holds_overdue: int
    runs: dict[str, int]
    """The number of unfinished funding runs by status."""


_LAST_SEQ = """
    SELECT coalesce(max(seq), 0)
    FROM log
"""

_LINES = f"""
    SELECT number, depth, coalesce(extract(epoch FROM clock_timestamp() - oldest_at), 0)::float, decided
    FROM queues
    CROSS JOIN LATERAL (
        SELECT count(*) AS depth
        FROM (
            SELECT seq
            FROM log
            WHERE {WAITING}
            ORDER BY queue, seq
            LIMIT %(counted)s
        ) AS each
    ) AS line
    LEFT JOIN LATERAL (
        SELECT accepted_at AS oldest_at
        FROM log
        WHERE {WAITING}
        ORDER BY queue, seq
        LIMIT 1
    ) AS oldest ON true
    ORDER BY number
"""

_HOLDS = """
    SELECT
        (SELECT count(*) FROM (SELECT FROM holds WHERE settled_at IS NULL LIMIT %(counted)s) AS open),
        (
            SELECT count(*)
            FROM (
                SELECT
                FROM due
                WHERE at < clock_timestamp() - make_interval(secs => %(overdue_s)s)
                LIMIT %(counted)s
            ) AS overdue
        )
"""

_RUNS = """
    SELECT status, count(*)
    FROM funding_runs
    WHERE status IN ('PENDING', 'POSTING', 'POSTED')
    GROUP BY status
"""

# Balances are the rows of today, so the cost grows with their number. The caller asks seldom.
_SUMS = """
    SELECT currency, sum(balance)
    FROM balances
    GROUP BY currency
    ORDER BY currency
"""


def read(conn: Connection) -> Figures:
    """Read the figures that cost little."""
    (last_seq,) = driver(conn).execute(_LAST_SEQ).fetchone() or (0,)
    lines = [Line(*row) for row in driver(conn).execute(_LINES, {"counted": COUNTED})]
    holds = driver(conn).execute(_HOLDS, {"counted": COUNTED, "overdue_s": OVERDUE_S}).fetchone()
    assert holds is not None
    return Figures(last_seq, lines, holds[0], holds[1], dict(driver(conn).execute(_RUNS).fetchall()))


def sums(conn: Connection) -> dict[str, int]:
    """Add up all balances of each currency, which makes zero. It reads every balance."""
    return dict(driver(conn).execute(_SUMS).fetchall())
