"""Ledgers: groups of balances. The General Ledger is there from the first migration."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Row, text

from core.ledger.rules.model import GENERAL_LEDGER

__all__ = ["GENERAL_LEDGER", "LedgerRow", "create", "find", "find_keys", "rename"]


class LedgerRow(NamedTuple):
    ledger_id: str
    name: str
    meta_data: str | None
    """JSON text of an object."""
    created_at: datetime


_COLUMNS = "ledger_id, name, meta_data, created_at"


def create(conn: Connection, ledger_id: str, name: str, meta_data: str | None) -> LedgerRow:
    """``meta_data`` is the JSON text of an object."""
    row = conn.execute(
        text(
            "INSERT INTO ledgers (ledger_id, name, meta_data) VALUES (:ledger_id, :name, CAST(:meta_data AS jsonb)) "
            f"RETURNING {_COLUMNS}"
        ),
        {"ledger_id": ledger_id, "name": name, "meta_data": meta_data},
    ).one()
    return LedgerRow(*row)


def find(conn: Connection, ledger_id: str) -> LedgerRow | None:
    row = conn.execute(text(f"SELECT {_COLUMNS} FROM ledgers WHERE ledger_id = :id"), {"id": ledger_id}).one_or_none()
    return _ledger(row)


def rename(conn: Connection, ledger_id: str, name: str) -> LedgerRow | None:
    """None when there is no such ledger."""
    row = conn.execute(
        text(f"UPDATE ledgers SET name = :name WHERE ledger_id = :id RETURNING {_COLUMNS}"),
        {"id": ledger_id, "name": name},
    ).one_or_none()
    return _ledger(row)


def find_keys(conn: Connection, keys: list[int]) -> dict[int, LedgerRow]:
    """By their keys."""
    sql = text(f"SELECT id, {_COLUMNS} FROM ledgers WHERE id = ANY(:keys)")
    return {row[0]: LedgerRow(*row[1:]) for row in conn.execute(sql, {"keys": keys})}


def _ledger(row: "Row[tuple[str, str, str | None, datetime]] | None") -> LedgerRow | None:
    return LedgerRow._make(row) if row is not None else None
