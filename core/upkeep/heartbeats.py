"""Heartbeats: each process records that it lives, on which host, how far that host's clock is off, and its state.

A worker and beat record one every ``EVERY_S`` seconds, from a thread of their own. Web processes do the same.
"""

import os
import socket
from typing import NamedTuple

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from core.base import clock
from core.base.db import driver

EVERY_S = 2.0
"""The time between two heartbeats of a process."""


class Child(Struct, frozen=True, kw_only=True):
    """A child process of a worker, which runs the tasks."""

    pid: int
    silent_s: float
    """The time since the child last showed that it lives. It does so each second, whatever it is doing."""
    answers: bool
    """False for a child that has been silent for some seconds: it is frozen, or it is gone."""
    task: str | None = None
    """The task that it runs; None when it waits for one."""
    queue: int | None = None
    """The queue whose doorbell a drain answers. It decides the few postings that wait in other queues too."""
    busy_s: float = 0.0
    """The time for which it has been running the task."""
    ended: int = 0
    """The number of tasks that it has ended."""


class State(Struct, frozen=True, kw_only=True):
    """The ``state`` of a heartbeat: JSON with these members.

    ``children`` is empty for a process that has none, such as beat.
    """

    pid: int
    up_s: float
    """The time since the process started."""
    consuming: bool = True
    """Whether it takes messages from the broker. False while the broker is away."""
    standing_in: bool = False
    """Whether this worker does the ticks itself, because none came in time."""
    dropped: int = 0
    """The number of messages that were no messages of ours, and were dropped."""
    children: list[Child] = []
    problem: str | None = None
    """Why a notary signs nothing more, or cannot publish."""


class Heartbeat(NamedTuple):
    """The last heartbeat of a process."""

    name: str
    part: str
    """``web``, ``worker``, ``beat``, ``deliverer`` or ``notary``."""
    host: str
    age_s: float
    clock_off_s: float
    """The seconds that the host's clock is ahead of the database's; negative when it is behind."""
    state: State | None


_RECORD = """
    WITH gone AS (
        DELETE FROM heartbeats
        WHERE at < clock_timestamp() - interval '1 day'
    )
    INSERT INTO heartbeats (worker, at, part, host, clock_off_s, state)
    VALUES (%(name)s, clock_timestamp(), %(part)s, %(host)s, %(clock_off_s)s, %(state)s)
    ON CONFLICT (worker) DO UPDATE
    SET at = excluded.at,
        part = excluded.part,
        host = excluded.host,
        clock_off_s = excluded.clock_off_s,
        state = excluded.state
"""

_FORGET = """
    DELETE FROM heartbeats
    WHERE worker = %(name)s
"""

# A clock that was set back leaves heartbeats in the future. The next one of a process that lives is right again.
_ALL = """
    SELECT worker, part, host, abs(extract(epoch FROM clock_timestamp() - at))::float, clock_off_s, state::text
    FROM heartbeats
    ORDER BY part, worker
"""

_COUNT_ALIVE = """
    SELECT count(*)
    FROM heartbeats
    WHERE part = %(part)s
      AND at > clock_timestamp() - make_interval(secs => %(within_s)s)
"""


def name_of(part: str) -> str:
    """Return the name of this process, which no other process has."""
    return f"{part}@{socket.gethostname()}:{os.getpid()}"


def record(conn: Connection, name: str, part: str, state: State) -> None:
    """Record the heartbeat of a process, and how far its host's clock is off. Who has been silent for a day is forgotten."""
    driver(conn).execute(
        _RECORD,
        {
            "name": name,
            "part": part,
            "host": socket.gethostname(),
            "clock_off_s": clock.off_s(conn),
            "state": msgspec.json.encode(state).decode(),
        },
    )


def forget(conn: Connection, name: str) -> None:
    """Remove the heartbeat of a process that ends as it should."""
    driver(conn).execute(_FORGET, {"name": name})


def every(conn: Connection) -> list[Heartbeat]:
    """Read the last heartbeat of every process."""
    rows = driver(conn).execute(_ALL).fetchall()
    return [Heartbeat(name, part, host, age_s, off_s, _state(state)) for name, part, host, age_s, off_s, state in rows]


def count_alive(conn: Connection, part: str, within_s: float) -> int:
    """Count the processes of a part that were heard of lately."""
    row = driver(conn).execute(_COUNT_ALIVE, {"part": part, "within_s": within_s}).fetchone()
    assert row is not None
    return int(row[0])


def _state(text: str | None) -> State | None:
    """Read a state. That of another release may have another shape, and counts as none."""
    try:
        return None if text is None else msgspec.json.decode(text, type=State)
    except msgspec.ValidationError:
        return None
