"""Opens connections and transactions, and turns the driver's errors into ours."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg import IsolationLevel, sql
from psycopg.adapt import Buffer, Loader
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import IntLoader
from sqlalchemy import Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.base import session
from core.base.database_url import DEFAULTS, engine_url, environment_options, parameters
from core.base.deadlines import WATCH, Lifeline
from core.base.errors import InvariantBroken, TooSlow, TransientError
from core.base.quick import about_to_wait
from core.base.sqlstates import is_not_now

LONG_S = 3600.0
"""The longest use of a connection that reads or rewrites a whole ledger: a verification, a migration."""


@dataclass(frozen=True)
class _Pools:
    """The pools of an engine, and how its connections are used."""

    reader: Engine
    within_s: float
    """A use of a connection may take so long."""
    local: dict[str, str]
    """The settings that each transaction gets anew, because a pooler keeps none. Empty for direct connections."""
    url: str


def connect(
    url: str,
    *,
    connections: int = 24,
    within_s: float = 60.0,
    statement_timeout_s: int = 60,
    lock_timeout_s: int = 10,
    pooler: bool = False,
) -> Engine:
    """Make an engine for the ledger's database, which opens at most so many ``connections``, on demand.

    A third of them, and two of three, is for ``begin``, so that slow reads never hold up what writes; the others are for
    ``reading``. A use of a connection that takes longer than ``within_s`` is cut. With ``pooler``, a session may belong to
    somebody else after each transaction, as it does behind PgBouncer. ``core/base/database_url.py`` says which URLs there are.

    Raises:
        ValueError: the URL cannot be used.
    """
    given = parameters(url)
    libpq = DEFAULTS | given | {"client_encoding": "UTF8"}
    chosen = session.CHOSEN | {"statement_timeout": f"{statement_timeout_s}s", "lock_timeout": f"{lock_timeout_s}s"}
    local: dict[str, str] = {}
    if pooler:
        local = chosen | session.options_of(libpq.pop("options", "")) | session.PINNED
    elif "options" in libpq or "service" not in libpq:  # A service may have options of its own.
        libpq["options"] = f"{session.first_options(chosen)} {libpq.get('options') or environment_options()}"

    def open_one() -> Watched:
        connection = Watched.connect(autocommit=True, prepare_threshold=None if pooler else 5, **libpq)  # type: ignore[arg-type]
        try:
            make_ready(connection)
        except BaseException:  # Otherwise its server process would live until the garbage is searched for.
            connection.unwatch()
            connection.close()
            raise
        return connection

    def make_ready(connection: Watched) -> None:
        connection.watch(time.monotonic() + OPEN_S)
        connection.isolation_level = IsolationLevel.READ_COMMITTED
        # NUMERIC becomes an int of any size, because the domain allows whole numbers only.
        connection.adapters.register_loader("numeric", IntLoader)
        connection.adapters.register_loader("jsonb", _JsonTextLoader)
        if not pooler:
            connection.execute(session.SET, session.arrays(session.PINNED, chosen), prepare=False)

    def make(size: int) -> Engine:
        # All connections commit by themselves; `begin` says otherwise for its block. SQLAlchemy's own way to switch costs
        # as much as a small query.
        made = create_engine(
            engine_url(given),
            creator=open_one,
            pool_size=size,
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT_S,
            isolation_level="AUTOCOMMIT",
            pool_reset_on_return=None,
            skip_autocommit_rollback=True,
            use_native_hstore=False,
        )
        event.listen(made, "begin", _refuse_unused)
        return made

    writers = max(1, min(2, connections - 1), connections // 3)
    engine = make(writers)
    reader = make(connections - writers) if connections > 1 else engine
    _pools[engine] = _Pools(reader, within_s, local, url)
    if reader is not engine:
        event.listen(engine, "engine_disposed", lambda _: reader.dispose())
    return engine


OPEN_S = 5.0
"""A new connection must be ready for use after so long, when the server has let it in."""

POOL_TIMEOUT_S = 5.0
"""The time for which a thread waits for a connection of its process that is free."""

_pools: WeakKeyDictionary[Engine, _Pools] = WeakKeyDictionary()
"""The pools of each engine. They go when the engine goes."""


class Watched(psycopg.Connection[Any]):
    """A connection whose uses have deadlines."""

    is_used = False
    """Whether a function of this module has handed it out."""
    _lifeline: Lifeline | None = None

    def watch(self, deadline: float) -> None:
        """Start a use that is cut at the deadline, if it has not ended by then."""
        if self._lifeline is None:
            self._lifeline = Lifeline(self)
        WATCH.start(self._lifeline.handle, deadline)

    def run_first(self, cursor: psycopg.Cursor[Any], message: bytes) -> None:
        """Run statements without parameters. BEGIN goes out with them, if the transaction has not begun yet."""
        if self._autocommit or _is_in_transaction(self):
            cursor.execute(message, prepare=False)
            return
        self._autocommit = True  # Otherwise the driver sends BEGIN alone, and waits for the answer.
        try:
            cursor.execute(self._get_tx_start_command() + b"; " + message, prepare=False)
        finally:
            self._autocommit = False

    @property
    def is_watched(self) -> bool:
        """Whether a use is under way that has a deadline."""
        return self._lifeline is not None and WATCH.is_under_way(self._lifeline.handle)

    def unwatch(self) -> bool:
        """End the use. Returns False if it was cut."""
        return self._lifeline is None or WATCH.end(self._lifeline.handle)


def pools(engine: Engine) -> dict[str, QueuePool]:
    """Return the pools of an engine by what takes their connections: ``begin`` or ``reading``."""
    named = {"begin": engine.pool, "reading": _pools[engine].reader.pool}
    return {name: pool for name, pool in named.items() if isinstance(pool, QueuePool)}


@contextmanager
def begin(engine: Engine, *, within_s: float | None = None) -> Iterator[Connection]:
    """Open a transaction that commits at the end of the block.

    A block that takes longer than ``within_s``, or than the engine allows, loses its connection.

    Raises:
        TransientError: the database was busy, gone, restarting or standing still. A commit may or may not have happened.
    """
    with _using(engine, engine, within_s) as conn, _transaction(conn, _pools[engine].local):
        yield conn


@contextmanager
def reading(engine: Engine, *, within_s: float | None = None) -> Iterator[Connection]:
    """Open a connection without a transaction, for a few statements that only read. It saves BEGIN and COMMIT.

    Raises:
        TransientError: as ``begin``.
    """
    pools = _pools[engine]
    with _using(engine, pools.reader, within_s) as conn:
        if not pools.local:
            yield conn
            return
        with _transaction(conn, pools.local):
            yield conn


@contextmanager
def without_transaction(engine: Engine, *, within_s: float) -> Iterator[Connection]:
    """Open a connection for statements that may not be in a transaction, behind a pooler either. Each commits by itself.

    Raises:
        TransientError: as ``begin``.
    """
    with _using(engine, engine, within_s) as conn:
        yield conn


@contextmanager
def reading_within(engine: Engine, seconds: float) -> Iterator[Connection]:
    """Open a transaction that only reads, sees one state of the database, and cancels a statement after ``seconds``.

    Raises:
        TooSlow: a statement took longer.
        TransientError: as ``begin``.
    """
    pools = _pools[engine]
    with _using(engine, pools.reader, None) as conn, _frozen(conn, pools.local):
        driver(conn).execute(_READ_WITHIN.format(sql.Literal(f"{seconds * 1000:.0f}ms")), prepare=False)
        try:
            yield conn
        except (DBAPIError, psycopg.errors.QueryCanceled) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            if isinstance(cause, psycopg.errors.QueryCanceled):
                raise TooSlow(seconds) from error
            raise


_READ_WITHIN = sql.SQL("SET LOCAL statement_timeout = {}; SET LOCAL plan_cache_mode = force_custom_plan")
"""Two settings that go out in one message. ``plan_for_values`` says why plans are custom."""


@contextmanager
def snapshot(engine: Engine, *, within_s: float | None = None, of: str | None = None) -> Iterator[Connection]:
    """Open a transaction that only reads, sees one state of the database, and whose statements have no time limit.

    ``of`` is the state that another transaction sees, as ``export_snapshot`` names it.

    Raises:
        TransientError: as ``begin``.
    """
    with _using(engine, engine, within_s) as conn, _frozen(conn, _pools[engine].local):
        if of is not None:
            driver(conn).execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(of)), prepare=False)
        driver(conn).execute("SET LOCAL statement_timeout = 0", prepare=False)
        yield conn


def export_snapshot(conn: Connection) -> str:
    """Name the state that a transaction sees, for others to see too, as long as it is open."""
    (name,) = driver(conn).execute("SELECT pg_export_snapshot()").fetchone() or ("",)
    return str(name)


def source_of(engine: Engine) -> str | None:
    """Return the URL from which another process makes such an engine; None behind a pooler, where it cannot share a snapshot."""
    pools = _pools[engine]
    return None if pools.local else pools.url


def plan_for_values(conn: Connection) -> None:
    """Make Postgres plan each statement for its values, until the transaction ends.

    A plan that is right for a busy balance is wrong for a quiet one. The driver prepares a statement that it has seen a
    few times, and Postgres may then plan it once for all values.
    """
    driver(conn).execute("SET LOCAL plan_cache_mode = force_custom_plan")


_NOT_NOW = "the database is not available right now; try again"


@contextmanager
def _using(engine: Engine, pool: Engine, within_s: float | None) -> Iterator[Connection]:
    """Take a connection of a pool until the block ends or its deadline comes, and turn the driver's errors into ours."""
    about_to_wait()
    deadline = time.monotonic() + (within_s or _pools[engine].within_s)
    with _translating(), _opened(pool) as conn:
        watched = driver(conn)
        assert isinstance(watched, Watched)
        watched.watch(deadline)
        watched.is_used = True
        try:
            yield conn
        finally:
            watched.is_used = False
            whole = watched.unwatch()
            if not conn.invalidated and (not whole or watched.broken or _is_in_transaction(watched)):
                # Whatever cut this connection has cut the idle ones too: the server restarted or stands still.
                conn.invalidate()
                engine.dispose()


