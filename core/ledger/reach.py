"""Keeps the requests of a key within its reach: its ledgers and internal balances, its largest amount and overdraft.

A balance out of reach reads as one that does not exist, and so does a transaction with a side out of reach. What runs later in
the name of a key, on its date or as part of a funding job, was within reach when it was accepted.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from sqlalchemy import Connection

from core.base.actors import Reach, reach_of_request
from core.base.errors import BeyondKey, ErrorCode
from core.ledger.rules.model import GENERAL_LEDGER, BalanceRef
from core.ledger.store import balances as balance_store
from core.ledger.store.entries import Entry


def reaches(reach: Reach, ledger_id: str, indicator: str | None) -> bool:
    """Tell whether a balance is within reach.

    An internal balance is there by its name. Where no names are given, it is there with its ledger, the General Ledger.
    """
    if indicator and reach.indicators is not None:
        return indicator in reach.indicators
    return reach.ledgers is None or (GENERAL_LEDGER if indicator else ledger_id) in reach.ledgers


def reaches_id(conn: Connection, balance_id: str) -> bool:
    """Tell whether the request reaches the balance of an ID. What does not exist is out of reach of a bound key."""
    reach = reach_of_request()
    if not reach.bounds_balances:
        return True
    row = balance_store.find(conn, balance_id)
    return row is not None and reaches(reach, row.ledger_id, row.indicator)


def reaches_whole(ledger_id: str) -> bool:
    """Tell whether the request reaches a ledger with all that is in it, and so may change it."""
    reach = reach_of_request()
    return reach.ledgers is None or ledger_id in reach.ledgers


def seen(conn: Connection, entries: Sequence[Entry]) -> Sequence[Entry]:
    """Hide what is not the balance's own in entries whose other balance is out of reach of the request.

    Such an entry keeps its place, its times, its amount and the balance after it, so that the others add up with it.
    """
    reach = reach_of_request()
    if not reach.bounds_balances:
        return entries
    ids = {entry.counterparty for entry in entries if entry.counterparty[:1] != "@"}
    refs = balance_store.find_refs(conn, ids)
    return [entry if _knows(reach, entry.counterparty, refs) else _without_other(entry) for entry in entries]


def _knows(reach: Reach, counterparty: str, refs: Mapping[str, BalanceRef]) -> bool:
    if counterparty[:1] == "@":
        return reaches(reach, GENERAL_LEDGER, counterparty)
    ref = refs.get(counterparty)
    return ref is not None and reaches(reach, ref.ledger_id, ref.indicator)


def _without_other(entry: Entry) -> Entry:
    return entry._replace(transaction_id="", reference="", parent=None, counterparty="", description="", sequence=0)


def require_amount(amount: int, currency: str, precision: int) -> None:
    """Refuse an amount that is too large for the key. It is in minor units.

    Raises:
        BeyondKey: it is. The message has the largest amount.
    """
    _require("amount", reach_of_request().largest_amount, amount, currency, precision)


def require_overdraft(limit: int | None, currency: str, precision: int) -> None:
    """Refuse an overdraft that is too large for the key. ``limit`` is in minor units, and None is without end.

    Raises:
        BeyondKey: it is. The message has the largest overdraft.
    """
    _require("overdraft_limit", reach_of_request().largest_overdraft, limit, currency, precision)


Largest = Decimal | dict[str, Decimal] | None
"""The largest amount or overdraft of a reach: one for all currencies, or one for each. None is no limit."""


def exceeded(largest: Largest, asked: int | None, currency: str, precision: int) -> str | None:
    """Say what is allowed where minor units exceed it. None is for what does not. An ``asked`` of None is without end."""
    if largest is None:
        return None
    most = largest.get(currency) if isinstance(largest, dict) else largest
    if most is not None and asked is not None and asked <= most * precision:
        return None
    return f"{f'at most {most}' if most is not None else 'none'} in {currency}"


def _require(field: str, largest: Largest, asked: int | None, currency: str, precision: int) -> None:
    if (allowed := exceeded(largest, asked, currency, precision)) is None:
        return
    most = largest.get(currency) if isinstance(largest, dict) else largest
    text = f"{field} is more than this key may ask for: {allowed}"
    raise BeyondKey(ErrorCode.AUTH_INSUFFICIENT_PERMISSIONS, text, {"field": field, "largest": str(most or 0)})
