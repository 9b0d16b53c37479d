"""Turns the reach of a key into SQL. What reads for a key takes its conditions from here, and from nowhere else.

A balance is in reach by its ledger or its ``@Name``. A transaction is in reach when both of its balances are, and a split or
batch when all of its transactions are. A ledger is in reach by its ID, and the General Ledger with the ``@Names`` in it.
``core/ledger/reach.py`` has the same rule for a balance that is read already. A key without bounds costs no statement.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from msgspec.json import encode
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    SmallInteger,
    Text,
    Uuid,
    and_,
    any_,
    case,
    cast,
    exists,
    func,
    literal_column,
    not_,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY

from core.base.actors import Reach, reach_of_request
from core.base.db import driver
from core.base.tables.balances import balances
from core.base.tables.transactions import log, scheduled
from core.ledger.rules.model import GENERAL_LEDGER, LEG_KINDS, SPLIT
from core.lists.fields import Condition, Listing, Relation, Within
from core.lists.shape import bound
from core.lists.statements import compiled

FEW = 1_000
"""A key that reaches so few balances has its transactions looked up by them. For more, rows are judged one by one."""

_LEDGERS, _INDICATORS, _IDS, _KEYS = "reach_ledgers", "reach_indicators", "reach_ledger_ids", "reach_keys"
"""The slots of the conditions: keys of ledgers, ``@Names``, IDs of ledgers, and keys of balances."""

Values = dict[str, Any]

_KEYS_OF_LEDGERS = """
    SELECT id
    FROM ledgers
    WHERE ledger_id = ANY(%s)
