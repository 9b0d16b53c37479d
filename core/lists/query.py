"""Finds the positions of the rows of a page, from the filters of a list.

``plans.py`` says in which branches the rows of a page are looked for.

A look ends after ``LOOKED_AT`` rows of a branch, whether the page is full or not. It says where it ended, so that the next
look goes on from there. So no request reads a long history at once.

SQLAlchemy composes a statement once for each shape of a list. Its text is kept, and goes to the driver with the values.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
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
    bindparam,
    cast,
    false,
    func,
    literal_column,
    null,
    or_,
    select,
    tuple_,
    union,
    union_all,
)
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.sql.visitors import replacement_traverse

from core.base.db import driver
from core.base.errors import ErrorCode, InvalidRequest
from core.base.ids import uuid_of
from core.lists.fields import Condition, Extent, Listing, Relation, block_of
from core.lists.plans import KEPT, Branch, Plan, plans_of
from core.lists.shape import Shape, Values, bound, shape_of

LOOKED_AT = 10_000
"""The largest number of rows of a branch that are looked at for one page, or for one count."""

Position = tuple[int, UUID]
"""The position and the name of a row in its relation."""


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


def find(conn: Connection, listing: Listing, relations: Sequence[Relation]) -> tuple[list[Position], Extent]:
    """Find the positions and names of a page's rows, and count all matching rows if the listing wants it.

    The connection must plan statements for their values, as in ``reading_within``, because a plan that is right for a
    busy balance is wrong for a quiet one.

    Raises:
        InvalidRequest: the page before ended at no row that the client may see.
    """
    shape, values = shape_of(conn, listing, relations)
    plans = plans_of(shape)
    if not plans[0].branches:
        return [], Extent(0 if listing.include_count else None)
    bookmark = _bookmark(conn, shape, listing)
    count, counted_all = _counted(conn, shape, values) if listing.include_count else (None, True)
    values |= {"limit": listing.limit, "offset": listing.offset}
    if listing.offset >= _FAR and _is_whole_log(shape):
        bookmark, values["offset"] = _bookmark_at(conn, shape, listing.offset), 0
    values["first"] = listing.limit + values["offset"]
    if bookmark is not None:
        values |= {"after_key": bookmark.key, "after_position": bookmark.position, "after_name": bookmark.name}
    best: tuple[list[Position], str | None] | None = None
    for number in range(len(plans)):
        rows, truncated, ended_at = _look(conn, shape, number, values)
        if not truncated:
            return rows, Extent(count, truncated=not counted_all)
        if best is None or len(rows) > len(best[0]):
            best = rows, ended_at
    assert best is not None
    return best[0], Extent(count, truncated=True, ended_at=best[1])


def _look(conn: Connection, shape: Shape, number: int, values: Values) -> tuple[list[Position], bool, str | None]:
    """Look for a page by one plan.

    Returns the rows, whether there may be others that belong to the page, and where the look ended if another can go on there.
    """
    plan = plans_of(shape)[number]
    has_bookmark = "after_key" in values
    is_free = not plan.checks_rows and plan.in_order and values["first"] <= LOOKED_AT
    # A client must not learn of the row at which a look ended, if it may not see it. A position tells nothing.
    if is_free or (shape.within is not None and not shape.resource.numbered):
        return run(conn, _page(shape, number, bool(values["offset"]), has_bookmark, False), values), False, None
    every = not plan.in_order or values["first"] > LOOKED_AT
    ends = run(conn, _ends(shape, number, has_bookmark, every), values | {"looked_at": LOOKED_AT - 1})
    if ends:
        ((key, position, name),) = ends
        values = values | {"end_key": key, "end_position": position, "end_name": name}
    rows = run(conn, _page(shape, number, bool(values["offset"]), has_bookmark, bool(ends)), values)
    if not ends or (plan.in_order and len(rows) >= values["limit"]):
        return rows, False, None
    if not plan.in_order:
        return rows, True, None
    if shape.resource.numbered:
        # Only positions that are not unique have a name.
        prefix = shape.resource.fields[shape.resource.id].prefix
        return rows, True, str(position) if name is None else f"{prefix}{name}"
    ((id,),) = run(conn, _id_at(shape), {"at": position})
    return rows, True, str(id)


def _counted(conn: Connection, shape: Shape, values: Values) -> tuple[int, bool]:
    """Count the rows that match, and tell whether all were counted."""
    if _is_whole_log(shape):
        ((count,),) = run(conn, _extent(shape), {})
        return count, True
    most = 0
    for number in range(len(plans_of(shape))):
        window = values | {"looked_at": LOOKED_AT - 1}
        ends = run(conn, _ends(shape, number, False, True), window)
        if ends:
            ((key, position, name),) = ends
            window |= {"end_key": key, "end_position": position, "end_name": name}
        ((count,),) = run(conn, _count(shape, number, bool(ends)), window)
        if not ends:
            return count, True
        most = max(most, count)
    return most, False


def condition(conn: Connection, listing: Listing, relation: Relation) -> Condition:
    """Make the condition that all rows of a list meet, on any page. The values are in it."""
    shape, values = shape_of(conn, listing, [relation])
    found = or_(false(), *(each.condition for each in plans_of(shape)[-1].branches))
    return replacement_traverse(found, {}, partial(_filled, values))


def _filled(values: Values, part: Any, **_: Any) -> BindParameter[Any] | None:
    """Put its value into a slot. Returns None for any other part of a condition."""
    if isinstance(part, BindParameter) and part.key in values:
        return bindparam(part.key, values[part.key], type_=part.type)
    return None


def run(conn: Connection, statement: Statement, values: Values) -> list[Any]:
    """Run a statement and return its rows."""
    return driver(conn).execute(statement.sql, statement.constants | values).fetchall()


_FAR = 1_000
"""From this offset on, the start of a page is computed where it can be."""


def _is_whole_log(shape: Shape) -> bool:
    """Tell whether a list has all rows of one relation in the order of their positions, which have no gaps."""
    return (
        shape.resource.numbered
        and len(shape.relations) == 1
        and not shape.filters
        and shape.within is None
        and _sort_key(shape, shape.relations[0]) is shape.relations[0].position
    )


# Statements


@lru_cache(KEPT)
def _page(shape: Shape, plan: int, has_offset: bool, has_bookmark: bool, has_end: bool) -> Statement:
    """Make the statement that finds a page: the first rows of all branches, in order, up to the end of the look."""
    of, branches = plans_of(shape)[plan], plans_of(shape)[plan].branches
    if len(branches) == 1:
        (branch,) = branches
        rows = select(branch.relation.position, branch.relation.name)
        rows = _in_order(rows, shape, branch, has_bookmark).where(branch.condition)
        return compiled(_cut(_up_to(rows, shape, of, branch) if has_end else rows, has_offset))
    firsts = []
    for branch in branches:
        rows = _in_order(_keyed(shape, branch.relation), shape, branch, has_bookmark).where(branch.condition)
        rows = _up_to(rows, shape, of, branch) if has_end else rows
        firsts.append(rows.limit(bound("first", BigInteger())))
    found = union(*firsts).subquery("found")
    order = [_directed(column, shape) for column in (found.c.key, found.c.position, found.c.name)]
    return compiled(_cut(select(found.c.position, found.c.name).order_by(*order), has_offset))


@lru_cache(KEPT)
def _ends(shape: Shape, plan: int, has_bookmark: bool, every: bool) -> Statement:
    """Make the statement that finds where a look ends: the nearest of the rows at which one branch has been looked at.

    A branch in order whose rows need no check has no end, unless ``every`` branch has one.
    """
    of = plans_of(shape)[plan]
    lasts = []
    for branch in of.branches:
        if branch.rest is None and not every:
            continue
        relation = branch.relation
        # The index alone has the key and the position. Without the name no row is read.
        name = cast(null(), Uuid()) if relation.position_is_unique else relation.name
        key = _sort_key(shape, relation)
        rows = select(key.label("key"), relation.position.label("position"), name.label("name"))
        if of.in_order:
            rows = _in_order(rows, shape, branch, has_bookmark)
        else:
            order = [*_blocks(branch, relation.position), relation.position]
            rows = rows.select_from(relation.source).order_by(*(_directed(column, shape) for column in order))
        if branch.by is not None:
            rows = rows.where(branch.by)
        lasts.append(rows.offset(bound("looked_at", BigInteger())).limit(literal_column("1")))
    found = union_all(*lasts).subquery("found")
    keys = (found.c.key, found.c.position, found.c.name) if of.in_order else (found.c.position,)
    nearest = select(cast(found.c.key, Text()), found.c.position, found.c.name)
    return compiled(nearest.order_by(*(_directed(key, shape) for key in keys)).limit(literal_column("1")))


@lru_cache(KEPT)
def _count(shape: Shape, plan: int, has_end: bool) -> Statement:
    """Make the statement that counts the rows of all branches. A row in several branches counts once."""
    of = plans_of(shape)[plan]
    parts = []
    for branch in of.branches:
        each = branch.relation
        rows = select(each.position.label("position"), each.name.label("name")).select_from(each.source)
        rows = rows.where(branch.condition)
        parts.append(_up_to(rows, shape, of, branch) if has_end else rows)
    found = (parts[0] if len(parts) == 1 else union(*parts)).subquery("found")
    return compiled(select(func.count()).select_from(found))


@lru_cache(KEPT)
def _extent(shape: Shape) -> Statement:
    """Make the statement that counts the rows of a whole log by its first and last position."""
    (relation,) = shape.relations
    first, last = func.min(relation.position), func.max(relation.position)
    size = func.coalesce(last - first + literal_column("1"), literal_column("0"))
    return compiled(select(size).select_from(relation.source))


@lru_cache(KEPT)
def _head(shape: Shape) -> Statement:
    """Make the statement that reads the position of the first row of a whole log, in the order of the page."""
    (relation,) = shape.relations
    nearest = func.max(relation.position) if shape.descending else func.min(relation.position)
    return compiled(select(func.coalesce(nearest, literal_column("0"))).select_from(relation.source))


def _keyed(shape: Shape, relation: Relation) -> Select[Any]:
    """Select the sort key, position and name of rows."""
    key = _sort_key(shape, relation)
    return select(key.label("key"), relation.position.label("position"), relation.name.label("name"))


def _in_order(rows: Select[Any], shape: Shape, branch: Branch, has_bookmark: bool) -> Select[Any]:
    """Sort the rows of one branch, from the end of the page before."""
    relation = branch.relation
    key = _sort_key(shape, relation)
    # A sort key that is the position comes once, and a unique position needs no name after it.
    used = slice(int(key is relation.position), 2 if relation.position_is_unique else 3)
    order: list[ColumnElement[Any]] = [key, relation.position, relation.name][used]
    rows = rows.select_from(relation.source)
    if has_bookmark:
        ours, theirs = _sides(order, _bounds("after", key)[used])
        rows = rows.where(ours < theirs if shape.descending else ours > theirs)
    if key is relation.position:
        order = [*_blocks(branch, key), *order]
        if has_bookmark:
            rows = _from_block(rows, shape, branch, "after")
    return rows.order_by(*(_directed(column, shape) for column in order))


def _blocks(branch: Branch, position: ColumnElement[int]) -> list[ColumnElement[Any]]:
    """List what comes ahead of the position in its own order, so that an index in blocks has the rows in that order."""
    return [block_of(position)] if branch.in_blocks else []


def _from_block(rows: Select[Any], shape: Shape, branch: Branch, of: str, *, up_to: bool = False) -> Select[Any]:
    """Leave out the blocks before that of a row, or with ``up_to`` those after it. The row's bounds say the rest."""
    for ours in _blocks(branch, branch.relation.position):
        theirs = block_of(bound(f"{of}_position", BigInteger()))
        rows = rows.where(ours <= theirs if shape.descending != up_to else ours >= theirs)
    return rows


