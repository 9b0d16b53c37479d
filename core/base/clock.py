"""The database's clock, which all decisions use, and how far the clock of this host is off it.

The hosts of a service may have different clocks, and a clock may be set back. So whatever is compared with a time in the
database is read from the database. A duration within one process comes from ``time.monotonic``.
"""

import time
from datetime import datetime

from sqlalchemy import Connection, Engine

from core.base.db import driver, reading

ROUND_TRIPS = 3
"""The number of readings of which ``off_s`` takes the quickest."""

QUICK_S = 0.005
"""A reading that took no longer is good enough."""

_NOW = "SELECT clock_timestamp()"


def now(conn: Connection) -> datetime:
    """Read the database's clock."""
    row = driver(conn).execute(_NOW).fetchone()
    assert row is not None and isinstance(row[0], datetime)
    return row[0]


def now_of(engine: Engine) -> datetime:
    """Read the database's clock on a connection of its own.

    Raises:
        TransientError: the database was busy or gone.
    """
    with reading(engine) as conn:
        return now(conn)


def off_s(conn: Connection) -> float:
    """Measure how many seconds the clock of this host is ahead of the database's. It is negative when it is behind.

    The database reads its clock somewhere within a round trip, so the middle of a quick one counts, or of the quickest of a
    few. The result is wrong by half of that round trip at most.
    """
    readings = []
    for _ in range(ROUND_TRIPS):
        before, began = time.time(), time.monotonic()
        at = now(conn).timestamp()
        took = time.monotonic() - began
        readings.append((took, before + took / 2 - at))
        if took <= QUICK_S:
            break
    return min(readings)[1]
