"""Faults of Postgres: ended, killed, frozen, read-only, full, and its locks held by nobody."""

import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

import psutil
import psycopg

from core.base.locks import AdvisoryLock
from ops.proving.chaos.arena import CONNECTIONS_MAX
from ops.proving.chaos.fault import Blow, Missed, frozen

FENCED_S = 20.0
"""A session that holds the append lock and stands still must be ended after so long. Somebody else waits for it all the while."""

_SESSIONS = """
    SELECT pid
    FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND datname = current_database() AND pid <> pg_backend_pid()
"""

_BUSY_S = 30.0
"""Somebody appends within so long."""

_HOLDS_APPEND_LOCK = """
    SELECT pid
    FROM pg_locks
    WHERE locktype = 'advisory' AND objid::bigint = %s AND granted
"""

_IS_THERE = """
    SELECT count(*)
    FROM pg_stat_activity
    WHERE pid = %s
"""

_END_ALL = """
    SELECT pg_terminate_backend(pid)
    FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND datname = current_database() AND application_name <> 'torture'
"""

_TAKE = """
    SELECT pg_advisory_xact_lock(%s)
"""


def send(signum: signal.Signals) -> Callable[[Blow], None]:
    """Send a signal to the postmaster: SIGINT is a fast shutdown, SIGQUIT an immediate one."""
    return lambda blow: _postmaster(blow).send_signal(signum)


def kill_backend(blow: Blow) -> None:
    """Postgres ends all other sessions then, and recovers."""
    _backend(blow).kill()


def kill_backend_in_an_append(blow: Blow) -> None:
    """Kill the backend that holds the append lock. It may be in the middle of a commit."""
    deadline = time.monotonic() + _BUSY_S
    with blow.arena.connect() as conn:
        while time.monotonic() < deadline:
            if found := conn.execute(_HOLDS_APPEND_LOCK, [int(AdvisoryLock.APPEND)]).fetchone():
                psutil.Process(found[0]).kill()
                return
            time.sleep(0.002)
    raise Missed


def dead(blow: Blow) -> None:
    with blow.arena.keeper.holding(blow.arena.postgres):
        _postmaster(blow).send_signal(signal.SIGQUIT)
        time.sleep(5)


def freeze_all(blow: Blow) -> None:
    leader = _postmaster(blow)
    with frozen(leader, *leader.children(recursive=True)):
        time.sleep(blow.for_s)


def freeze_postmaster(blow: Blow) -> None:
    """The sessions that are there go on, and no new one is let in."""
    with frozen(_postmaster(blow)):
        time.sleep(blow.for_s)


def freeze_backend(blow: Blow) -> None:
    with frozen(_backend(blow)):
        time.sleep(blow.for_s)


def end_sessions(blow: Blow) -> None:
    with blow.arena.connect() as conn:
        conn.execute(_END_ALL)


def read_only(blow: Blow) -> None:
    with blow.arena.connect() as conn:
        conn.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        conn.execute("SELECT pg_reload_conf()")
    try:
        time.sleep(blow.for_s)
    finally:
        with blow.arena.connect() as conn:
            conn.execute("SET default_transaction_read_only = off")
            conn.execute("ALTER SYSTEM RESET default_transaction_read_only")
            conn.execute("SELECT pg_reload_conf()")


def use_up_connections(blow: Blow) -> None:
    """End all sessions, and take their places before they can come back."""
    with ExitStack() as held:
        conn = held.enter_context(blow.arena.connect())
        for _ in range(CONNECTIONS_MAX):
            conn.execute(_END_ALL)
            with suppress(psycopg.OperationalError):
                held.enter_context(blow.arena.connect(within_s=0))
        time.sleep(blow.for_s)


def hold_append_lock(blow: Blow) -> None:
    """Take the append lock, and say nothing more. Somebody who waits for it must end this session."""
    with blow.arena.connect() as watching, blow.arena.connect(autocommit=False) as holder:
        holder.execute(_TAKE, [int(AdvisoryLock.APPEND)])
        deadline = time.monotonic() + FENCED_S
        while watching.execute(_IS_THERE, [holder.info.backend_pid]).fetchone() != (0,):
            if time.monotonic() > deadline:
                blow.wrong.append(f"an idle session held the append lock for {FENCED_S:g} s, and nobody ended it")
                break
            time.sleep(0.1)
        holder.close()


def _postmaster(blow: Blow) -> psutil.Process:
    process = blow.arena.postgres.process
    if process is None or not blow.arena.postgres.running:
        raise Missed
    return psutil.Process(process.pid)


def _backend(blow: Blow) -> psutil.Process:
    with blow.arena.connect() as conn:
        found = conn.execute(_SESSIONS).fetchall()
    if not found:
        raise Missed
    return psutil.Process(blow.dice.choice(found)[0])