def _up_to(rows: Select[Any], shape: Shape, plan: Plan, branch: Branch) -> Select[Any]:
    """Leave out the rows of one branch that are after the end of a look."""
    relation = branch.relation
    key = _sort_key(shape, relation)
    used = (
        slice(int(key is relation.position), 2 if relation.position_is_unique else 3) if plan.in_order else slice(1, 2)
    )
    ours, theirs = _sides([key, relation.position, relation.name][used], _bounds("end", key)[used])
    rows = rows.where(ours >= theirs if shape.descending else ours <= theirs)
    if not plan.in_order or key is relation.position:
        rows = _from_block(rows, shape, branch, "end", up_to=True)
    return rows


def _bounds(of: str, key: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """Return the slots of the key, the position and the name of a row."""
    name = bound(f"{of}_name", Uuid())
    return [cast(bound(f"{of}_key", Text()), key.type), bound(f"{of}_position", BigInteger()), name]


def _sides(order: Sequence[ColumnElement[Any]], bounds: Sequence[ColumnElement[Any]]) -> tuple[Any, Any]:
    """Return both sides of a comparison of a row with bounds."""
    return (order[0], bounds[0]) if len(order) == 1 else (tuple_(*order), tuple_(*bounds))


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

    Raises:
        InvalidRequest: there is no such row, or the client may not see it. Both have one answer.
    """
    after = listing.after
    if after is None:
        return None
    values = {} if listing.within is None else {**listing.within.values}
    first = shape.relations[0]
    if shape.resource.numbered and after.isascii() and after.isdigit():
        if _sort_key(shape, first) is first.position:  # Then a position needs no row.
            return _Bookmark(after, int(after), None)
        statements, values["after"] = [_at_position(shape, first)], int(after)
    else:
        field = shape.resource.fields[shape.resource.id]
        values["after"] = uuid_of(after, field.prefix) if field.key is not None else after
        statements = [_at_id(shape, relation) for relation in shape.relations]
    for statement in statements:
        if rows := run(conn, statement, values):
            return _Bookmark(*rows[0])
    raise _nowhere(shape)


def _nowhere(shape: Shape) -> InvalidRequest:
    text = f"must be a row of the {shape.resource.name} that you may list, as the Link header of the page before has it"
    return InvalidRequest([("after", text)], ErrorCode.GEN_VALIDATION_ERROR, [{"Param": "after", "Message": text}])


def _bookmark_at(conn: Connection, shape: Shape, offset: int) -> _Bookmark:
    """Compute the bookmark after which a whole log goes on behind so many rows."""
    ((first,),) = run(conn, _head(shape), {})
    position = first - offset + 1 if shape.descending else first + offset - 1
    return _Bookmark(str(position), position, None)


@lru_cache(KEPT)
def _id_at(shape: Shape) -> Statement:
    """Make the statement that reads the ID by which ``after`` names the row at a position."""
    relation = shape.relations[0]
    id = shape.resource.fields[shape.resource.id].column_of(relation)
    return compiled(select(id).select_from(relation.source).where(relation.position == bound("at", BigInteger())))


@lru_cache(KEPT)
def _at_position(shape: Shape, relation: Relation) -> Statement:
    return compiled(_where(shape, relation, relation.position == bound("after", BigInteger())))


@lru_cache(KEPT)
def _at_id(shape: Shape, relation: Relation) -> Statement:
    field = shape.resource.fields[shape.resource.id]
    column = field.key(relation.table) if field.key is not None else field.column_of(relation)
    return compiled(_where(shape, relation, column == bound("after", column.type)))


def _where(shape: Shape, relation: Relation, condition: Condition) -> Select[Any]:
    key = cast(_sort_key(shape, relation), Text())
    found = select(key, relation.position, relation.name).select_from(relation.source).where(condition)
    return found if shape.within is None else found.where(or_(*shape.within(relation)))
