"""Drops and makes indexes of large tables while posts go on. It is safe to repeat, whatever ended it before."""

import psycopg
import structlog
from sqlalchemy import Connection

from core.base.db import driver

logger = structlog.get_logger()

PATIENCE = "5min"
"""An index is given up for this time when transactions that use its table take longer to end. The next upgrade tries again."""


def exists(conn: Connection, name: str) -> bool:
    """Tell whether there is an index of this name, even one that is not valid."""
    row = driver(conn).execute("SELECT to_regclass(%s) IS NOT NULL", (name,)).fetchone()
    return row == (True,)


def is_valid(conn: Connection, name: str) -> bool:
    """Tell whether there is an index of this name that is made, so that it can be used."""
    return driver(conn).execute(_IS_VALID, (name,)).fetchone() == (True,)


def drop(conn: Connection, name: str) -> None:
    """Drop an index, if it is there. It waits for the transactions that use its table, and nobody waits for it."""
    if exists(conn, name):
        _try(conn, f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


def make(conn: Connection, name: str, definition: str) -> None:
    """Make an index, if it is not there. One that was left half made is made anew."""
    if exists(conn, name):
        if is_valid(conn, name):
            return
        drop(conn, name)
    _try(conn, f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {definition}")


_IS_VALID = """
    SELECT indisvalid
    FROM pg_index
    WHERE indexrelid = to_regclass(%s)
"""


def _try(conn: Connection, statement: str) -> None:
    """Run a statement. One that had to wait for too long is left to the next upgrade."""
    connection = driver(conn)
    connection.execute(
        "SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', %s, false)", (PATIENCE,)
    )
    try:
        connection.execute(statement)
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, psycopg.errors.UndefinedTable) as error:
        logger.warning("an index is left to the next upgrade", statement=statement, error=str(error))
    finally:
        connection.execute("RESET statement_timeout; RESET lock_timeout")
