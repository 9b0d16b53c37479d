"""Sends several statements as one message, for a fraction of what the driver's pipeline costs a process.

The statements with parameters must be prepared in the session. The driver prepares what it has run a few times and forgets it
with each rollback, so it is asked for their names each time. Until it has them, the statements go out in a pipeline.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from psycopg import Connection as DriverConnection
from psycopg._queries import PostgresQuery
from psycopg.adapt import Transformer
from psycopg.pq import Escaping
from sqlalchemy import Connection

from core.base.db import Watched, driver

Rows = list[tuple[Any, ...]]


class Statement(NamedTuple):
    """A statement and its parameters, in the order in which it names them."""

    text: str
    values: Mapping[str, int | str | bytes] = {}
    """Empty for one that returns no rows, such as SAVEPOINT."""


def run_together(conn: Connection, statements: Sequence[Statement]) -> list[Rows]:
    """Run statements one after the other, in one round trip, and return the rows of each that has parameters.

    Each has a snapshot of its own, which is taken when the one before it has ended. The first error ends them.
    """
    connection = driver(conn)
    assert isinstance(connection, Watched)
    message = _message(connection, statements)
    if message is None:
        with connection.pipeline():
            cursors = [connection.execute(each.text, each.values or None) for each in statements]
        return [cursor.fetchall() for cursor, each in zip(cursors, statements, strict=True) if each.values]
    with connection.cursor() as cursor:
        connection.run_first(cursor, message)
        found: list[Rows] = []
        more: bool | None = True
        while more:
            if cursor.pgresult is not None and cursor.pgresult.nfields:  # BEGIN has none.
                found.append(cursor.fetchall())
            more = cursor.nextset()
        return found


def _message(connection: DriverConnection[Any], statements: Sequence[Statement]) -> bytes | None:
    """Write the statements by their names in the session. Returns None if one has none yet."""
    names = connection._prepared._names
    escaping = Escaping(connection.pgconn)
    parts = []
    for each in statements:
        if not each.values:
            parts.append(each.text.encode())
            continue
        key = _key(each)
        name = names.get(key)
        if name is None:
            return None
        names.move_to_end(key)  # What is used least goes first.
        values = b", ".join(_literal(escaping, value) for value in each.values.values())
        parts.append(b"EXECUTE %b (%b)" % (name, values))
    return b"; ".join(parts)


_keys: dict[str, tuple[bytes, tuple[int, ...]]] = {}
"""The key under which the driver knows a statement, by its text. The types of its values are always the same."""


def _key(statement: Statement) -> tuple[bytes, tuple[int, ...]]:
    key = _keys.get(statement.text)
    if key is None:
        query = PostgresQuery(Transformer())
        query.convert(statement.text, statement.values)
        key = _keys[statement.text] = query.query, query.types
    return key


def _literal(escaping: Any, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return b"%d" % value
    text = f"\\x{value.hex()}" if isinstance(value, bytes) else value
    return bytes(escaping.escape_literal(text.encode()))
