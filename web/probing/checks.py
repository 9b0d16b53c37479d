"""The checks of a web process, and the report that ``/health`` gives of them."""

import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import psycopg
from celery import Celery
from redis import Redis, RedisError
from redis.exceptions import OutOfMemoryError, ReadOnlyError
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

import celeryconfig
from core.base import locks
from core.base.db import begin, reading
from core.base.disks import MAKE_ROOM, short_of_room
from core.base.errors import TransientError
from core.base.faults import driver_error_of
from core.base.locks import AdvisoryLock
from core.doors.identity import Identity
from core.flows import rollup_store
from core.ledger.store import waiting as waiting_store
from core.upkeep import heartbeats, probes
from core.upkeep.heartbeats import State
from core.webhooks import deliveries
from web.probing import facts
from web.probing.facts import Facts
from web.probing.own import Own
from web.probing.prober import Check, Prober, Severity, Trouble

LOCK_WAIT_S = 3
"""The time for which the append lock is waited for. A large bulk may hold it for a second or two."""

_CHECK_DATABASE = "see that Postgres runs, and that this host reaches it; requests get 503 until it answers"

_CAUSES = (
    ("42P01", "the database has no tables, or those of an older release", "run `pacioli migrate`"),
    ("42703", "the database has the tables of an older release", "run `pacioli migrate`"),
    ("53100", "the disk of the database is full", "make room on the disk of Postgres; it goes on by itself"),
    ("53200", "the database is out of memory", "see the log of Postgres; give it memory, or fewer connections"),
    ("53300", "the database has no connection left", "raise max_connections of Postgres, or start fewer processes"),
    ("25006", "the database is read-only", "promote this standby, or let DATABASE_URL name the primary"),
    ("28", "the database refuses this role", "see the user and password in DATABASE_URL, and pg_hba.conf"),
    ("3D000", "the database does not exist", "create it and run `pacioli migrate`, or correct DATABASE_URL"),
    ("42501", "the role may not write the ledger's tables", "let DATABASE_URL name a role that may, or grant it"),
    ("57P03", "the database is starting or stopping", "wait until Postgres is up, and see its log if it takes long"),
    ("57P01", "the database is shutting down", "wait until Postgres is up again"),
    ("57014", "the database took too long for a write", "see what Postgres waits for: its disk, locks, and its log"),
    ("55P03", "the database took too long for a lock", "see in pg_stat_activity who holds it"),
)
"""The meanings of SQLSTATEs here, and the next steps. The first that it begins with counts."""


