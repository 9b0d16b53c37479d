"""Names the advisory locks of the ledger's database, and takes them until the transaction ends."""

from enum import IntEnum, unique

from sqlalchemy import Connection

from core.base.db import driver


@unique
class AdvisoryLock(IntEnum):
    """The advisory locks of the ledger.

    A caller that needs two takes ``FUND`` first, then ``APPEND``, ``PLEDGE``, and ``AUDIT`` last. The others are taken
    alone, or before ``AUDIT``.

    A number must never change while an older release may still run. The processes of that release would hold the old
    number, and the two releases would no longer exclude each other.

    Postgres keeps these locks for a whole database, which may have several ledgers, each in a schema of its own. In the
    schema ``public`` the number is the key. Elsewhere the object ID of the ledger's table ``log`` is added, as the key's upper
    half. ``pg_locks`` shows the halves as ``classid`` and ``objid``. ``MIGRATE`` has the object ID of the schema, for it is
    taken before there are tables.
    """

    APPEND = 7_203_401
    """An append to the log takes it, so that the order of ``seq`` is the order of the commits."""
    CHECKPOINT = 7_203_402
    """A new checkpoint takes it, so that each checkpoint covers the one before it. A fork could never be mended."""
    MIGRATE = 7_203_403
    """A migration takes it, so that one migration runs at a time."""
    FUND = 7_203_404
    """A step of a funding run tries to take it, so that one step runs at a time.

    One at a time is as fast as many, and leaves room for everything else. A run that starts sees each step of the others
    whole.
    """
    PLEDGE = 7_203_406
    """An addition to the pledges takes it, so that each chains to the one before it."""
    AUDIT = 7_203_405
    """An addition to the audit log takes it, so that each row chains to the one before it."""


_KEY = """
    %(lock)s + CASE WHEN 'log'::regclass = to_regclass('public.log') THEN 0 ELSE 'log'::regclass::oid::bigint << 32 END
""".strip()

_MIGRATE_KEY = """
    %(lock)s + CASE
        WHEN current_schema() = 'public' THEN 0
        ELSE quote_ident(current_schema())::regnamespace::oid::bigint << 32
    END
""".strip()

BOUNDS = """
    set_config('lock_timeout', '2s', true),
    set_config('idle_in_transaction_session_timeout', '15s', true)
""".strip()
"""Bounds of a transaction that takes a lock which everybody needs. Expressions cost no statement of their own.

Whoever waits for a lock in vain looks for a holder that stands still, and tries again (``fence.py``). The second bound ends
a session that stands still between two statements even when nobody waits.
"""

HOT = f"""
    {BOUNDS},
    set_config('plan_cache_mode', 'force_generic_plan', true)
""".strip()
"""The same for an append and a drain, whose statements have one good plan each.

Left alone, Postgres would plan most of them at each call: a plan for an array of known length seems a little cheaper.
"""

TAKE_WITHIN_BOUNDS = f"""
    SELECT {BOUNDS}, pg_advisory_xact_lock({_KEY})
"""
"""Waits for any lock but ``MIGRATE``, and holds it until the transaction ends. It stands first in a pipeline."""

TAKE_FOR_APPEND = f"""
    SELECT {HOT}, pg_advisory_xact_lock({_KEY})
"""
"""Does so for ``APPEND``, before the statements of an append."""

_TAKE = f"""
    SELECT pg_advisory_xact_lock({_KEY})
"""

_TAKE_TO_MIGRATE = f"""
    SELECT pg_advisory_xact_lock({_MIGRATE_KEY})
"""

_TRY_TO_TAKE = f"""
    SELECT pg_try_advisory_xact_lock({_KEY})
"""


def take(conn: Connection, lock: AdvisoryLock) -> None:
    """Wait for a lock, and hold it until the transaction ends.

    Raises:
        TransientError: the lock was not had in time.
    """
    driver(conn).execute(_TAKE_TO_MIGRATE if lock is AdvisoryLock.MIGRATE else _TAKE, {"lock": lock})


def try_take(conn: Connection, lock: AdvisoryLock) -> bool:
    """Take a lock until the transaction ends, if it is free. Returns False at once when somebody else holds it.

    ``MIGRATE`` is never tried.
    """
    row = driver(conn).execute(_TRY_TO_TAKE, {"lock": lock}).fetchone()
    assert row is not None
    return bool(row[0])
