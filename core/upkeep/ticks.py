"""Ticks: what must happen again and again, when it is due, and the claim of one that is due.

The table ``ticks`` has a row for each tick, with the start and the end of its last run. A tick is due by that row and by
the database's clock alone. So it does not matter who asks, how often, or when: beat, two beats, or a worker that stands in
for beat. A claim makes a tick run once, and a claim whose process died is free again after ``lease_s``.
"""

from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Connection

from core.base.db import driver


class Tick(StrEnum):
    """The ticks, in the order in which a process does them."""

    SWEEP = "sweep"
    """Rings for the queues whose oldest posting waits too long."""
    DUE = "due"
    """Accepts what has its date now."""
    FUND = "fund"
    """Starts and advances the runs of funding jobs."""
    FLOWS = "flows"
    """Adds what is decided to the sums of flows and activity."""
    SLICE = "slice"
    """Verifies the next slice of the history."""
    VERIFY = "verify"
    """Verifies what is new since the last checkpoint, and writes the next one."""
    FORGET = "forget"
    """Removes old idempotency keys, events and sums of flows."""
    SPANS = "spans"
    """Adds up each thousand entries of a balance where ``FLOWS`` has left any."""
    SNAPSHOT = "snapshot"
    """Takes snapshots of the balances that changed."""


class Rate(NamedTuple):
    """How often a tick is due, in seconds."""

    every_s: float
    """The time from the start of one run to the start of the next."""
    lease_s: float
    """A run that has not ended after so long may be claimed by another process."""
    daily_at_s: float | None = None
    """The second of the day (UTC) from which on the tick is due once a day. ``every_s`` does not count then."""


SECOND_S = 0.9
"""The least time between two runs of a tick that is due each second. It leaves room for a beat that is a little early."""

RATES: dict[Tick, Rate] = {
    Tick.SWEEP: Rate(SECOND_S, lease_s=5),
    Tick.DUE: Rate(SECOND_S, lease_s=5),
    Tick.FUND: Rate(SECOND_S, lease_s=5),
    Tick.FLOWS: Rate(SECOND_S, lease_s=5),
    Tick.SLICE: Rate(60, lease_s=60),
    Tick.VERIFY: Rate(3600, lease_s=60),
    Tick.FORGET: Rate(3600, lease_s=60),
    Tick.SPANS: Rate(3600, lease_s=15),
    Tick.SNAPSHOT: Rate(86_400, lease_s=60, daily_at_s=300.0),
}
"""The rate of each tick. An altered row that is new is found within an hour, because ``VERIFY`` runs so often."""

# The row of each tick is locked until the commit, and a tick that another process is claiming is left to it. A start in
# the future is that of a clock that was set back since, so it does not count.
_CLAIM = """
    WITH rates AS (
        SELECT *
        FROM unnest(%(names)s::text[], %(every)s::float[], %(lease)s::float[], %(daily_at)s::float[])
            AS rate (rate_name, every_s, lease_s, daily_at_s)
    ),
    missing AS (
        INSERT INTO ticks (name, started_at, by)
        SELECT rate_name, clock_timestamp(), %(by)s
        FROM rates
        WHERE NOT EXISTS (SELECT FROM ticks WHERE name = rate_name)
        ON CONFLICT DO NOTHING
        RETURNING name
    ),
    due AS (
        SELECT name
        FROM ticks
        JOIN rates ON rate_name = name
        WHERE CASE
            WHEN started_at IS NULL OR started_at > clock_timestamp() + interval '1 second' THEN true
            WHEN ended_at IS NULL OR ended_at < started_at
                THEN started_at <= clock_timestamp() - make_interval(secs => lease_s + %(late)s)
            WHEN daily_at_s IS NOT NULL
                THEN ended_at < date_trunc('day', clock_timestamp() - make_interval(secs => daily_at_s), 'UTC')
                    + make_interval(secs => daily_at_s)
            ELSE started_at <= clock_timestamp() - make_interval(secs => every_s + %(late)s)
        END
        FOR NO KEY UPDATE OF ticks SKIP LOCKED
    ),
    claimed AS (
        UPDATE ticks
        SET started_at = clock_timestamp(), by = %(by)s
        FROM due
        WHERE ticks.name = due.name
        RETURNING ticks.name
    )
    SELECT name FROM missing
    UNION ALL
    SELECT name FROM claimed
"""

_GO_ON = """
    UPDATE ticks
    SET started_at = clock_timestamp(), by = %(by)s
    WHERE name = %(name)s
"""

_END = """
    UPDATE ticks
    SET ended_at = clock_timestamp()
    WHERE name = ANY(%(names)s)
"""


def claim(conn: Connection, by: str, *, late_s: float = 0.0, names: tuple[Tick, ...] = tuple(Tick)) -> list[Tick]:
    """Claim the ticks that have been due for ``late_s`` seconds, and return them in the order of ``Tick``.

    Two processes never claim the same tick at a time. The caller commits, runs each tick and calls ``end``.
    """
    rates = [RATES[name] for name in names]
    claimed = driver(conn).execute(
        _CLAIM,
        {
            "names": list(names),
            "every": [float(rate.every_s) for rate in rates],
            "lease": [float(rate.lease_s) for rate in rates],
            "daily_at": [rate.daily_at_s for rate in rates],
            "late": late_s,
            "by": by,
        },
    )
    found = {name for (name,) in claimed}
    return [name for name in names if name in found]


def go_on(conn: Connection, name: Tick, by: str) -> None:
    """Record that a run that takes many steps is alive, so that nobody else claims it."""
    driver(conn).execute(_GO_ON, {"name": name, "by": by})


def end(conn: Connection, *names: Tick) -> None:
    """Record that runs of ticks have ended."""
    driver(conn).execute(_END, {"names": list(names)})
