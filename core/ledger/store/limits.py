"""Reads and adds the limits of balances: floors and freezes. A change is a new row, and none is ever changed."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from core.base.db import array, driver
from core.ledger.rules.model import Limit

# balance_limits_balance_idx serves this and the next.
_FIND = """
    SELECT balance, after_seq, floor, frozen
    FROM balance_limits
    WHERE balance = ANY(%(ids)s::bigint[])
    ORDER BY balance, id
"""

_FIND_ALL = """
    SELECT balance, after_seq, floor, frozen
    FROM balance_limits
    ORDER BY balance, id
"""

_CHANGES = text(
    """
    SELECT floor, frozen, reason, actor, after_seq, set_at
    FROM balance_limits
    WHERE balance = :balance
    ORDER BY id DESC
    LIMIT :limit
    """
)

_ADD = text(
    """
    INSERT INTO balance_limits (balance, after_seq, floor, frozen, reason, actor)
    VALUES (:balance, :after_seq, :floor, :frozen, :reason, :actor)
    RETURNING set_at
    """
)


class LimitRow(NamedTuple):
    """The limits of a balance, since they were set."""

    floor: int | None
    frozen: int
    reason: str | None
    actor: str
    after_seq: int
    """They count for what is accepted after this."""
    set_at: datetime


def find(conn: Connection, ids: Collection[int]) -> dict[int, list[Limit]]:
    """Find the limits of balances, in the order in which they were set. Balances that never had any are left out."""
    return _by_balance(driver(conn).execute(_FIND, {"ids": array(ids)}).fetchall())


def find_all(conn: Connection) -> dict[int, list[Limit]]:
    """Find the limits of all balances."""
    return _by_balance(driver(conn).execute(_FIND_ALL).fetchall())


def _by_balance(rows: list[tuple[int, int, int | None, int]]) -> dict[int, list[Limit]]:
    found: dict[int, list[Limit]] = {}
    for balance, after_seq, floor, frozen in rows:
        found.setdefault(balance, []).append(Limit(after_seq, floor, frozen))
    return found


def changes(conn: Connection, balance: int, limit: int) -> list[LimitRow]:
    """Read what was set for a balance, the latest first."""
    return [LimitRow(*row) for row in conn.execute(_CHANGES, {"balance": balance, "limit": limit})]


def add(conn: Connection, balance: int, limit: Limit, *, reason: str | None, actor: str) -> LimitRow:
    """Set the limits of a balance, in place of those that it has."""
    values = {"balance": balance, "reason": reason, "actor": actor, **limit._asdict()}
    set_at: datetime = conn.execute(_ADD, values).scalar_one()
    return LimitRow(limit.floor, limit.frozen, reason, actor, limit.after_seq, set_at)
