"""The advisory locks of the ledger's database: one number each, held until the transaction ends."""

from enum import IntEnum, unique

from sqlalchemy import Connection

from core.base.db import driver


@unique
class AdvisoryLock(IntEnum):
    """Every advisory lock there is.

    Whoever needs two takes ``FUND`` first and ``APPEND`` last; the others are taken alone.

    A number must never change while an older release may still run: its processes would hold the old number, and the
    two releases would no longer exclude each other.
    """

    APPEND = 7_203_401
    """Whoever appends to the log takes it, so that the order of ``seq`` is the order of the commits."""
    CHECKPOINT = 7_203_402
    """Whoever adds a checkpoint takes it, so that each checkpoint covers the one before it. A fork could never be mended."""
    MIGRATE = 7_203_403
    """Whoever migrates the database takes it, so that one migration runs at a time."""
    FUND = 7_203_404
    """Whoever takes a step of a funding run tries to take it. One at a time is as fast as many, and leaves room for
    everything else; and a run that starts sees each step of the others whole."""


def take(conn: Connection, lock: AdvisoryLock) -> None:
    """Wait for the lock, and hold it until the transaction ends.

    Raises:
        TransientError: the lock was not had in time.
    """
    driver(conn).execute("SELECT pg_advisory_xact_lock(%s)", (lock,))


def try_take(conn: Connection, lock: AdvisoryLock) -> bool:
    """Hold the lock until the transaction ends, unless somebody else holds it: then return False at once."""
    row = driver(conn).execute("SELECT pg_try_advisory_xact_lock(%s)", (lock,)).fetchone()
    assert row is not None
    return bool(row[0])
