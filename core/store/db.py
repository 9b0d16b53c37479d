"""Connections, and the place where the driver's errors stop."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.adapt import Buffer, Loader
from psycopg.types.numeric import IntLoader
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.errors import TransientError

_TRANSIENT = re.compile(r"^(08|53|57|40001|40P01|55P03|25P03)")
"""SQLSTATEs worth another try: connection, resources, shutdown or timeout, serialization, deadlock, lock timeout."""


def connect(url: str, *, pool_size: int = 8, statement_timeout_s: int = 60, lock_timeout_s: int = 10) -> Engine:
    """An engine for the ledger's database. ``postgres://`` and ``postgresql://`` mean psycopg 3."""
    url = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)
    options = (
        f"-c statement_timeout={statement_timeout_s}s -c lock_timeout={lock_timeout_s}s "
        "-c idle_in_transaction_session_timeout=120s -c timezone=UTC -c jit=off"
    )
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
        connect_args={"options": options, "connect_timeout": 5, "application_name": "pacioli"},
    )
    event.listen(engine, "connect", _adapt)
    return engine


@contextmanager
def begin(engine: Engine) -> Iterator[Connection]:
    """A transaction that commits at the end of the block.

    Raises:
        TransientError: the database was busy, gone or restarting. Whether a commit took place is then not known.
    """
    try:
        with engine.begin() as conn:
            try:
                yield conn
            except (DBAPIError, psycopg.Error):
                _forget_if_lost(conn, engine)
                raise
    except (DBAPIError, psycopg.Error, PoolTimeout) as error:
        if _is_transient(error):
            raise TransientError("the database is not available right now; try again") from error
        raise


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection without a transaction, for a statement or two that only read: no BEGIN, no COMMIT.

    Raises:
        TransientError: as ``begin``.
    """
    with begin(_autocommitting(engine)) as conn:
        yield conn


@lru_cache(maxsize=16)
def _autocommitting(engine: Engine) -> Engine:
    """The same pool, with connections that open no transaction. Kept, for making it costs more than a small query."""
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def driver(conn: Connection) -> psycopg.Connection[Any]:
    """psycopg's connection, for COPY and for statements whose rows are read by the ten thousand."""
    connection = conn.connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    return connection


def copy_rows(conn: Connection, table: str, columns: str, rows: Iterable[Sequence[Any]]) -> None:
    """Append rows with COPY, which costs a fraction of INSERT for each row."""
    with driver(conn).cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def copy_text(conn: Connection, table: str, columns: str, lines: Iterable[str]) -> None:
    """Append rows that are COPY's text format already: tabs between, ``\\N`` for null, nothing that needs an escape."""
    with driver(conn).cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
        copy.write("\n".join(lines) + "\n")


def array(values: Iterable[int]) -> str:
    """A Postgres array of integers as its text, for a parameter that is cast: tenfold faster than a list of them."""
    return f"{{{','.join(map(str, values))}}}"


class _JsonTextLoader(Loader):
    """jsonb as its text: metadata passes through unread, so no number in it turns into a float."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode()


def _adapt(connection: psycopg.Connection[Any], _record: object) -> None:
    # NUMERIC as int, of any size: every numeric of the ledger is a whole number, which the domain enforces.
    connection.adapters.register_loader("numeric", IntLoader)
    connection.adapters.register_loader("jsonb", _JsonTextLoader)


def _forget_if_lost(conn: Connection, engine: Engine) -> None:
    """Drop a broken connection, and the idle ones with it: a server that restarted has cut them all."""
    if not conn.invalidated and conn.connection.driver_connection.broken:  # type: ignore[union-attr]
        conn.invalidate()
        engine.dispose()


def _is_transient(error: Exception) -> bool:
    if isinstance(error, PoolTimeout):
        return True
    cause = error.orig if isinstance(error, DBAPIError) else error
    sqlstate = getattr(cause, "sqlstate", None)
    if sqlstate is None:
        return isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError))
    return bool(_TRANSIENT.match(sqlstate))
