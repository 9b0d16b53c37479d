"""Reads how much disk the tables of transactions take, each of their indexes apart."""

from typing import NamedTuple

from sqlalchemy import Connection

from core.base.db import driver

# What PostgreSQL keeps beside the rows of a table, such as long texts, counts as the table's.
_SIZES = """
    SELECT t.relname, c.relname, CASE WHEN c.oid = t.oid THEN pg_table_size(c.oid) ELSE pg_relation_size(c.oid) END
    FROM pg_class AS t
    JOIN (
        SELECT indrelid AS table, indexrelid AS oid
        FROM pg_index
        UNION ALL
        SELECT oid, oid
        FROM pg_class
    ) AS part ON part.table = t.oid
    JOIN pg_class AS c ON c.oid = part.oid
    WHERE t.oid IN (to_regclass('log'), to_regclass('outcomes'))
    ORDER BY t.relname, c.oid <> t.oid, 3 DESC, c.relname
"""

_ROWS = """
    SELECT coalesce(max(seq) - min(seq) + 1, 0)
    FROM log
"""


class Size(NamedTuple):
    """The size of a table or of one index of it."""

    table: str
    relation: str
    """The table itself, or the index."""
    bytes: int


class Disk(NamedTuple):
    """The disk that transactions take: that of the log and of the outcomes."""

    transactions: int
    sizes: list[Size]

    @property
    def bytes_each(self) -> float:
        """The bytes of a transaction. It is 0 when there is none."""
        return sum(size.bytes for size in self.sizes) / self.transactions if self.transactions else 0.0

    def bytes_of(self, table: str, *, indexes: bool) -> float:
        """Return the bytes of a transaction in a table, or in the indexes of the table."""
        found = sum(size.bytes for size in self.sizes if size.table == table and (size.relation != table) == indexes)
        return found / self.transactions if self.transactions else 0.0


def disk(conn: Connection) -> Disk:
    """Read the sizes of the log and the outcomes. It reads no row but the first and the last."""
    (rows,) = driver(conn).execute(_ROWS).fetchone() or (0,)
    return Disk(rows, [Size(*row) for row in driver(conn).execute(_SIZES)])