class Probe:
    """The connections of the checks of a web process, and their last results."""

    def __init__(self, engine: Engine, redis: "Redis | None", identity: Identity | None = None) -> None:
        self._engine = engine
        self._identity = identity
        self._redis = redis
        self._celery = Celery("pacioli-health", set_as_current=False)
        self._celery.config_from_object(celeryconfig)
        self._name = heartbeats.name_of("web")
        self._began = time.monotonic()
        self._known_since: float | None = None
        self._folders: set[str] = set()
        self.facts: Facts | None = None
        """The records of the parts when they were last read."""

    def prober(self, own: Own | None = None) -> Prober:
        """Make the prober of these checks, and of ``own`` threads."""
        database = [
            _check("database", Severity.DOWN, self._write, "the database does not answer", _CHECK_DATABASE),
            _check(
                "database", Severity.DOWN, self._read, "the database does not answer", _CHECK_DATABASE, name="records"
            ),
            _check("append", Severity.DOWN, self._lock, "the append lock cannot be had", _FREE_LOCK),
        ]
        broker = _check("broker", Severity.DEGRADED, self._reach_broker, "the broker does not answer", _CHECK_BROKER)
        disk = _check(
            "disk", Severity.DEGRADED, self._look_at_disks, "the disk does not answer", "see what it waits for"
        )
        lanes = [database, [broker], [disk]]
        if own is not None:
            lanes.append([_check("threads", Severity.DEGRADED, own.check, "the threads do not answer", "see the log")])
        return Prober(lanes, release=self._engine.dispose)

    def _write(self) -> Iterator[Trouble]:
        """Write the heartbeat of this process, as a proof that the database can be written and its disk has room."""
        try:
            with begin(self._engine) as conn:
                heartbeats.record(conn, self._name, "web", State(pid=os.getpid(), up_s=time.monotonic() - self._began))
                probes.need_room(conn)
        except Exception as error:
            yield _database_trouble(error)

    def _read(self) -> Iterable[Trouble]:
        """Read what the parts record, and judge it. When the database is away, the check before this one says so."""
        try:
            with reading(self._engine) as conn:
                self.facts = Facts(
                    heartbeats=heartbeats.every(conn),
                    ticks=probes.ticks(conn),
                    oldest_age_s=waiting_store.oldest_age_s(conn),
                    verified=probes.verified(conn),
                    sealed=probes.sealed(conn),
                    webhooks=deliveries.health(conn),
                    refused=probes.refused(conn),
                    losing=probes.losing(conn),
                    flows=rollup_store.lag(conn),
                )
                if folder := probes.data_folder(conn):
                    self._folders.add(folder)
        except (TransientError, DBAPIError, psycopg.Error):
            self.facts = None
            return []
        if self._known_since is None:
            self._known_since = time.monotonic()
        return list(facts.judge(self.facts, known_for_s=time.monotonic() - self._known_since))

    def _lock(self) -> Iterator[Trouble]:
        """Take the append lock for a moment. Without it nothing can be accepted, by any process."""
        try:
            with begin(self._engine) as conn:
                probes.wait_for_locks(conn, LOCK_WAIT_S)
                locks.take(conn, AdvisoryLock.APPEND)
        except Exception as error:
            if _sqlstate(error) in ("55P03", "57014"):
                what = f"the append lock was not to be had for {LOCK_WAIT_S} s, so no transaction is accepted"
                yield Trouble(part="append", severity=Severity.DOWN, what=what, advice=_FREE_LOCK)

    def _reach_broker(self) -> Iterator[Trouble]:
        """Let the broker answer, and take something, as a doorbell would be."""
        try:
            if self._redis is not None:
                names = self._identity.names if self._identity is not None else None
                # Until the database has told the ledger's name, it is not known which keys the user may write.
                self._redis.set(names.health, self._name, ex=60) if names else self._redis.ping()
            if self._redis is None or celeryconfig.SETTINGS.broker_url:
                _reach_by_celery(self._celery)
        except Exception as error:
            what, advice = "the broker cannot be reached", _CHECK_BROKER
            if isinstance(error, OutOfMemoryError):
                what, advice = "Redis is out of memory", "give Redis more maxmemory, or remove what else is in it"
            elif isinstance(error, ReadOnlyError):
                what, advice = "Redis is read-only", "let REDIS_URL name the primary, or promote this replica"
            elif isinstance(error, RedisError) and "MISCONF" in str(error):
                what, advice = (
                    "Redis cannot write its disk",
                    "make room for its dump, or let Redis keep nothing on disk",
                )
            yield Trouble(part="broker", severity=Severity.DEGRADED, what=f"{what}{_SWEPT}", advice=advice)

    def _look_at_disks(self) -> Iterator[Trouble]:
        """See whether the disks of the database and of this service have room, where this process can see them."""
        # A folder of the same name on another host is another disk, so only the own host's counts.
        for folder in sorted(self._folders if _is_local(self._engine) else ()):
            with suppress(OSError):
                if what := short_of_room(folder):
                    yield Trouble(part="disk", severity=Severity.DEGRADED, what=what, advice=MAKE_ROOM)


_CHECK_BROKER = "see that it runs, and REDIS_URL or BROKER_URL; nothing is lost, and the sweeps of workers go on"
_SWEPT = ", so transactions wait for the next sweep"
_FREE_LOCK = "see in pg_locks and pg_stat_activity which session holds it, and end that one with pg_terminate_backend"


def _check(part: str, severity: Severity, run: Any, *says: str, name: str = "") -> Check:
    what, advice = says
    return Check(name=name or part, run=run, hanging=Trouble(part=part, severity=severity, what=what, advice=advice))


def _database_trouble(error: Exception) -> Trouble:
    """Say what a failed write means. The driver's own text stays out: it may name hosts and roles, and needs no key here."""
    sqlstate = _sqlstate(error) or ""
    what, advice = "the database cannot be reached", _CHECK_DATABASE
    for prefix, meaning, remedy in _CAUSES:
        if sqlstate.startswith(prefix):
            what, advice = meaning, remedy
            break
    else:
        if sqlstate:
            what, advice = f"the database refuses a write (SQLSTATE {sqlstate})", "see the log of Postgres"
    return Trouble(part="database", severity=Severity.DOWN, what=what, advice=advice)


def _sqlstate(error: Exception) -> str | None:
    cause = driver_error_of(error)
    return None if cause is None else cause.sqlstate


def _reach_by_celery(app: Celery) -> None:
    """Connect to Celery's broker, or write where it keeps its files.

    Raises:
        Exception: of a type that depends on the broker.
    """
    if (folder := celeryconfig.SETTINGS.broker_folder) and celeryconfig.broker_url.startswith("filesystem:"):
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"health")
        return
    with app.connection_for_write() as connection:
        connection.connect()


def _is_local(engine: Engine) -> bool:
    """Tell whether Postgres is on this host: reached over a Unix socket."""
    hosts = [engine.url.host or "", *str(engine.url.query.get("host") or "").split(",")]
    named = [host for host in hosts if host]
    return all(host.startswith("/") for host in named)
