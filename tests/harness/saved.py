"""The rows of a database as one test has made them, for the tests after it to begin with.

A history of ten requests takes longer to make than to copy.
"""

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Engine, text

from core.base.db import begin, driver
from core.base.tables.schema import metadata
from tests.harness.history import NO_TRIGGERS


class Saved(NamedTuple):
    """All rows, as COPY writes them, and how far each sequence has counted."""

    tables: dict[str, bytes]
    sequences: dict[str, int]


def save(engine: Engine) -> Saved:
    """Return what the database holds. The engine is the owner's."""
    tables = {}
    with begin(engine) as conn:
        for table in metadata.sorted_tables:
            with driver(conn).cursor().copy(f"COPY {table.name} TO STDOUT".encode()) as copy:
                if rows := b"".join(copy):
                    tables[table.name] = rows
        return Saved(tables, {row[0]: row[1] for row in conn.execute(_SEQUENCES)})


def restore(engine: Engine, saved: Saved) -> None:
    """Put the rows into a database in the place of all that it holds. Nobody may have read from it yet."""
    statements = [NO_TRIGGERS, *(f"DELETE FROM {table.name}" for table in metadata.sorted_tables)]
    statements += [f"SELECT setval('{name}', {last})" for name, last in saved.sequences.items()]
    with begin(engine) as conn:
        connection = driver(conn)
        connection.execute("; ".join(statements).encode())
        for name, rows in saved.tables.items():
            with connection.cursor().copy(f"COPY {name} FROM STDIN".encode()) as copy:
                copy.write(rows)


class MadeOnce:
    """The rows that the first test of a process makes, with their ids, for the tests after it."""

    def __init__(self) -> None:
        self._made: tuple[Saved, dict[str, str]] | None = None

    def restore(self, engine: Engine) -> None:
        """Put the rows into a database, if they are made."""
        if self._made is not None:
            restore(engine, self._made[0])

    def rows(self, engine: Engine, make: Callable[[], object]) -> None:
        """Put the rows into a database from which nobody has read. Only the first call makes them."""
        if self._made is None:
            make()
            self._made = save(engine), {}
        else:
            restore(engine, self._made[0])

    def ids(self, engine: Engine, make: Callable[[], dict[str, str]]) -> dict[str, str]:
        """Return the ids of the rows. Only the first call makes them."""
        if self._made is None:
            ids = make()
            self._made = save(engine), ids
        return self._made[1]


_SEQUENCES = text("""
    SELECT quote_ident(schemaname) || '.' || quote_ident(sequencename), last_value
    FROM pg_sequences
    WHERE last_value IS NOT NULL
""")
