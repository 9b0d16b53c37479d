"""Sessions of Postgres that one test after the other uses.

A new server process reads the catalogue anew, which takes 10 ms of CPU for the statements of a ledger: half of what a test
costs. So a connection that is closed in good order leaves its session here, as ``DISCARD ALL`` makes it, and the next one
with equal parameters takes it.
"""

import threading
from contextlib import suppress
from typing import Any, Self

import psycopg
from psycopg.pq import ExecStatus, PGconn, TransactionStatus

from core.base import db

_MOST = 12
"""The number of sessions that are kept for one set of parameters."""

_lock = threading.Lock()
_kept: dict[tuple[tuple[str, Any], ...], list[PGconn]] = {}
_databases: set[str] = set()
"""The names of the databases whose sessions are kept."""


class WarmSession(db.Watched):
    """A connection that takes its session from here and leaves it here."""

    _parameters: tuple[tuple[str, Any], ...] | None = None

    @classmethod
    def connect(cls, conninfo: str = "", **given: Any) -> Self:
        if conninfo or given.get("dbname") not in _databases:
            return super().connect(conninfo, **given)
        parameters = tuple(sorted(given.items()))
        session = _take(parameters)
        if session is None:
            made = super().connect(**given)
        else:
            made = cls(session)
            made._autocommit, made.prepare_threshold = given["autocommit"], given["prepare_threshold"]
        made._parameters = parameters
        return made

    def close(self) -> None:
        session, is_idle = self.pgconn, self.info.transaction_status is TransactionStatus.IDLE
        if self._parameters is None or not is_idle or self.is_watched or self.info.dbname not in _databases:
            super().close()
            return
        reset = ExecStatus.FATAL_ERROR
        with suppress(psycopg.Error):
            reset = ExecStatus(session.exec_(b"DISCARD ALL").status)
        if reset != ExecStatus.COMMAND_OK:
            super().close()
            return
        self.pgconn, self._closed = _no_session(), True
        with _lock:
            others = _kept.setdefault(self._parameters, [])
            if len(others) < _MOST:
                others.append(session)
            else:
                session.finish()


db.Watched = WarmSession  # type: ignore[misc]  # Before any connection is opened, for a pool may outlive many tests.


def keep(database: str) -> None:
    """Keep the sessions of this database from now on."""
    _databases.add(database)


def process_ids() -> list[int]:
    """Return the ids of the server processes whose sessions are kept and not in use."""
    with _lock:
        return [session.backend_pid for sessions in _kept.values() for session in sessions]


def forget() -> None:
    """End all kept sessions, and keep none any more."""
    _databases.clear()
    with _lock:
        for sessions in _kept.values():
            for session in sessions:
                session.finish()
        _kept.clear()


def _take(parameters: tuple[tuple[str, Any], ...]) -> PGconn | None:
    while True:
        with _lock:
            sessions = _kept.get(parameters)
            if not sessions:
                return None
            session = sessions.pop()
        with suppress(psycopg.Error):  # Else the server has ended it.
            if session.exec_(b"").status == ExecStatus.EMPTY_QUERY:
                return session
        session.finish()


def _no_session() -> PGconn:
    ended = PGconn.connect_start(b"host=/nowhere")
    ended.finish()
    return ended
