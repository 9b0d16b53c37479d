"""Faults of web, worker, beat and their supervisor: killed, frozen, dead for a while, twice, unread."""

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import psutil

from core.base.locks import AdvisoryLock
from ops.proving.chaos.arena import Arena
from ops.proving.chaos.fault import Blow, Missed, frozen
from ops.server.parts import beat_command
from ops.server.temporary import without_settings

THERE_S = 60.0
"""A part that was hit before is waited for so long."""

_NO_BEAT_S = 10.0

# What tells that a session is in the middle: the one has the append lock, and the other the heads of queues.
_IN_AN_APPEND = """
    SELECT session.pid, session.client_port, held.virtualtransaction
    FROM pg_locks AS held
    JOIN pg_stat_activity AS session USING (pid)
    WHERE held.locktype = 'advisory' AND held.objid::bigint = %s AND held.granted
"""

_IN_A_DRAIN = """
    SELECT session.pid, session.client_port, held.virtualtransaction
    FROM pg_locks AS held
    JOIN pg_stat_activity AS session USING (pid)
    WHERE held.locktype = 'relation'
      AND held.relation = 'queues'::regclass
      AND held.mode = 'RowShareLock'
      AND held.granted
"""


def kill_main(part: str) -> Callable[[Blow], None]:
    return lambda blow: _there(lambda: [blow.arena.main(part)])[0].kill()


def kill_child(part: str) -> Callable[[Blow], None]:
    return lambda blow: blow.dice.choice(_there(lambda: blow.arena.children(part))).kill()


def freeze_main(part: str) -> Callable[[Blow], None]:
    def strike(blow: Blow) -> None:
        with frozen(*_there(lambda: [blow.arena.main(part)])):
            time.sleep(blow.for_s)

    return strike


def freeze_web_in_an_append(blow: Blow) -> None:
    _in_an_append(blow, lambda process: time.sleep(blow.for_s))


def freeze_worker_in_a_drain(blow: Blow) -> None:
    _in_a_drain(blow, lambda process: time.sleep(blow.for_s))


def kill_web_in_an_append(blow: Blow) -> None:
    _in_an_append(blow, psutil.Process.kill)


def kill_worker_in_a_drain(blow: Blow) -> None:
    _in_a_drain(blow, psutil.Process.kill)


def stutter(blow: Blow) -> None:
    """Let web processes, children of worker and Postgres's backends stand still for moments, in any company.

    The moments are too short for anybody to notice, so all that changes is who comes first.
    """
    until = time.monotonic() + blow.for_s
    while time.monotonic() < until:
        with suppress(psutil.Error, OSError, KeyError, ValueError):
            backends = psutil.Process(blow.arena.postgres.process.pid).children() if blow.arena.postgres.process else []
            all_ = [*blow.arena.children("web"), *blow.arena.children("worker"), *backends]
            with frozen(*blow.dice.sample(all_, min(blow.dice.randint(1, 4), len(all_)))):
                time.sleep(blow.dice.choice([0.002, 0.01, 0.05, 0.3]))
        time.sleep(blow.dice.choice([0.0, 0.005, 0.05]))


def dead(*parts: str) -> Callable[[Blow], None]:
    """Kill all processes of parts. Their supervisor stands still meanwhile, as on a machine that has too much to do."""

    def strike(blow: Blow) -> None:
        all_ = [each for part in parts for each in _there(partial(_family, blow.arena, part))]
        with frozen(blow.arena.supervisor()):
            for each in all_:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            time.sleep(5)

    return strike


def no_beat(blow: Blow) -> None:
    """Kill beat whenever it comes back, as in a crash loop."""
    until = time.monotonic() + _NO_BEAT_S
    while time.monotonic() < until:
        with suppress(psutil.Error, OSError, KeyError, ValueError):
            blow.arena.main("beat").kill()
        time.sleep(0.1)


def two_beats(blow: Blow) -> None:
    environ = without_settings(os.environ) | blow.arena.settings
    second = subprocess.Popen(
        beat_command(), env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(_NO_BEAT_S)
    finally:
        second.kill()
        second.wait()


def freeze_supervisor(blow: Blow) -> None:
    """Nobody restarts what dies, and nobody reads the pipes that web, worker and beat write their log to."""
    with frozen(blow.arena.supervisor()):
        time.sleep(blow.for_s)


def leave_log_unread(blow: Blow) -> None:
    with blow.arena.log.unread():
        time.sleep(blow.for_s)


def _family(arena: Arena, part: str) -> list[psutil.Process]:
    return [arena.main(part), *arena.children(part)]


def _there(find: Callable[[], Sequence[psutil.Process]]) -> Sequence[psutil.Process]:
    """Wait until the processes are there that are to be hit."""
    deadline = time.monotonic() + THERE_S
    while time.monotonic() < deadline:
        with suppress(psutil.Error, OSError, KeyError, ValueError):
            if (found := find()) and all(each.is_running() and each.status() != "zombie" for each in found):
                return found
        time.sleep(0.05)
    raise Missed


def _in_an_append(blow: Blow, hit: Callable[[psutil.Process], None]) -> None:
    _in_the_middle(blow, "web", (_IN_AN_APPEND, (int(AdvisoryLock.APPEND),)), hit)


def _in_a_drain(blow: Blow, hit: Callable[[psutil.Process], None]) -> None:
    _in_the_middle(blow, "worker", (_IN_A_DRAIN, ()), hit)


def _in_the_middle(
    blow: Blow, part: str, middle: tuple[str, Sequence[int]], hit: Callable[[psutil.Process], None]
) -> None:
    """Freeze a process of a part while its session is in the middle of a transaction, and hit it.

    A session that has ended its transaction by the time its process is frozen does not count, and another is tried.
    """
    owners: dict[int | None, psutil.Process] = {}
    deadline = time.monotonic() + THERE_S
    with blow.arena.connect() as conn:
        while time.monotonic() < deadline:
            for session in conn.execute(*middle).fetchall():
                port = blow.arena.database.client_port(session[1])
                if port not in owners:
                    owners = _owners(blow.arena, part)
                process = owners.get(port)
                if process is None or not process.is_running():
                    continue
                with frozen(process):
                    time.sleep(0.02)
                    if session in conn.execute(*middle).fetchall():
                        hit(process)
                        return
            time.sleep(0.002)
    raise Missed


def _owners(arena: Arena, part: str) -> dict[int | None, psutil.Process]:
    """Find the process of each connection of a part, by the port of its own end."""
    owners: dict[int | None, psutil.Process] = {}
    with suppress(psutil.Error, OSError, KeyError, ValueError):
        for process in arena.children(part):
            with suppress(psutil.Error):
                owners |= {connection.laddr.port: process for connection in process.net_connections("tcp")}
    return owners
