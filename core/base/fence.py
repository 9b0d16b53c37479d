"""Ends the sessions that hold locks and stand still, so that locks outlive no one.

A process may be frozen, or its host cut off, while its session holds the append lock or the heads of queues. Nothing else
ends such a session in time: ``idle_in_transaction_session_timeout`` does not fire in the middle of a pipeline, and neither
a statement timeout nor a cancel reaches a server that waits for the data of a COPY. So whoever waits for a lock in vain ends
the session that holds it. The session has lost its transaction then, and its process finds that out when it wakes.

A session stands still if the server has waited for its client for some seconds by the clock of the database, and waits for
the same still after a second look. A session that works in the server, whose COPY moves on, or that holds nothing of this
ledger, is left alone.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import structlog
from sqlalchemy import Connection, Engine

from core.base.db import begin, driver, reading
from core.base.errors import TransientError
from core.base.faults import is_lock_timeout, is_loss, was_ended
from core.base.locks import AdvisoryLock

STANDS_STILL_S = 4.0
"""A session that holds what everybody needs may make its server wait for so long."""

PATIENCE_S = 10.0
"""Whoever waits for the append lock or for the heads of queues tries again for so long."""

WORKS_FOR_S = 30.0
"""The same for a lock that only its own kind of work waits for. Its holder may compute for long: the plan of a large run."""

_SECOND_LOOK_S = 0.5

_LOOKS_APART_S = 1.0
"""The least time between two looks of one process at who has locked the heads of queues."""

T = TypeVar("T")

logger = structlog.get_logger()


class Suspect(NamedTuple):
    """A session that holds locks while its server waits for its client, and how far it was."""

    pid: int
    backend_start: object
    state_change: object
    copied: int
    """The bytes that its COPY has got."""


# Advisory locks have the keys of ``locks.py``.
# Whoever has a row of ``queues`` or ``balances`` locked holds a lock on the table as well, which pg_locks shows.
_HOLDS = """
    EXISTS (
          SELECT FROM pg_locks AS held
          WHERE held.pid = session.pid
            AND held.granted
            AND held.database = session.datid
            AND (
                held.locktype = 'advisory'
                    AND held.objsubid = 1
                    AND held.classid IN (
                        CASE WHEN to_regclass('log') = to_regclass('public.log') THEN 0 ELSE to_regclass('log')::oid END,
                        CASE
                            WHEN current_schema() = 'public' THEN 0
                            ELSE to_regnamespace(quote_ident(current_schema()))::oid
                        END
                    )
                    AND (
                        held.objid::bigint = %(append)s
                        OR held.objid::bigint = ANY(%(others)s::bigint[])
                            AND session.state_change < clock_timestamp() - make_interval(secs => %(others_for)s)
                    )
                OR held.locktype = 'relation'
                    AND held.relation IN (SELECT to_regclass(name)::oid FROM unnest(%(tables)s::text[]) AS name)
                    AND held.mode <> 'AccessShareLock'
            )
      )
""".strip()

# A backend process may be followed by another with the same number, so its start counts too.
_SUSPECTS = f"""
    SELECT session.pid, session.backend_start, session.state_change, coalesce(copy.bytes_processed, 0)
    FROM pg_stat_activity AS session
    LEFT JOIN pg_stat_progress_copy AS copy USING (pid)
    WHERE session.datname = current_database()
      AND session.pid <> pg_backend_pid()
      AND session.backend_type = 'client backend'
      AND session.xact_start IS NOT NULL
      AND session.wait_event_type = 'Client'
      AND session.state_change < clock_timestamp() - make_interval(secs => %(for)s)
      AND pg_has_role(session.usesysid, 'USAGE')
      AND {_HOLDS}
"""

_END = f"""
    SELECT
        session.pid,
        session.application_name,
        host(session.client_addr),
        session.state,
        extract(epoch FROM clock_timestamp() - session.state_change)::float,
        pg_terminate_backend(session.pid)
    FROM unnest(%(pids)s::int[], %(starts)s::timestamptz[], %(changes)s::timestamptz[], %(copied)s::bigint[])
        AS suspect (pid, backend_start, state_change, copied)
    JOIN pg_stat_activity AS session USING (pid, backend_start, state_change)
    LEFT JOIN pg_stat_progress_copy AS copy USING (pid)
    WHERE session.wait_event_type = 'Client'
      AND coalesce(copy.bytes_processed, 0) = suspect.copied
      AND {_HOLDS}
"""

_TABLES = ["queues", "balances", "holds", "refunds", "log", "scheduled", "due"]
"""The tables whose rows an append or a drain waits for."""


def end_still_sessions(engine: Engine) -> int:
    """End the sessions of this ledger that hold locks and stand still. Returns how many there were.

    Raises:
        TransientError: the database was busy or gone.
    """
    locks = {
        "append": int(AdvisoryLock.APPEND),
        "others": [int(each) for each in AdvisoryLock if each is not AdvisoryLock.APPEND],
        "others_for": WORKS_FOR_S,
        "tables": _TABLES,
    }
    with reading(engine) as conn:
        found = driver(conn).execute(_SUSPECTS, {"for": STANDS_STILL_S, **locks})
        suspects = [Suspect(*row) for row in found.fetchall()]
    if not suspects:
        return 0
    time.sleep(_SECOND_LOOK_S)
    with reading(engine) as conn:
        ended = driver(conn).execute(
            _END,
            {
                "pids": [each.pid for each in suspects],
                "starts": [each.backend_start for each in suspects],
                "changes": [each.state_change for each in suspects],
                "copied": [each.copied for each in suspects],
                **locks,
            },
        )
        rows = ended.fetchall()
    for pid, name, host, state, still_s, _ in rows:
        logger.warning(
            "a session that stood still with locks was ended", pid=pid, name=name, host=host, state=state, still_s=still_s
        )  # fmt: skip
    return len(rows)


_looked_at: "WeakKeyDictionary[Engine, float]" = WeakKeyDictionary()


def look_now_and_then(engine: Engine) -> int:
    """Call ``end_still_sessions`` unless this process did a moment ago. A drain calls it when it finds queues locked."""
    now = time.monotonic()
    if now - _looked_at.get(engine, -_LOOKS_APART_S) < _LOOKS_APART_S:
        return 0
    _looked_at[engine] = now
    return end_still_sessions(engine)


def stands_still(error: BaseException, seconds: float) -> bool:
    """Tell whether a transaction that took so long was lost because its own process stood still."""
    return was_ended(error) or (isinstance(error, TransientError) and seconds > STANDS_STILL_S and is_loss(error))


@contextmanager
def locking(engine: Engine, *, within_s: float | None = None) -> Iterator[Connection]:
    """Open a transaction as ``begin`` does. If a lock is not had in time, end the sessions that hold it and stand still.

    The caller tries again, or leaves that to the next tick.

    Raises:
        TransientError: as ``begin``.
    """
    try:
        with begin(engine, within_s=within_s) as conn:
            yield conn
    except TransientError as error:
        if is_lock_timeout(error):
            end_still_sessions(engine)
        raise


def in_transaction(engine: Engine, work: Callable[[Connection], T], *, within_s: float | None = None) -> T:
    """Do some work in a transaction, and do it anew while a lock was not had in time.

    Raises:
        TransientError: as ``begin``. A lock was not had within ``PATIENCE_S``, for one.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with locking(engine, within_s=within_s) as conn:
                return work(conn)
        except TransientError as error:
            if not is_lock_timeout(error) or time.monotonic() >= deadline:
                raise
