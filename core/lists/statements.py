"""Composes the statements that find the rows of a page, count them, and find where the page before ended.

SQLAlchemy composes a statement once for each shape of a list. Its text is kept, and goes to the driver with the values.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Text,
    Uuid,
    and_,
    cast,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    tuple_,
    union,
    union_all,
)
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from core.lists.fields import Condition, Relation, block_of
from core.lists.plans import KEPT, Branch, Plan, plans_of
from core.lists.shape import Shape, Values, bound


class Statement(Struct, frozen=True):
    """A composed statement, as the driver takes it."""

    sql: str
    constants: Values
    """The values that are the same in every run."""


@lru_cache(KEPT)
def page(shape: Shape, plan: int, has_offset: bool, has_bookmark: bool, has_end: bool) -> Statement:
    """Make the statement that finds a page: the first rows of all branches, in order, up to the end of the look."""
    of, branches = plans_of(shape)[plan], plans_of(shape)[plan].branches
    if len(branches) == 1:
        (branch,) = branches
        rows = select(branch.relation.position, branch.relation.name)
        return compiled(_cut(_between(rows, shape, of, branch, has_bookmark, has_end), has_offset))
    firsts = []
    for branch in branches:
        rows = _between(_keyed(shape, branch.relation), shape, of, branch, has_bookmark, has_end)
        firsts.append(rows.limit(bound("first", BigInteger())))
    found = union(*firsts).subquery("found")
    order = [_directed(column, shape) for column in (found.c.key, found.c.position, found.c.name)]
    return compiled(_cut(select(found.c.position, found.c.name).order_by(*order), has_offset))


@lru_cache(KEPT)
def ends(shape: Shape, plan: int, has_bookmark: bool, every: bool) -> Statement:
    """Make the statement that finds where a look ends: the nearest of the rows at which one branch has been looked at.

    A branch in order whose rows need no check has no end, unless ``every`` branch has one.
    """
    of = plans_of(shape)[plan]
    lasts = []
    for branch in of.branches:
        if branch.rest is None and not every:
            continue
        relation = branch.relation
        # Out of order, the position alone says where a look ends.
        key = sort_key(shape, relation) if of.in_order else cast(null(), Text())
        rows = select(key.label("key"), relation.position.label("position"), _name(relation).label("name"))
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
def count(shape: Shape, plan: int, has_end: bool) -> Statement:
    """Make the statement that counts the rows of all branches. A row in several branches counts once."""
    of = plans_of(shape)[plan]
    parts = []
    for branch in of.branches:
        each = branch.relation
        rows = select(each.position.label("position"), _name(each).label("name"))
        if branch.rest is not None and branch.is_walked:
            branch = _walked(shape, of, branch, False, has_end)
            rows = rows.select_from(branch.relation.source).where(branch.condition)
        else:
            rows = rows.select_from(each.source).where(branch.condition)
            rows = _up_to(rows, shape, of, branch) if has_end else rows
        parts.append(rows)
    found = (parts[0] if len(parts) == 1 else union(*parts)).subquery("found")
    return compiled(select(func.count()).select_from(found))


@lru_cache(KEPT)
def extent(shape: Shape) -> Statement:
    """Make the statement that counts the rows of a whole log by its first and last position."""
    (relation,) = shape.relations
    first, last = func.min(relation.position), func.max(relation.position)
    size = func.coalesce(last - first + literal_column("1"), literal_column("0"))
    return compiled(select(size).select_from(relation.source))


@lru_cache(KEPT)
def head(shape: Shape) -> Statement:
    """Make the statement that reads the position of the first row of a whole log, in the order of the page."""
    (relation,) = shape.relations
    nearest = func.max(relation.position) if shape.descending else func.min(relation.position)
    return compiled(select(func.coalesce(nearest, literal_column("0"))).select_from(relation.source))


@lru_cache(KEPT)
def id_at(shape: Shape) -> Statement:
    """Make the statement that reads the ID by which ``after`` names the row at a position."""
    relation = shape.relations[0]
    id = shape.resource.fields[shape.resource.id].column_of(relation)
    return compiled(select(id).select_from(relation.source).where(relation.position == bound("at", BigInteger())))


@lru_cache(KEPT)
def at_position(shape: Shape, relation: Relation) -> Statement:
    return compiled(_where(shape, relation, relation.position == bound("after", BigInteger())))


@lru_cache(KEPT)
def at_id(shape: Shape, relation: Relation) -> Statement:
    field = shape.resource.fields[shape.resource.id]
    column = field.key(relation.table) if field.key is not None else field.column_of(relation)
    return compiled(_where(shape, relation, column == bound("after", column.type)))


def sort_key(shape: Shape, relation: Relation) -> ColumnElement[Any]:
    """Return the expression that a page is sorted by."""
    field = shape.resource.fields[shape.sort_by]
    key = field.column_of(relation) if field.sort_key is None else field.sort_key(relation.table, shape.filters)
    return relation.position if key is relation.stands_for else key


def compiled(statement: Select[Any]) -> Statement:
    """Compose a statement, as the driver takes it. Slots stand for the values that it gets when it runs."""
    text = statement.compile(dialect=_DIALECT)
    # Slots have no value here, and constants of the expressions have one.
    constants = {name: value for name, value in text.params.items() if value is not None}
    return Statement(text.string, constants)


_DIALECT = PGDialect_psycopg()  # type: ignore[no-untyped-call]


def _keyed(shape: Shape, relation: Relation) -> Select[Any]:
    """Select the sort key, position and name of rows."""
    key = sort_key(shape, relation)
    return select(key.label("key"), relation.position.label("position"), relation.name.label("name"))


def _name(relation: Relation) -> ColumnElement[Any]:
    """Return what tells rows of one position apart. Where none does, no row is read for it: an index has the position."""
    return cast(null(), Uuid()) if relation.position_is_unique else relation.name


def _between(
    rows: Select[Any], shape: Shape, plan: Plan, branch: Branch, has_bookmark: bool, has_end: bool
) -> Select[Any]:
    """Sort the rows of one branch, from the end of the page before, up to the end of the look."""
    if branch.is_walked:
        walked = _walked(shape, plan, branch, has_bookmark, has_end)
        return _in_order(rows, shape, walked, has_bookmark and not plan.in_order).where(walked.condition)
    rows = _in_order(rows, shape, branch, has_bookmark).where(branch.condition)
    return _up_to(rows, shape, plan, branch) if has_end else rows


def _walked(shape: Shape, plan: Plan, branch: Branch, has_bookmark: bool, has_end: bool) -> Branch:
    """Join the rows of a branch to the positions that a look comes by, so that an index alone finds these.

    The planner knows how many rows an index finds, but not how far they are from each other. For two thousand rows of a busy
    balance that has moved little of late, it would read all rows of the log between the first and the last of them. The rows
    are MATERIALIZED, because it takes two ways for equal whose costs differ by less than a hundredth of the whole statement.
    """
    relation = branch.relation
    found: Select[Any] = select(relation.position.label("position"))
    if plan.in_order:
        found = _in_order(found, shape, branch, has_bookmark)
    else:
        found = found.select_from(relation.source).order_by(_directed(relation.position, shape))
    if branch.by is not None:
        found = found.where(branch.by)
    if has_end:
        found = _up_to(found, shape, plan, branch)
    # The offset of the end is one less than the number of the rows up to it.
    most: ColumnElement[int] = bound("looked_at", BigInteger()) + literal_column("1")
    if plan.in_order and branch.rest is None and not has_end:
        most = bound("first", BigInteger())
    looked = found.limit(most).cte().prefix_with("MATERIALIZED")
    source = relation.source.join(looked, looked.c.position == relation.position)
    # IS TRUE hides the rest from other indexes, such as that of dates, whose rows would be read instead.
    rest = None if branch.rest is None else and_(branch.rest).is_(true())
    return replace(branch, relation=replace(relation, source=source), by=None, rest=rest)


def _in_order(rows: Select[Any], shape: Shape, branch: Branch, has_bookmark: bool) -> Select[Any]:
    """Sort the rows of one branch, from the end of the page before."""
    relation = branch.relation
    key = sort_key(shape, relation)
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
    key = sort_key(shape, relation)
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


def _where(shape: Shape, relation: Relation, condition: Condition) -> Select[Any]:
    key = cast(sort_key(shape, relation), Text())
    found = select(key, relation.position, relation.name).select_from(relation.source).where(condition)
    return found if shape.within is None else found.where(or_(*shape.within(relation)))
