"""Reads and adds the limits of balances: floors and freezes. A change is a new row, and none is ever changed."""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from core.base.db import driver
from core.base.rows import array
from core.ledger.rules.model import Limit
from core.ledger.rules.pledges import Of, Pledge, content
from core.ledger.store import pledges

if TYPE_CHECKING:  # The balances are read with their limits.
    from core.ledger.store.balances import BalanceRow

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
    RETURNING id, set_at
    """
)

_EVERY = """
    SELECT l.id, 'bln_' || b.balance_id, l.floor, l.frozen, l.reason, l.actor, l.after_seq, l.set_at, l.pledged
    FROM balance_limits AS l
    LEFT JOIN balances AS b ON b.id = l.balance
    ORDER BY l.id
"""


class Kept(NamedTuple):
    """A row of limits, with all that its pledge covers."""

    id: int
    balance_id: str | None
    floor: int | None
    frozen: int
    reason: str | None
    actor: str
    after_seq: int
    set_at: datetime
    pledged: bool
    """Whether it must have a pledge. Those of older releases have none."""


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


def add(conn: Connection, balance: "BalanceRow", limit: Limit, *, reason: str | None, actor: str) -> LimitRow:
    """Set the limits of a balance, in place of those that it has, and keep their hash."""
    values = {"balance": balance.key, "reason": reason, "actor": actor, **limit._asdict()}
    id, set_at = conn.execute(_ADD, values).one()
    kept = Kept(id, balance.balance_id, limit.floor, limit.frozen, reason, actor, limit.after_seq, set_at, True)
    pledges.add(conn, [pledge_of(kept)])
    return LimitRow(limit.floor, limit.frozen, reason, actor, limit.after_seq, set_at)


def every(conn: Connection) -> Iterator[Kept]:
    """Yield the limits of all balances and all times, in the order in which they were set."""
    return map(Kept._make, driver(conn).execute(_EVERY))


def pledge_of(row: Kept) -> Pledge:
    """Make the pledge of limits. Its ID is the UUID whose number is that of the row."""
    values = (*row[: Kept._fields.index("set_at")], row.set_at.astimezone(UTC))
    return Pledge(str(UUID(int=row.id)), Of.LIMIT, content(Of.LIMIT, values))


def id_of(pledge_id: str) -> int:
    """Return the number of the row that a pledge is of."""
    return UUID(pledge_id).int
