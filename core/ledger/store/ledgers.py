"""Reads and writes ledgers, which are groups of balances. The first migration makes the General Ledger."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Row, text


class LedgerRow(NamedTuple):
    """A ledger as it is read."""

    ledger_id: str
    name: str
    meta_data: str | None
    """JSON text of an object."""
    created_at: datetime


_CREATE = text(
    """
    INSERT INTO ledgers (ledger_id, name, meta_data)
    VALUES (:ledger_id, :name, CAST(:meta_data AS jsonb))
    RETURNING ledger_id, name, meta_data, created_at
    """
)

_FIND = text(
    """
    SELECT ledger_id, name, meta_data, created_at
    FROM ledgers
    WHERE ledger_id = :id
    """
)

# The row is locked before it is changed, so that the old name is the one that this statement replaces.
_RENAME = text(
    """
    WITH before AS (
        SELECT id, name
        FROM ledgers
        WHERE ledger_id = :id
        FOR NO KEY UPDATE
    )
    UPDATE ledgers
    SET name = :name
    FROM before
    WHERE ledgers.id = before.id
    RETURNING ledger_id, ledgers.name, meta_data, created_at, before.name
    """
)

_FIND_KEYS = text(
    """
    SELECT id, ledger_id, name, meta_data, created_at
    FROM ledgers
    WHERE id = ANY(:keys)
    """
)


def create(conn: Connection, ledger_id: str, name: str, meta_data: str | None) -> LedgerRow:
    """Create a ledger. ``meta_data`` is the JSON text of an object."""
    row = conn.execute(_CREATE, {"ledger_id": ledger_id, "name": name, "meta_data": meta_data}).one()
    return LedgerRow(*row)


def find(conn: Connection, ledger_id: str) -> LedgerRow | None:
    """Find a ledger by its ID. Returns None when there is none."""
    return _ledger(conn.execute(_FIND, {"id": ledger_id}).one_or_none())


def rename(conn: Connection, ledger_id: str, name: str) -> tuple[LedgerRow, str] | None:
    """Give a ledger another name. Returns it and its old name, or None when there is no such ledger."""
    row = conn.execute(_RENAME, {"id": ledger_id, "name": name}).one_or_none()
    return None if row is None else (LedgerRow(*row[:-1]), row[-1])


def find_keys(conn: Connection, keys: list[int]) -> dict[int, LedgerRow]:
    """Find ledgers by their internal keys."""
    return {row[0]: LedgerRow(*row[1:]) for row in conn.execute(_FIND_KEYS, {"keys": keys})}


def _ledger(row: "Row[tuple[str, str, str | None, datetime]] | None") -> LedgerRow | None:
    return LedgerRow._make(row) if row is not None else None
