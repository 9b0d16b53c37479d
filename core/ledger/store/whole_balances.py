"""Reads balances together with the limits that were set last."""

from collections.abc import Collection

from sqlalchemy import Connection

from core.base.db import driver
from core.base.ids import uuid_of
from core.ledger.store.balances import BALANCE_PREFIX, BalanceRow
from core.ledger.store.limits import LimitRow

# balance_limits_balance_idx serves the limits. The number of IDs is fixed, as in ``transactions.find_many``.
_FIND_ANY = """
    SELECT
        balances.id,
        'bln_' || balance_id,
        ledgers.ledger_id,
        indicator,
        currency,
        balance,
        credit_balance,
        debit_balance,
        inflight_credit_balance,
        inflight_debit_balance,
        version,
        balances.meta_data,
        balances.created_at,
        'idt_' || identities.identity_id,
        floor,
        frozen,
        reason,
        actor,
        after_seq,
        set_at
    FROM balances
    JOIN ledgers ON ledgers.id = balances.ledger
    LEFT JOIN identities ON identities.id = balances.identity
    LEFT JOIN LATERAL (
        SELECT floor, frozen, reason, actor, after_seq, set_at
        FROM balance_limits
        WHERE balance_limits.balance = balances.id
        ORDER BY balance_limits.id DESC
        LIMIT 1
    ) AS limits ON true
    WHERE balance_id IN ({ids})
"""

_SIZES = {size: _FIND_ANY.format(ids=", ".join(["%s::uuid"] * size)) for size in (1, 4, 16, 64)}
"""The statement by the number of IDs."""

MOST = max(_SIZES)
"""The largest number of balances that ``find_many`` finds at once."""


def find_many(conn: Connection, balance_ids: Collection[str]) -> dict[str, tuple[BalanceRow, LimitRow | None]]:
    """Find at most ``MOST`` balances by their IDs, with the limits that were set last. Unknown ones are left out."""
    keys = [id[len(BALANCE_PREFIX) :] for id in balance_ids if uuid_of(id, BALANCE_PREFIX) is not None]
    if not keys:
        return {}
    size = next(size for size in _SIZES if size >= len(keys))
    rows = driver(conn).execute(_SIZES[size], keys + keys[-1:] * (size - len(keys)))
    return {row[1]: (BalanceRow(*row[:14]), None if row[15] is None else LimitRow(*row[14:])) for row in rows}
