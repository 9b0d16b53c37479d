"""Keeps the requests of a key within its reach: its ledgers and internal balances, its largest amount and overdraft.

A balance out of reach reads as one that does not exist, and so does a transaction with a side out of reach. What runs later in
the name of a key, on its date or as part of a funding job, was within reach when it was accepted.
"""

from collections.abc import Collection
from decimal import Decimal

from sqlalchemy import Connection

from core.base.actors import EVERYTHING, Part, Reach, current
from core.base.errors import BeyondKey, ErrorCode
from core.ledger.rules.model import GENERAL_LEDGER
from core.ledger.store import balances as balance_store
from core.ledger.store.transactions import TransactionRow


def of_request() -> Reach:
    """Return the reach of the key whose request this is, and everything if this is no request."""
    actor = current()
    return actor.reach if actor.part is Part.WEB else EVERYTHING


def bounds_balances(reach: Reach) -> bool:
    """Tell whether there may be balances out of reach."""
    return reach.ledgers is not None or reach.indicators is not None


def bounds_money(reach: Reach) -> bool:
    """Tell whether there may be amounts or overdrafts out of reach."""
    return reach.largest_amount is not None or reach.largest_overdraft is not None


def reaches(reach: Reach, ledger_id: str, indicator: str | None) -> bool:
    """Tell whether a balance is within reach.

    An internal balance is there by its name. Where no names are given, it is there with its ledger, the General Ledger.
    """
    if indicator and reach.indicators is not None:
        return indicator in reach.indicators
    return reach.ledgers is None or (GENERAL_LEDGER if indicator else ledger_id) in reach.ledgers


def reaches_all(conn: Connection, rows: Collection[TransactionRow]) -> bool:
    """Tell whether both sides of all these transactions are within reach of the request."""
    reach = of_request()
    if not bounds_balances(reach):
        return True
    keys = {key for row in rows for key in (row.source_key, row.destination_key) if key is not None}
    found = balance_store.find_keys(conn, list(keys)).values()
    return bool(keys) and all(reaches(reach, each.ledger_id, each.indicator) for each in found)


def require_amount(amount: int, currency: str, precision: int) -> None:
    """Refuse an amount that is too large for the key. It is in minor units.

    Raises:
        BeyondKey: it is. The message has the largest amount.
    """
    _require("amount", of_request().largest_amount, amount, currency, precision)


def require_overdraft(limit: int | None, currency: str, precision: int) -> None:
    """Refuse an overdraft that is too large for the key. ``limit`` is in minor units, and None is without end.

    Raises:
        BeyondKey: it is. The message has the largest overdraft.
    """
    _require("overdraft_limit", of_request().largest_overdraft, limit, currency, precision)


def _require(
    field: str, largest: Decimal | dict[str, Decimal] | None, asked: int | None, currency: str, precision: int
) -> None:
    if largest is None:
        return
    most = largest.get(currency) if isinstance(largest, dict) else largest
    if most is not None and asked is not None and asked <= most * precision:
        return
    allowed = f"at most {most}" if most is not None else "none"
    text = f"{field} is more than this key may ask for: {allowed} in {currency}"
    raise BeyondKey(ErrorCode.AUTH_INSUFFICIENT_PERMISSIONS, text, {"field": field, "largest": str(most or 0)})