def _refuse_unused(conn: Connection) -> None:
    """Refuse SQLAlchemy's own ``engine.begin()`` and ``engine.connect()``, whose statements would commit one by one.

    Raises:
        InvariantBroken: the connection was not opened by ``begin`` or a function like it.
    """
    if not getattr(driver(conn), "is_used", False):
        raise InvariantBroken(
            "a connection of the ledger is opened by core.base.db.begin or reading, and in no other way"
        )


def _opened(pool: Engine) -> Connection:
    """Take a connection of a pool. One that cannot be opened says nothing about the call, so every such error may pass."""
    try:
        return pool.connect()
    except (DBAPIError, psycopg.Error, OSError) as error:  # An OSError: this process may open no more files.
        raise TransientError(_NOT_NOW) from error


@contextmanager
def _transaction(conn: Connection, local: dict[str, str]) -> Iterator[None]:
    """Make the statements of a block one transaction, which commits at the end. BEGIN goes out with the first of them."""
    connection = driver(conn)
    connection.autocommit = False
    try:
        with conn.begin():
            if local:
                if "search_path" not in local:
                    (local["search_path"],) = connection.execute(
                        session.FIND_SEARCH_PATH, prepare=False
                    ).fetchone() or ("",)
                connection.execute(session.set_local(local), prepare=False)
            yield
    finally:
        with suppress(psycopg.Error):
            connection.autocommit = True


