"""Statements of the health checks: can the database be written and keeps it that, do ticks come, was the last verification sound.

All ages are counted by the database's clock, so that no two clocks are compared.
"""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from core.base.db import driver


class Ticked(NamedTuple):
    """One kind of tick: when it was last done, and by whom."""

    name: str
    at: datetime | None
    late_s: float | None
    """The time since it last began. None if it never did."""
    by: str


class Verified(NamedTuple):
    """The newest verification, and whether an unsound one still counts."""

    at: datetime
    age_s: float
    kind: str
    last_seq: int
    problem_count: int
    """The number of problems that the newest verification of each kind found."""
    unsound_at: datetime | None


class Sealed(NamedTuple):
    """The newest seal of the notary."""

    number: int
    at: datetime
    age_s: float
    last_seq: int
    unsealed: int
    """The number of rows of the log after it."""
    unsealed_s: float
    """The time since the first of these rows was accepted; 0 when there is none."""


# The rows do not fit into 64 kB, so they go to a file. That needs room on the disk where the tables grow too, while a
# heartbeat alone only changes a page that is there already. Some long rows cost a fifth of many short ones.
_NEEDS_ROOM = """
    SELECT count(*)
    FROM unnest(array_fill(repeat('x', 1000), ARRAY[140]))
"""

_TICKS = """
    SELECT name, started_at, extract(epoch FROM clock_timestamp() - started_at)::float, by
    FROM ticks
    ORDER BY name
"""

# A kind is sound again when its newest verification is. One that found damage stays at it, so it does not hide it.
_VERIFIED = """
    SELECT
        newest.at,
        extract(epoch FROM clock_timestamp() - newest.at)::float,
        newest.kind,
        newest.last_seq,
        coalesce(unsound.problem_count, 0)::int,
        unsound.at
    FROM (
        SELECT at, kind, last_seq
        FROM verifications
        ORDER BY id DESC
        LIMIT 1
    ) AS newest
    CROSS JOIN (
        SELECT sum(problem_count) AS problem_count, min(at) AS at
        FROM (
            SELECT DISTINCT ON (kind) problem_count, at
            FROM verifications
            ORDER BY kind, id DESC
        ) AS last
        WHERE problem_count > 0
    ) AS unsound
"""

# Three probes of indexes.
_SEALED = """
    SELECT
        number,
        made_at,
        extract(epoch FROM clock_timestamp() - made_at)::float,
        last_seq,
        greatest(coalesce((SELECT max(seq) FROM log), 0) - last_seq, 0),
        coalesce(
            (SELECT extract(epoch FROM clock_timestamp() - accepted_at)::float FROM log WHERE seq = last_seq + 1), 0
        )
    FROM seals
    ORDER BY number DESC
    LIMIT 1
"""

# What is due and was not done is served by scheduled_due_idx, and short. There is a row for each run, and few are refused.
_REFUSED = """
    (
        SELECT 'txn_' || id
        FROM scheduled
        WHERE cancelled_at IS NULL AND refused_at IS NOT NULL AND due_at <= clock_timestamp()
        ORDER BY due_at
        LIMIT 100
    )
    UNION ALL
    SELECT 'run_' || id
    FROM funding_runs
    WHERE status = 'REFUSED' AND refusal ->> 'reason' = 'ALTERED' AND ended_at > clock_timestamp() - interval '1 day'
"""

_LEDGER_AGE = """
    SELECT extract(epoch FROM clock_timestamp() - made_at)::float
    FROM identity
"""

# A server whose data nobody will miss, such as that of a test, says so with a setting of its own.
_LOSING = """
    SELECT name
    FROM unnest(ARRAY['fsync', 'full_page_writes']) AS name
    WHERE current_setting(name) = 'off'
      AND coalesce(current_setting('pacioli.throwaway', true), '') <> 'on'
    ORDER BY name
"""

# The private Postgres has another name for its folder, and tells us the one that is good for all.
_DATA_FOLDER = """
    SELECT coalesce(
        nullif(current_setting('pacioli.data_folder', true), ''),
        (SELECT setting FROM pg_settings WHERE name = 'data_directory')
    )
"""


def need_room(conn: Connection) -> None:
    """Write a file of more than 100 kB on the database's disk, which goes with the statement.

    Raises:
        psycopg.errors.DiskFull: there is no room.
    """
    driver(conn).execute("SET LOCAL work_mem = '64kB'")
    driver(conn).execute(_NEEDS_ROOM)


def wait_for_locks(conn: Connection, seconds: float) -> None:
    """Let this transaction wait for a lock for so long at most."""
    driver(conn).execute("SELECT set_config('lock_timeout', %s, true)", (f"{seconds * 1000:.0f}ms",))


def ticks(conn: Connection) -> list[Ticked]:
    """List the kinds of ticks that were ever done."""
    return [Ticked(*row) for row in driver(conn).execute(_TICKS)]


def refused(conn: Connection) -> list[str]:
    """List the scheduled transactions and the runs of the last day that were due, and had been altered before."""
    return [id for (id,) in driver(conn).execute(_REFUSED).fetchall()]


def sealed(conn: Connection) -> Sealed | None:
    """Read the newest seal; None when there is none."""
    row = driver(conn).execute(_SEALED).fetchone()
    return None if row is None else Sealed(*row)


def verified(conn: Connection) -> Verified | None:
    """Read the result of the verifications. Returns None if there was none."""
    row = driver(conn).execute(_VERIFIED).fetchone()
    return None if row is None else Verified(*row)


def ledger_age_s(conn: Connection) -> float:
    """Read the time since this ledger was made."""
    row = driver(conn).execute(_LEDGER_AGE).fetchone()
    return 0.0 if row is None else float(row[0])


def losing(conn: Connection) -> list[str]:
    """List the settings of the server with which a crash of its host loses what was accepted, or damages the rest."""
    return [name for (name,) in driver(conn).execute(_LOSING)]


def data_folder(conn: Connection) -> str | None:
    """Read the folder of the database's files on its host, if this role may know it."""
    row = driver(conn).execute(_DATA_FOLDER).fetchone()
    return None if row is None or row[0] is None else str(row[0])
