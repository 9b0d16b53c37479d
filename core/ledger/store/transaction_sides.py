"""Turns filters on the balances of a transaction, or on their ``@Names``, into conditions on its two sides."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, and_, any_, exists, not_, select, true
from sqlalchemy.dialects.postgresql import ARRAY

from core.base.db import driver
from core.base.ids import uuid_of
from core.base.tables.balances import balances
from core.ledger.store.balances import BALANCE_PREFIX
from core.lists.conditions import compared, texts
from core.lists.fields import NULL, Condition, Filter, Relation, Sought
from core.lists.plans import MAX_BRANCHES
from core.lists.shape import ArraySlot, bound


def source_conditions(asked: Filter, relation: Relation) -> Sequence[Condition | Sought]:
    return _balance_conditions(asked, [relation.table.c.source])


def destination_conditions(asked: Filter, relation: Relation) -> Sequence[Condition | Sought]:
    return _balance_conditions(asked, [relation.table.c.destination])


def either_side_conditions(asked: Filter, relation: Relation) -> Sequence[Condition | Sought]:
    return _balance_conditions(asked, [relation.table.c.source, relation.table.c.destination])


def _balance_conditions(asked: Filter, sides: Sequence[ColumnElement[Any]]) -> Sequence[Condition | Sought]:
    """Compare the balances of one side, or of either. For either, ``ne`` and ``isnull`` negate the other operators."""
    if asked.operator in NULL:
        tests = [compared(side, asked.operator, []) for side in sides]
        return [and_(*tests)] if asked.operator == "isnull" else tests
    return _among(asked, sides)


def indicator_conditions(asked: Filter, relation: Relation) -> Sequence[Condition | Sought]:
    """Compare the ``@Names`` of the balances of both sides. One of them must match."""
    sides = [relation.table.c.source, relation.table.c.destination]
    if asked.operator in _NAMING:
        return _among(asked, sides)
    if asked.operator == "isnull":
        has_name = balances.c.indicator.is_not(None)
        return [and_(*(not_(exists().where(balances.c.id == side, has_name)) for side in sides))]
    named = compared(balances.c.indicator, asked.operator, texts(asked))
    return [side.in_(select(balances.c.id).where(named)) for side in sides]


def _among(asked: Filter, sides: Sequence[ColumnElement[Any]]) -> Sequence[Condition | Sought]:
    """Compare sides with keys of balances, which are one array, or a slot each where they are few.

    An index finds the rows of one balance in order, but not those of many.
    """
    if asked.operator == "ne":
        (keys,) = asked.values
        others = [(side == any_(bound(keys, ARRAY(BigInteger())))).is_not(true()) for side in sides]
        return [and_(*others, *(side.is_not(None) for side in sides if len(sides) == 1))]
    if any(isinstance(slot, ArraySlot) for slot in asked.values):
        (keys,) = asked.values
        return [Sought(None, side == any_(bound(keys, ARRAY(BigInteger())))) for side in sides]
    return [side == bound(slot, BigInteger()) for side in sides for slot in asked.values]


_NAMING = ("eq", "ne", "in")

_KEYS_OF_IDS = """
    SELECT id
    FROM balances
    WHERE balance_id = ANY(%s)
    ORDER BY id
"""

_KEYS_OF_INDICATORS = """
    SELECT id
    FROM balances
    WHERE indicator = ANY(%s)
    ORDER BY id
"""


def keys_of_ids(conn: Connection, asked: Filter) -> Sequence[Any]:
    if asked.operator in NULL:
        return ()
    ids = [key for value in asked.values if (key := uuid_of(value, BALANCE_PREFIX)) is not None]
    return _keys(conn, _KEYS_OF_IDS, ids, asked.operator)


def keys_of_indicators(conn: Connection, asked: Filter) -> Sequence[Any]:
    if asked.operator not in _NAMING:
        return asked.values
    return _keys(conn, _KEYS_OF_INDICATORS, list(asked.values), asked.operator)


def _keys(conn: Connection, sql: str, named: list[Any], operator: str) -> Sequence[Any]:
    """Look up the keys of the named balances, as ``_among`` takes them. An unknown balance has none."""
    found = [key for (key,) in driver(conn).execute(sql, (named,))] if named else []
    return [found] if operator == "ne" or len(found) > MAX_BRANCHES // 2 else found
