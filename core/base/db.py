"""Opens connections and transactions, and turns the driver's errors into ours."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg import sql
from psycopg.adapt import Buffer, Loader
from psycopg.types.numeric import IntLoader
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.base.errors import TooSlow, TransientError

_PIECE = 250
"""The number of rows of a COPY that are sent at once."""

_TRANSIENT = re.compile(r"^(08|53|57|40001|40P01|55P03|25P03)")
"""The SQLSTATEs that are worth another try: connection, resources, shutdown or timeout, serialization, deadlock, locks."""


def connect(
    url: str, *, pool_size: int = 8, readers: int = 8, statement_timeout_s: int = 60, lock_timeout_s: int = 10
) -> Engine:
    """Make an engine for the ledger's database.

    ``begin`` takes one of ``pool_size`` connections, and ``reading`` one of ``readers``. Both kinds open on demand.
    Each session gets all the settings that the ledger needs when it connects. ``postgres://`` and ``postgresql://``
    mean psycopg 3.
    """
    url = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)
    options = (
        f"-c statement_timeout={statement_timeout_s}s -c lock_timeout={lock_timeout_s}s "
        "-c idle_in_transaction_session_timeout=120s -c timezone=UTC -c jit=off"
    )
    arguments: dict[str, Any] = {
        "max_overflow": 0,
        "pool_timeout": 10,
        "connect_args": {"options": options, "connect_timeout": 5, "application_name": "pacioli"},
    }
    engine = create_engine(url, pool_size=pool_size, **arguments)
    # Readers have a pool of their own, because switching a connection to autocommit and back costs as much as a small
    # query. A thread that waits for a connection costs more.
    reader = create_engine(
        url, pool_size=readers, isolation_level="AUTOCOMMIT", pool_reset_on_return=None, skip_autocommit_rollback=True,
        **arguments,
    )  # fmt: skip
    for each in (engine, reader):
        event.listen(each, "connect", _adapt)
    _readers[engine] = reader
    event.listen(engine, "engine_disposed", lambda _: reader.dispose())
    return engine


_readers: WeakKeyDictionary[Engine, Engine] = WeakKeyDictionary()
"""The pool of ``reading`` connections of each engine. It goes when the engine goes."""


@contextmanager
def begin(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that commits at the end of the block.

    Raises:
        TransientError: the database was busy, gone or restarting. A commit may or may not have happened.
    """
    with _translating(), engine.begin() as conn, _noticing_loss(conn, engine):
        yield conn


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a connection without a transaction, for a few statements that only read. It saves BEGIN and COMMIT.

    Raises:
        TransientError: as ``begin``.
    """
    with _translating(), _readers[engine].connect() as conn, _noticing_loss(conn, engine):
        yield conn


_READ_WITHIN = sql.SQL(
    """
    SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;
    SET LOCAL statement_timeout = {};
    SET LOCAL plan_cache_mode = force_custom_plan
    """
)
"""Three settings that go out in one message. ``plan_for_values`` says why plans are custom."""


@contextmanager
def reading_within(engine: Engine, seconds: float) -> Iterator[Connection]:
    """Open a transaction that only reads, sees one state of the database, and cancels a statement after ``seconds``.

    Raises:
        TooSlow: a statement took longer.
        TransientError: as ``begin``.
    """
    with reading(engine) as conn, driver(conn).transaction():
        driver(conn).execute(_READ_WITHIN.format(sql.Literal(f"{seconds * 1000:.0f}ms")), prepare=False)
        try:
            yield conn
        except (DBAPIError, psycopg.errors.QueryCanceled) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            if isinstance(cause, psycopg.errors.QueryCanceled):
                raise TooSlow(seconds) from error
            raise


def plan_for_values(conn: Connection) -> None:
    """Make Postgres plan each statement for its values, until the transaction ends.

    A plan that is right for a busy balance is wrong for a quiet one. The driver prepares a statement that it has seen a
    few times, and Postgres may then plan it once for all values.
    """
    driver(conn).execute("SET LOCAL plan_cache_mode = force_custom_plan")


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that only reads, sees one state of the database, and has no time limit.

    Raises:
        TransientError: as ``begin``.
    """
    frozen = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with begin(frozen) as conn:
        driver(conn).execute("SET LOCAL statement_timeout = 0")
        yield conn


@contextmanager
def _translating() -> Iterator[None]:
    """Turn driver errors that may pass into TransientError. Any other driver error is a bug, and passes through."""
    try:
        yield
    except (DBAPIError, psycopg.Error, PoolTimeout) as error:
        if _is_transient(error):
            raise TransientError("the database is not available right now; try again") from error
        raise


@contextmanager
def _noticing_loss(conn: Connection, engine: Engine) -> Iterator[None]:
    """Drop a broken connection and all idle ones, because a server that restarted has cut them all."""
    try:
        yield
    except (DBAPIError, psycopg.Error):
        if not conn.invalidated and conn.connection.driver_connection.broken:  # type: ignore[union-attr]
            conn.invalidate()
            engine.dispose()
        raise


def driver(conn: Connection) -> psycopg.Connection[Any]:
    """Return the psycopg connection under this one, which is faster for COPY and for thousands of rows."""
    connection = conn.connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    return connection


def copy_text(conn: Connection, table: str, columns: str, lines: Iterable[str]) -> None:
    """Append rows with COPY, which costs a fraction of INSERT for each row.

    ``lines`` are in COPY's text format: tabs between columns, ``\\N`` for null, and escaped texts. They go out in pieces,
    so that the server writes the first rows while the next are being made.
    """
    with driver(conn).cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
        for piece in _batched(lines, _PIECE):
            copy.write("\n".join(piece) + "\n")


def _batched(lines: Iterable[str], size: int) -> Iterator[list[str]]:
    """Cut into lists of this size, as ``itertools.batched`` does from Python 3.12 on."""
    rest = iter(lines)
    while piece := list(islice(rest, size)):
        yield piece


def array(values: Iterable[int]) -> str:
    """Write integers as the text of a Postgres array, for a parameter with a cast. It is ten times as fast as a list."""
    return f"{{{','.join(map(str, values))}}}"


class _JsonTextLoader(Loader):
    """Loads jsonb as text, so that no number in metadata turns into a float."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode()


def _adapt(connection: psycopg.Connection[Any], _record: object) -> None:
    """Set the loaders of a new connection."""
    # NUMERIC becomes an int of any size, because the domain allows whole numbers only.
    connection.adapters.register_loader("numeric", IntLoader)
    connection.adapters.register_loader("jsonb", _JsonTextLoader)


def _is_transient(error: Exception) -> bool:
    """Tell whether the same call may work next time."""
    if isinstance(error, PoolTimeout):
        return True
    cause = error.orig if isinstance(error, DBAPIError) else error
    sqlstate = getattr(cause, "sqlstate", None)
    if sqlstate is None:
        return isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError))
    return bool(_TRANSIENT.match(sqlstate))
