"""Drops and makes indexes of large tables, and validates constraints, while posts go on.

It is safe to repeat, whatever ended it before.
"""

import psycopg
import structlog
from sqlalchemy import Connection

from core.base.db import driver

logger = structlog.get_logger()

PATIENCE = "5min"
"""A statement that must wait for longer, for transactions that use its table to end, is left to the next upgrade."""


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


def is_validated(conn: Connection, table: str, constraint: str) -> bool:
    """Tell whether all rows of a table were found to meet a constraint."""
    return driver(conn).execute(_IS_VALIDATED, (table, constraint)).fetchone() == (True,)


def validate(conn: Connection, table: str, constraint: str) -> None:
    """Look whether all rows meet a constraint, unless that is known. If one does not, the constraint stays as it is."""
    if not is_validated(conn, table, constraint):
        _try(conn, f"ALTER TABLE {table} VALIDATE CONSTRAINT {constraint}")


_IS_VALIDATED = """
    SELECT convalidated
    FROM pg_constraint
    WHERE conrelid = to_regclass(%s)
      AND conname = %s
"""

_IS_VALID = """
    SELECT indisvalid
    FROM pg_index
    WHERE indexrelid = to_regclass(%s)
"""


_LEFT = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.UndefinedTable,
    psycopg.errors.CheckViolation,
)


def _try(conn: Connection, statement: str) -> None:
    """Run a statement. One that had to wait for too long, or that a row stops, is left to the next upgrade."""
    connection = driver(conn)
    connection.execute(
        "SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', %s, false)", (PATIENCE,)
    )
    try:
        connection.execute(statement)
    except _LEFT as error:
        logger.warning("a statement is left to the next upgrade", statement=statement, error=str(error))
    finally:
        connection.execute("RESET statement_timeout; RESET lock_timeout")