"""


class _Bounds(NamedTuple):
    """The lists that a reach has. Its conditions depend on nothing else of it."""

    ledgers: bool
    indicators: bool


def condition(reach: Reach, table: FromClause = balances) -> Condition:
    """Make the condition of the balances in reach, over the table of balances or an alias of it. ``values`` fills its slots."""
    return or_(*_of_balances(_bounds(reach), table))


def sql(reach: Reach, alias: str) -> str:
    """Write the condition of the balances in reach for a statement of the driver. ``values`` has its values."""
    return _sql(_bounds(reach), alias)


def values(conn: Connection, reach: Reach) -> Values:
    """Look up the values of the conditions of a reach."""
    found: Values = {}
    if reach.indicators is not None:
        found[_INDICATORS] = list(reach.indicators)
    if reach.ledgers is not None:
        found[_LEDGERS] = [key for (key,) in driver(conn).execute(_KEYS_OF_LEDGERS, (list(reach.ledgers),))]
    return found


# Lists


def balances_in_reach(conn: Connection, listing: Listing, reach: Reach | None = None) -> Listing:
    """Keep a list of balances to a reach, which is that of the request if none is given."""
    reach = reach_of_request() if reach is None else reach
    if not reach.bounds_balances:
        return listing
    return _kept(listing, Within(_balances_within(_bounds(reach)), values(conn, reach)))


def transactions_in_reach(conn: Connection, listing: Listing) -> Listing:
    """Keep a list of transactions to the reach of the request."""
    reach = reach_of_request()
    if not reach.bounds_balances:
        return listing
    bounds, given = _bounds(reach), values(conn, reach)
    keys = [key for (key,) in driver(conn).execute(_first_keys(bounds), {**given, "limit": FEW + 1})]
    if len(keys) > FEW:
        return _kept(listing, Within(_transactions_within(bounds), given))
    return _kept(listing, Within(_transactions_between(bounds), {**given, _KEYS: keys}, is_served=True))


def ledgers_in_reach(listing: Listing) -> Listing:
    """Keep a list of ledgers to the reach of the request."""
    ids = _ledger_ids(reach_of_request())
    return listing if ids is None else _kept(listing, Within(_ledgers_within, {_IDS: ids}))


def identities_in_reach(conn: Connection, listing: Listing) -> Listing:
    """Keep a list of identities to those that a balance in reach of the request belongs to."""
    reach = reach_of_request()
    if not reach.bounds_balances:
        return listing
    return _kept(listing, Within(_identities_within(_bounds(reach)), values(conn, reach)))


def _kept(listing: Listing, within: Within) -> Listing:
    return Listing(**{name: getattr(listing, name) for name in Listing.__struct_fields__} | {"within": within})


# One thing


def reaches_ledger(ledger_id: str) -> bool:
    """Tell whether a ledger may be read."""
    ids = _ledger_ids(reach_of_request())
    return ids is None or ledger_id in ids


def reaches_transactions(conn: Connection, *, id: UUID | None = None, parent: str | None = None) -> bool:
    """Tell whether the request reaches a transaction, or all that have a batch or split as their parent.

    What does not exist is out of reach of a bound key.
    """
    reach = reach_of_request()
    if not reach.bounds_balances:
        return True
    given = {**values(conn, reach), "id": id, "parent": parent}
    ((reached,),) = driver(conn).execute(_reaches(_bounds(reach)), given)
    return bool(reached)


def reaches_identity(conn: Connection, key: int) -> bool:
    """Tell whether the request reaches a balance of an identity."""
    reach = reach_of_request()
    if not reach.bounds_balances:
        return True
    given = {**values(conn, reach), "key": key}
    ((reached,),) = driver(conn).execute(_reaches_identity(_bounds(reach)), given)
    return bool(reached)


def currencies(conn: Connection, reach: Reach) -> set[str]:
    """Find the currencies of the balances in reach."""
    sql = compiled(select(balances.c.currency).where(condition(reach)).distinct()).sql
    return {currency for (currency,) in driver(conn).execute(sql, values(conn, reach))}


def sql_of_narrower(reach: Reach, column: str) -> tuple[str, Values]:
    """Write the condition that a reach stored as JSON in a column goes nowhere where this one does not, and its values."""
    given = {name: list(listed) for name in ("ledgers", "indicators") if (listed := getattr(reach, name)) is not None}
    parts = [f"coalesce(({column})::jsonb -> '{name}' <@ %(within_{name})s::jsonb, false)" for name in given]
    if _lacks_all_names(reach):
        parts.append(f"({column})::jsonb -> 'indicators' IS NULL")
    values = {f"within_{name}": encode(listed).decode() for name, listed in given.items()}
    return " AND ".join(parts) or "true", values


def reaches_beyond(reach: Reach, of: Reach) -> list[str]:
    """List the fields by which a reach has balances that another has not."""
    pairs = {"ledgers": (reach.ledgers, of.ledgers), "indicators": (reach.indicators, of.indicators)}
    beyond = [
        name
        for name, (own, bound) in pairs.items()
        if bound is not None and (own is None or not set(own) <= set(bound))
    ]
    if reach.indicators and _lacks_all_names(of):
        beyond.append("indicators")
    return beyond


def _lacks_all_names(reach: Reach) -> bool:
    """Tell whether a reach has no internal balance at all: it has ledgers alone, and the General Ledger is none of them."""
    return reach.ledgers is not None and reach.indicators is None and GENERAL_LEDGER not in reach.ledgers


# Conditions


def _bounds(reach: Reach) -> _Bounds:
    return _Bounds(reach.ledgers is not None, reach.indicators is not None)


def _ledger_ids(reach: Reach) -> list[str] | None:
    if reach.ledgers is None:
        return None
    return [*reach.ledgers, *([GENERAL_LEDGER] if reach.indicators is not None else ())]


def _of_balances(bounds: _Bounds, table: FromClause) -> list[Condition]:
    """List the conditions of the balances in reach. A balance needs to meet one, and an index answers each.

    Where names are given, an internal balance is there by its name alone, and no other balance has one.
    """
    in_ledger = table.c.ledger == any_(bound(_LEDGERS, ARRAY(BigInteger())))
    if not bounds.indicators:
        return [in_ledger]
    unnamed = table.c.indicator.is_(None)
    named = table.c.indicator == any_(bound(_INDICATORS, ARRAY(Text())))
    return [named, and_(unnamed, in_ledger) if bounds.ledgers else unnamed]


def _is_reached(bounds: _Bounds, key: ColumnElement[Any]) -> Condition:
    """Look at one balance by its key."""
    seen = balances.alias()
    return exists().where(seen.c.id == key, or_(*_of_balances(bounds, seen)))


def _are_reached(bounds: _Bounds, table: FromClause) -> Condition:
    """Look at both balances of a row that is no split."""
    return and_(_is_reached(bounds, table.c.source), _is_reached(bounds, table.c.destination))


_SPLIT, *_LEGS = (literal_column(str(kind), SmallInteger()) for kind in (SPLIT, *LEG_KINDS))


def _split_is_reached(bounds: _Bounds, table: FromClause) -> Condition:
    """Look at the legs of a split: all of them, and one at least.

    Those of a scheduled split are in its row, each as ID, kind, source, destination and amount.
    """
    if "legs" in table.c:
        part = func.json_array_elements(table.c.legs).column_valued()
        sides = [cast(part.op("->>")(literal_column(place)), BigInteger()) for place in ("2", "3")]
        return not_(exists(select(part).where(not_(and_(*(_is_reached(bounds, side) for side in sides))))))
    leg = log.alias()
    is_leg = and_(leg.c.parent == literal_column("'txn_'", Text()) + cast(table.c.id, Text()), leg.c.kind != _SPLIT)
    return and_(
        exists().where(is_leg),
        not_(exists().where(is_leg, leg.c.kind.in_(_LEGS), not_(_are_reached(bounds, leg)))),
    )


def _is_in_reach(bounds: _Bounds, table: FromClause) -> Condition:
    """Judge one row of the log, or one that is scheduled."""
    return case(
        (table.c.kind == _SPLIT, _split_is_reached(bounds, table)),
        else_=_are_reached(bounds, table),
    )


# The functions of one list are the same for all of its requests, so that the text of its statement is kept.

_Conditions = Callable[[Relation], Sequence[Condition]]


@lru_cache
def _balances_within(bounds: _Bounds) -> _Conditions:
    return lambda relation: _of_balances(bounds, relation.table)


@lru_cache
def _transactions_within(bounds: _Bounds) -> _Conditions:
    return lambda relation: [_is_in_reach(bounds, relation.table)]


@lru_cache
def _transactions_between(bounds: _Bounds) -> _Conditions:
    """Find transactions by the keys of the few balances in reach, and splits by their legs."""
    keys = any_(bound(_KEYS, ARRAY(BigInteger())))

    def conditions(relation: Relation) -> Sequence[Condition]:
        table = relation.table
        sides = [table.c.source == keys, table.c.destination == keys]
        return [
            and_(*sides, table.c.kind != _SPLIT),
            and_(table.c.kind == _SPLIT, _split_is_reached(bounds, table)),
        ]

    return conditions


def _ledgers_within(relation: Relation) -> Sequence[Condition]:
    return [relation.table.c.ledger_id == any_(bound(_IDS, ARRAY(Text())))]


@lru_cache
def _identities_within(bounds: _Bounds) -> _Conditions:
    return lambda relation: [_owns(bounds, relation.table.c.id)]


def _owns(bounds: _Bounds, key: ColumnElement[Any]) -> Condition:
    owned = balances.alias()
    return exists().where(owned.c.identity == key, or_(*_of_balances(bounds, owned)))


# Statements


@lru_cache
def _sql(bounds: _Bounds, alias: str) -> str:
    whole = compiled(select(literal_column("1")).where(or_(*_of_balances(bounds, balances.alias(alias)))))
    # A balance without a name is compared with names as unknown, and whoever negates that must get the opposite.
    return f"(({whole.sql.partition('WHERE ')[2].strip()}) IS TRUE)"


@lru_cache
def _first_keys(bounds: _Bounds) -> str:
    found = select(balances.c.id).where(or_(*_of_balances(bounds, balances))).limit(bound("limit", BigInteger()))
    return compiled(found).sql


@lru_cache
def _reaches(bounds: _Bounds) -> str:
    id, parent = bound("id", Uuid()), bound("parent", Text())

    def rows(table: FromClause) -> Select[Any]:
        kinds = table.c.kind.in_([*_LEGS, _SPLIT])
        return select(_is_in_reach(bounds, table).label("reached")).where(
            or_(table.c.id == id, and_(table.c.parent == parent, kinds))
        )

    each = rows(log).union_all(rows(scheduled)).subquery("each")
    return compiled(select(func.coalesce(func.bool_and(each.c.reached), literal_column("false")))).sql


@lru_cache
def _reaches_identity(bounds: _Bounds) -> str:
    return compiled(select(_owns(bounds, bound("key", BigInteger())))).sql
