"""Finds the positions of the rows of a page, from the filters of a list.

Each filter becomes one or more conditions. A row needs to meet one of them, and an index answers each. The conditions
of all filters are multiplied out, so that a page is the first rows of a few branches, each of which is in order already.
A search for one name among millions of rows, on either of two sides, takes two short walks along two indexes.
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
"""The largest number of branches that a page is put together from."""

Position = tuple[int, UUID]
"""The position and the name of a row in its relation."""

_Branch = tuple[Relation, Condition]


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
    branches = [(each, condition) for each in relations for condition in conditions(conn, listing, each)]
    if not branches:
        return [], 0 if listing.include_count else None
    count = _count(conn, branches) if listing.include_count else None
    bookmark = _bookmark(conn, listing, relations)
    if bookmark is _NOWHERE:
        return [], count
    rows = _execute(conn, _page(listing, branches, bookmark))
    return [(position, name) for position, name in rows], count


def conditions(conn: Connection, listing: Listing, relation: Relation) -> Sequence[Condition]:
    """List the conditions of all filters together. A row needs to meet one of them. An empty list matches no row."""
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


def _page(listing: Listing, branches: Sequence[_Branch], bookmark: _Bookmark | None) -> Select[Any]:
    """Make the statement that finds a page: the first rows of all branches, in order."""
    if len(branches) == 1:
        ((relation, condition),) = branches
        rows = select(relation.position, relation.name)
        return _cut(_in_order(rows, listing, relation, condition, bookmark), listing.limit, listing.offset)
    firsts = [
        _cut(
            _in_order(_keyed(listing, relation), listing, relation, condition, bookmark), listing.limit + listing.offset
        )
        for relation, condition in branches
    ]
    found = union(*firsts).subquery("found")
    order = [_directed(column, listing) for column in (found.c.key, found.c.position, found.c.name)]
    return _cut(select(found.c.position, found.c.name).order_by(*order), listing.limit, listing.offset)


def _keyed(listing: Listing, relation: Relation) -> Select[Any]:
    """Select the sort key, position and name of rows."""
    key = _sort_key(listing, relation)
    return select(key.label("key"), relation.position.label("position"), relation.name.label("name"))


def _in_order(
    rows: Select[Any], listing: Listing, relation: Relation, condition: Condition, bookmark: _Bookmark | None
) -> Select[Any]:
    """Restrict rows to one branch, and sort them from the end of the page before."""
    key = _sort_key(listing, relation)
    # A sort key that is the position comes once, and a unique position needs no name after it.
    used = slice(int(key is relation.position), 2 if relation.position_is_unique else 3)
    order: list[ColumnElement[Any]] = [key, relation.position, relation.name][used]
    rows = rows.select_from(relation.source).where(condition)
    if bookmark is not None:
        bounds: list[ColumnElement[Any]] = [
            cast(literal(bookmark.key, Text()), key.type),
            literal(bookmark.position, BigInteger()),
            literal(bookmark.name, Uuid()),
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
    """Count the rows of all branches. A row in several branches counts once."""
    parts = [
        select(each.position.label("position"), each.name.label("name")).select_from(each.source).where(condition)
        for each, condition in branches
    ]
    found = (parts[0] if len(parts) == 1 else union(*parts)).subquery("found")
    ((count,),) = _execute(conn, select(func.count()).select_from(found))
    assert isinstance(count, int)
    return count


def _sort_key(listing: Listing, relation: Relation) -> ColumnElement[Any]:
    """Return the expression that a page is sorted by."""
    field = listing.resource.fields[listing.sort_by]
    return field.column_of(relation) if field.sort_key is None else field.sort_key(relation.table, listing)


def _bookmark(conn: Connection, listing: Listing, relations: Sequence[Relation]) -> _Bookmark | None:
    """Find the row that ``after`` names by its ID, or by its position where rows are numbered.

    Returns ``_NOWHERE`` for an unknown row, which ends the list.
    """
    after = listing.after
    if after is None:
        return None
    first = relations[0]
    if listing.resource.numbered and after.isascii() and after.isdigit():
        if _sort_key(listing, first) is first.position:  # The bookmark then needs no row.
            return _Bookmark(after, int(after), None)
        return _bookmark_where(conn, listing, first, first.position == literal(int(after), BigInteger()))
    field = listing.resource.fields[listing.resource.id]
    value = uuid_of(after, field.prefix) if field.key is not None else after
    for relation in relations:
        column = field.key(relation.table) if field.key is not None else field.column_of(relation)
        found = _bookmark_where(conn, listing, relation, column == literal(value, column.type))
        if found is not _NOWHERE:
            return found
    return _NOWHERE


def _bookmark_where(conn: Connection, listing: Listing, relation: Relation, condition: Condition) -> _Bookmark:
    """Find the bookmark of the row that meets a condition."""
    key = _sort_key(listing, relation)
    row = select(cast(key, Text()), relation.position, relation.name).select_from(relation.source).where(condition)
    rows = _execute(conn, row)
    return _Bookmark(*rows[0]) if rows else _NOWHERE


def _execute(conn: Connection, statement: Select[Any]) -> Sequence[Any]:
    return conn.execute(statement).all()