@contextmanager
def _frozen(conn: Connection, local: dict[str, str]) -> Iterator[None]:
    """Make the statements of a block one transaction that only reads, and sees one state of the database."""
    connection = driver(conn)
    connection.isolation_level, connection.read_only = IsolationLevel.REPEATABLE_READ, True
    try:
        with _transaction(conn, local):
            yield
    finally:
        with suppress(psycopg.Error):
            connection.isolation_level, connection.read_only = IsolationLevel.READ_COMMITTED, None


def _is_in_transaction(connection: psycopg.Connection[Any]) -> bool:
    return connection.pgconn.transaction_status != TransactionStatus.IDLE


@contextmanager
def _translating() -> Iterator[None]:
    """Turn driver errors that may pass into TransientError. Any other driver error is a bug, and passes through."""
    try:
        yield
    except (DBAPIError, psycopg.Error, PoolTimeout) as error:
        if _is_transient(error):
            raise TransientError(_NOT_NOW) from error
        raise


def set_defaults(conn: Connection, role: str | None = None) -> list[str]:
    """Make the settings of a session the defaults of a role in this database, and return those that may not be set.

    The current role is meant unless another is named.

    Whoever opens the database with another program then sees what the ledger sees. Sessions set them for themselves too.
    """
    connection = driver(conn)
    refused = []
    for database, name, value in connection.execute(
        session.DIFFERENT, {"role": role, **session.arrays(session.PINNED, session.CHOSEN)}
    ).fetchall():
        try:
            with connection.transaction():
                connection.execute(session.set_default(role, database, name, value))
        except psycopg.errors.InsufficientPrivilege:
            refused.append(name)
    return refused


def driver(conn: Connection) -> psycopg.Connection[Any]:
    """Return the psycopg connection under this one, which is faster for COPY and for thousands of rows."""
    connection = conn.connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    return connection


class _JsonTextLoader(Loader):
    """Loads jsonb as text, so that no number in metadata turns into a float."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode()


def _is_transient(error: Exception) -> bool:
    """Tell whether the same call may work next time."""
    if isinstance(error, PoolTimeout):
        return True
    cause = error.orig if isinstance(error, DBAPIError) else error
    sqlstate = getattr(cause, "sqlstate", None)
    if sqlstate is None:
        # An internal error of the driver is an answer in two parts: a pooler says that the server is gone, and hangs up.
        return isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError))
    return is_not_now(sqlstate)
