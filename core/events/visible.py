"""Keeps a reader of the feed within the reach of its key.

A transaction is within reach with both of its sides, as everywhere. Something that became of a ledger or a balance is there
with it. What is about neither, such as a funding run, is there for keys that reach everything.
"""

from collections.abc import Iterable
from uuid import UUID

from msgspec import Struct, json
from sqlalchemy import Connection

from core.base.actors import Reach
from core.base.ids import uuid_of
from core.events.store import FactRow, Told
from core.ledger.reach import reaches
from core.ledger.store import balances as balance_store
from core.ledger.store.balances import BALANCE_PREFIX


class _Sides(Struct):
    """The part of a transaction's object that names its balances."""

    source: str = ""
    destination: str = ""


_sides = json.Decoder(_Sides).decode


def within(conn: Connection, told: list[Told], reach: Reach) -> list[Told]:
    """Keep what a reach allows to see, in its order."""
    if not reach.bounds_balances:
        return told
    needed = [(each, _balances_of(each)) for each in told]
    reached = _reached(conn, {id for _, ids in needed for id in ids}, reach)
    return [each for each, ids in needed if (ids and reached.issuperset(ids)) or _is_ledger_within(each.fact, reach)]


def _balances_of(told: Told) -> list[str]:
    """List the balances that must all be within reach. No balance means that it is about none."""
    if told.row is not None:
        sides = [told.row.source, told.row.destination]
        return [f"{BALANCE_PREFIX}{side}" for side in sides] if None not in sides else []
    assert told.fact is not None
    if told.fact.balance_id is not None:
        return [told.fact.balance_id]
    if not told.type.startswith("transaction."):
        return []
    found = _sides(told.fact.data)
    return [found.source, found.destination] if found.source and found.destination else []


def _reached(conn: Connection, ids: Iterable[str], reach: Reach) -> set[str]:
    keys: list[UUID] = [key for id in ids if (key := uuid_of(id, BALANCE_PREFIX)) is not None]
    refs = balance_store.find_refs(conn, [f"{BALANCE_PREFIX}{key}" for key in keys])
    return {id for id, ref in refs.items() if reaches(reach, ref.ledger_id, ref.indicator)}


def _is_ledger_within(fact: FactRow | None, reach: Reach) -> bool:
    """Tell whether a fact is about a ledger, and about no balance of it, and the ledger is within reach."""
    if fact is None or fact.ledger_id is None or fact.balance_id is not None:
        return False
    return reaches(reach, fact.ledger_id, None)
