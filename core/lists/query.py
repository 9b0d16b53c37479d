"""Finds the positions of the rows of a page, from the filters of a list.

Each filter becomes one or more conditions. A row needs to meet one of them, and an index answers each. The conditions
of all filters are multiplied out, so that a page is the first rows of a few branches, each of which is in order already.
A search for one name among millions of rows, on either of two sides, takes two short walks along two indexes.

SQLAlchemy composes a statement once for each shape of a list. Its text is kept, and goes to the driver with the values.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from math import prod
from typing import Any
from uuid import UUID

from msgspec import Struct
from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    cast,
    false,
    func,
    or_,
    select,
    true,
    tuple_,
    union,
)
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.sql.visitors import replacement_traverse

from core.base.db import driver
from core.base.ids import uuid_of
from core.lists.conditions import alternatives
from core.lists.fields import Condition, Listing, Relation
from core.lists.shape import Shape, Values, bound, shape_of

MAX_BRANCHES = 24
"""The largest number of branches that a page is put together from."""

_KEPT = 256
"""The number of statements of each kind that are kept. One with many values may take a hundred kilobytes."""

Position = tuple[int, UUID]
"""The position and the name of a row in its relation."""

_Branch = tuple[Relation, Condition]


class Statement(Struct, frozen=True):
    """A composed statement, as the driver takes it."""

    sql: str
    constants: Values
    """The values that are the same in every run."""


class _Bookmark(Struct, frozen=True):
    """The row at which the page before ended."""

    key: str
    """The sort key as text."""
    position: int
    name: UUID | None


_NOWHERE = _Bookmark("", -1, None)
"""The bookmark of a row that does not exist."""


def find(conn: Connection, listing: Listing, relations: Sequence[Relation]) -> tuple[list[Position], int | None]:
    """Find the positions and names of a page's rows, and count all matching rows if the listing wants it.

    The connection must plan statements for their values, as in ``reading_within``, because a plan that is right for a
    busy balance is wrong for a quiet one.
    """
    shape, values = shape_of(conn, listing, relations)
    if not _branches(shape):
        return [], 0 if listing.include_count else None
    count: int | None = None
    if listing.include_count:
        ((count,),) = run(conn, _count(shape), values)
    bookmark = _bookmark(conn, shape, listing)
    if bookmark is _NOWHERE:
        return [], count
    values |= {"limit": listing.limit, "offset": listing.offset, "first": listing.limit + listing.offset}
    if bookmark is not None:
        values |= {"after_key": bookmark.key, "after_position": bookmark.position, "after_name": bookmark.name}
    return run(conn, _page(shape, bool(listing.offset), bookmark is not None), values), count


def condition(conn: Connection, listing: Listing, relation: Relation) -> Condition:
    """Make the condition that all rows of a list meet, on any page. The values are in it."""
    shape, values = shape_of(conn, listing, [relation])
    found = or_(false(), *(each for _, each in _branches(shape)))
    return replacement_traverse(found, {}, partial(_filled, values))


def _filled(values: Values, part: Any, **_: Any) -> BindParameter[Any] | None:
    """Put its value into a slot. Returns None for any other part of a condition."""
    if isinstance(part, BindParameter) and part.key in values:
        return bindparam(part.key, values[part.key], type_=part.type)
    return None


def run(conn: Connection, statement: Statement, values: Values) -> list[Any]:
    """Run a statement and return its rows."""
    return driver(conn).execute(statement.sql, statement.constants | values).fetchall()


# Conditions


@lru_cache(_KEPT)
def _branches(shape: Shape) -> Sequence[_Branch]:
    """List the branches in which rows are looked for. An empty list matches no row."""
    return [(each, condition) for each in shape.relations for condition in _conditions(shape, each)]


def _conditions(shape: Shape, relation: Relation) -> Sequence[Condition]:
    """List the conditions of all filters, and of what the client may see. A row needs to meet one of them."""
    asked = _asked(shape, relation)
    if shape.within is None:
        return asked
    seen = shape.within(relation)
    if len(asked) * len(seen) > MAX_BRANCHES:
        seen = [or_(*seen)]
    return [and_(one, other) for one in asked for other in seen]


def _asked(shape: Shape, relation: Relation) -> Sequence[Condition]:
    """List the conditions of all filters together. A row needs to meet one of them."""
    each = [alternatives(one, relation) for one in shape.filters]
    if not each:
        return [true()]
    if shape.any_of:
        found = [condition for alternatives in each for condition in alternatives]
        return found if len(found) <= MAX_BRANCHES else [or_(*found)]
    while prod(map(len, each)) > MAX_BRANCHES:
        widest = max(each, key=len)
        each[each.index(widest)] = [or_(*widest)]
    product: list[Condition] = [true()]
    for others in each:
        product = [and_(one, other) for one in product for other in others]
    return product


# Statements


@lru_cache(_KEPT)
def _page(shape: Shape, has_offset: bool, has_bookmark: bool) -> Statement:
    """Make the statement that finds a page: the first rows of all branches, in order."""
    branches = _branches(shape)
    if len(branches) == 1:
        ((relation, condition),) = branches
        rows = _in_order(select(relation.position, relation.name), shape, relation, has_bookmark).where(condition)
        return compiled(_cut(rows, has_offset))
    firsts = [
        _in_order(_keyed(shape, relation), shape, relation, has_bookmark)
        .where(condition)
        .limit(bound("first", BigInteger()))
        for relation, condition in branches
    ]
    found = union(*firsts).subquery("found")
    order = [_directed(column, shape) for column in (found.c.key, found.c.position, found.c.name)]
    return compiled(_cut(select(found.c.position, found.c.name).order_by(*order), has_offset))


@lru_cache(_KEPT)
def _count(shape: Shape) -> Statement:
    """Make the statement that counts the rows of all branches. A row in several branches counts once."""
    parts = [
        select(each.position.label("position"), each.name.label("name")).select_from(each.source).where(condition)
        for each, condition in _branches(shape)
    ]
    found = (parts[0] if len(parts) == 1 else union(*parts)).subquery("found")
    return compiled(select(func.count()).select_from(found))


def _keyed(shape: Shape, relation: Relation) -> Select[Any]:
    """Select the sort key, position and name of rows."""
    key = _sort_key(shape, relation)
    return select(key.label("key"), relation.position.label("position"), relation.name.label("name"))


def _in_order(rows: Select[Any], shape: Shape, relation: Relation, has_bookmark: bool) -> Select[Any]:
    """Sort the rows of one relation, from the end of the page before."""
    key = _sort_key(shape, relation)
    # A sort key that is the position comes once, and a unique position needs no name after it.
    used = slice(int(key is relation.position), 2 if relation.position_is_unique else 3)
    order: list[ColumnElement[Any]] = [key, relation.position, relation.name][used]
    rows = rows.select_from(relation.source)
    if has_bookmark:
        bounds: list[ColumnElement[Any]] = [
            cast(bound("after_key", Text()), key.type),
            bound("after_position", BigInteger()),
            bound("after_name", Uuid()),
        ][used]
        ours, theirs = (order[0], bounds[0]) if len(order) == 1 else (tuple_(*order), tuple_(*bounds))
        rows = rows.where(ours < theirs if shape.descending else ours > theirs)
    return rows.order_by(*(_directed(column, shape) for column in order))


def _cut(rows: Select[Any], has_offset: bool) -> Select[Any]:
    rows = rows.limit(bound("limit", BigInteger()))
    return rows.offset(bound("offset", BigInteger())) if has_offset else rows


def _directed(column: ColumnElement[Any], shape: Shape) -> ColumnElement[Any]:
    return column.desc() if shape.descending else column.asc()


def _sort_key(shape: Shape, relation: Relation) -> ColumnElement[Any]:
    """Return the expression that a page is sorted by."""
    field = shape.resource.fields[shape.sort_by]
    return field.column_of(relation) if field.sort_key is None else field.sort_key(relation.table, shape.filters)


def compiled(statement: Select[Any]) -> Statement:
    """Compose a statement, as the driver takes it. Slots stand for the values that it gets when it runs."""
    text = statement.compile(dialect=_DIALECT)
    # Slots have no value here, and constants of the expressions have one.
    constants = {name: value for name, value in text.params.items() if value is not None}
    return Statement(text.string, constants)


_DIALECT = PGDialect_psycopg()  # type: ignore[no-untyped-call]


# Where the page before ended


def _bookmark(conn: Connection, shape: Shape, listing: Listing) -> _Bookmark | None:
    """Find the row that ``after`` names by its ID, or by its position where rows are numbered.

    An unknown row ends the list, and so does one that the client may not see.
    """
    after = listing.after
    if after is None:
        return None
    values = {} if listing.within is None else listing.within.values
    first = shape.relations[0]
    if shape.resource.numbered and after.isascii() and after.isdigit():
        if _sort_key(shape, first) is first.position:  # Then a position needs no row.
            return _Bookmark(after, int(after), None)
        return _bookmark_of(conn, _at_position(shape, first), values | {"after": int(after)})
    field = shape.resource.fields[shape.resource.id]
    value = uuid_of(after, field.prefix) if field.key is not None else after
    for relation in shape.relations:
        found = _bookmark_of(conn, _at_id(shape, relation), values | {"after": value})
        if found is not _NOWHERE:
            return found
    return _NOWHERE


def _bookmark_of(conn: Connection, statement: Statement, values: Values) -> _Bookmark:
    """Find the bookmark of a row."""
    rows = run(conn, statement, values)
    return _Bookmark(*rows[0]) if rows else _NOWHERE


@lru_cache(_KEPT)
def _at_position(shape: Shape, relation: Relation) -> Statement:
    return compiled(_where(shape, relation, relation.position == bound("after", BigInteger())))


@lru_cache(_KEPT)
def _at_id(shape: Shape, relation: Relation) -> Statement:
    field = shape.resource.fields[shape.resource.id]
    column = field.key(relation.table) if field.key is not None else field.column_of(relation)
    return compiled(_where(shape, relation, column == bound("after", column.type)))


def _where(shape: Shape, relation: Relation, condition: Condition) -> Select[Any]:
    key = cast(_sort_key(shape, relation), Text())
    found = select(key, relation.position, relation.name).select_from(relation.source).where(condition)
    return found if shape.within is None else found.where(or_(*shape.within(relation)))
