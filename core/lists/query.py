"""A page of a list: from filters to the places of its rows.

Each filter becomes one or more conditions of which any suffices, each of a kind that an index answers. The conditions
of all filters are multiplied out, so that a page is the first rows of a few lists which are each in order already. To
look for one name among millions of rows, at either of two sides, takes two short walks along two indexes.
"""

from collections.abc import Sequence
from math import prod
from typing import Any
from uuid import UUID

from msgspec import Struct
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    Text,
    Uuid,
    and_,
    cast,
    func,
    literal,
    or_,
    select,
    true,
    tuple_,
    union,
)

from core.base.ids import uuid_of
from core.lists.conditions import alternatives
from core.lists.fields import Condition, Listing, Relation

MAX_BRANCHES = 24
"""Lists that a page is put together from."""

Place = tuple[int, UUID]
"""The place and the name of a row in its relation."""

_Branch = tuple[Relation, Condition]


class _Position(Struct, frozen=True):
    """Where the page before ended."""

    key: str
    """The sort key as text."""
    place: int
    name: UUID | None


_NOWHERE = _Position("", -1, None)


def find(conn: Connection, listing: Listing, relations: Sequence[Relation]) -> tuple[list[Place], int | None]:
    """A page's places, and the number of all rows that were asked for, if that is wanted.

    It must run where statements are planned for their values, as in ``reading_within``: what is right for a busy
    balance is wrong for a quiet one.
    """
    branches = [(each, condition) for each in relations for condition in conditions(conn, listing, each)]
    if not branches:
        return [], 0 if listing.include_count else None
    count = _count(conn, branches) if listing.include_count else None
    position = _position(conn, listing, relations)
    if position is _NOWHERE:
        return [], count
    rows = _execute(conn, _page(listing, branches, position))
    return [(place, name) for place, name in rows], count


def conditions(conn: Connection, listing: Listing, relation: Relation) -> Sequence[Condition]:
    """Conditions of which any suffices, for all filters together. There are none where nothing can match."""
    each = [alternatives(conn, one, relation) for one in listing.filters]
    if not each:
        return [true()]
    if listing.any_of:
        found = [condition for alternatives in each for condition in alternatives]
        return found if len(found) <= MAX_BRANCHES else [or_(*found)]
    while prod(map(len, each)) > MAX_BRANCHES:
        widest = max(each, key=len)
        each[each.index(widest)] = [or_(*widest)]
    product: list[Condition] = [true()]
    for others in each:
        product = [and_(one, other) for one in product for other in others]
    return product


# A page


def _page(listing: Listing, branches: Sequence[_Branch], position: _Position | None) -> Select[Any]:
    if len(branches) == 1:
        ((relation, condition),) = branches
        rows = select(relation.place, relation.name)
        return _cut(_in_order(rows, listing, relation, condition, position), listing.limit, listing.offset)
    firsts = [
        _cut(
            _in_order(_keyed(listing, relation), listing, relation, condition, position), listing.limit + listing.offset
        )
        for relation, condition in branches
    ]
    found = union(*firsts).subquery("found")
    order = [_directed(column, listing) for column in (found.c.key, found.c.place, found.c.name)]
    return _cut(select(found.c.place, found.c.name).order_by(*order), listing.limit, listing.offset)


def _keyed(listing: Listing, relation: Relation) -> Select[Any]:
    """Places and names, and what they are in order by."""
    key = _sort_key(listing, relation)
    return select(key.label("key"), relation.place.label("place"), relation.name.label("name"))


def _in_order(
    rows: Select[Any], listing: Listing, relation: Relation, condition: Condition, position: _Position | None
) -> Select[Any]:
    """The rows of one branch, in order, from where the page before ended."""
    key = _sort_key(listing, relation)
    # A place that sorts by itself needs no second look, nor one that is unique.
    used = slice(int(key is relation.place), 2 if relation.place_is_unique else 3)
    order: list[ColumnElement[Any]] = [key, relation.place, relation.name][used]
    rows = rows.select_from(relation.source).where(condition)
    if position is not None:
        bounds: list[ColumnElement[Any]] = [
            cast(literal(position.key, Text()), key.type),
            literal(position.place, BigInteger()),
            literal(position.name, Uuid()),
        ][used]
        ours, theirs = (order[0], bounds[0]) if len(order) == 1 else (tuple_(*order), tuple_(*bounds))
        rows = rows.where(ours < theirs if listing.descending else ours > theirs)
    return rows.order_by(*(_directed(column, listing) for column in order))


def _cut(rows: Select[Any], limit: int, offset: int = 0) -> Select[Any]:
    rows = rows.limit(literal(limit, BigInteger()))
    return rows.offset(literal(offset, BigInteger())) if offset else rows


def _directed(column: ColumnElement[Any], listing: Listing) -> ColumnElement[Any]:
    return column.desc() if listing.descending else column.asc()


def _count(conn: Connection, branches: Sequence[_Branch]) -> int:
    parts = [
        select(each.place.label("place"), each.name.label("name")).select_from(each.source).where(condition)
        for each, condition in branches
    ]
    found = (parts[0] if len(parts) == 1 else union(*parts)).subquery("found")
    ((count,),) = _execute(conn, select(func.count()).select_from(found))
    assert isinstance(count, int)
    return count


def _sort_key(listing: Listing, relation: Relation) -> ColumnElement[Any]:
    """What a page is ordered by."""
    field = listing.resource.fields[listing.sort_by]
    return field.column_of(relation) if field.sort_key is None else field.sort_key(relation.table, listing)


def _position(conn: Connection, listing: Listing, relations: Sequence[Relation]) -> _Position | None:
    """Where the row is that ``after`` names: by its id or, where rows are numbered, by its place. An unknown one ends
    the list."""
    after = listing.after
    if after is None:
        return None
    first = relations[0]
    if listing.resource.numbered and after.isascii() and after.isdigit():
        if _sort_key(listing, first) is first.place:  # Then a place needs no row.
            return _Position(after, int(after), None)
        return _position_of(conn, listing, first, first.place == literal(int(after), BigInteger()))
    field = listing.resource.fields[listing.resource.id]
    value = uuid_of(after, field.prefix) if field.key is not None else after
    for relation in relations:
        column = field.key(relation.table) if field.key is not None else field.column_of(relation)
        found = _position_of(conn, listing, relation, column == literal(value, column.type))
        if found is not _NOWHERE:
            return found
    return _NOWHERE


def _position_of(conn: Connection, listing: Listing, relation: Relation, condition: Condition) -> _Position:
    key = _sort_key(listing, relation)
    row = select(cast(key, Text()), relation.place, relation.name).select_from(relation.source).where(condition)
    rows = _execute(conn, row)
    return _Position(*rows[0]) if rows else _NOWHERE


def _execute(conn: Connection, statement: Select[Any]) -> Sequence[Any]:
    return conn.execute(statement).all()
