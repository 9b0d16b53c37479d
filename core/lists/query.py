"""Finds the positions of the rows of a page, from the filters of a list.

``plans.py`` says in which branches the rows of a page are looked for, and ``statements.py`` composes the statements.

A look ends after ``LOOKED_AT`` rows of a branch, whether the page is full or not. It says where it ended, so that the next
look goes on from there. So no request reads a long history at once.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from msgspec import Struct
from sqlalchemy import BindParameter, Connection, bindparam, false, or_
from sqlalchemy.sql.visitors import replacement_traverse

from core.base.db import driver
from core.base.errors import ErrorCode, InvalidRequest
from core.base.ids import uuid_of
from core.lists import statements
from core.lists.fields import Condition, Extent, Listing, Relation
from core.lists.plans import plans_of
from core.lists.shape import Shape, Values, shape_of
from core.lists.statements import Statement

LOOKED_AT = 10_000
"""The largest number of rows of a branch that are looked at for one page, or for one count."""

SCATTERED = 2_000
"""The same of rows that an index finds here and there in the log, such as those of a balance, and of rows whose status is
looked up. Each costs some pages. A count of what an index knows by itself reads no row, and is not among them."""

Position = tuple[int, UUID]
"""The position and the name of a row in its relation."""


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
    looked_at = SCATTERED if plan.is_scattered or shape.looks_up else LOOKED_AT
    has_bookmark = "after_key" in values
    is_free = not plan.checks_rows and plan.in_order and values["first"] <= LOOKED_AT
    # A client must not learn of the row at which a look ended, if it may not see it. A position tells nothing.
    if is_free or (shape.within is not None and not shape.resource.numbered):
        page = statements.page(shape, number, bool(values["offset"]), has_bookmark, False)
        return run(conn, page, values), False, None
    every = not plan.in_order or values["first"] > looked_at
    values = values | {"looked_at": looked_at - 1}
    ends = run(conn, statements.ends(shape, number, has_bookmark, every), values)
    if ends:
        ((key, position, name),) = ends
        values = values | {"end_key": key, "end_position": position, "end_name": name}
    rows = run(conn, statements.page(shape, number, bool(values["offset"]), has_bookmark, bool(ends)), values)
    if not ends or (plan.in_order and len(rows) >= values["limit"]):
        return rows, False, None
    if not plan.in_order:
        return rows, True, None
    if shape.resource.numbered:
        # Only positions that are not unique have a name.
        prefix = shape.resource.fields[shape.resource.id].prefix
        return rows, True, str(position) if name is None else f"{prefix}{name}"
    ((id,),) = run(conn, statements.id_at(shape), {"at": position})
    return rows, True, str(id)


def _counted(conn: Connection, shape: Shape, values: Values) -> tuple[int, bool]:
    """Count the rows that match, and tell whether all were counted."""
    if _is_whole_log(shape):
        ((count,),) = run(conn, statements.extent(shape), {})
        return count, True
    most = 0
    for number, plan in enumerate(plans_of(shape)):
        reads_rows = shape.looks_up or (plan.is_scattered and plan.checks_rows)
        looked_at = SCATTERED if reads_rows else LOOKED_AT
        window = values | {"looked_at": looked_at - 1}
        ends = run(conn, statements.ends(shape, number, False, True), window)
        if ends and len(plan.branches) == 1 and not plan.checks_rows:
            most = max(most, looked_at)  # All of them match.
            continue
        if ends:
            ((key, position, name),) = ends
            window |= {"end_key": key, "end_position": position, "end_name": name}
        ((count,),) = run(conn, statements.count(shape, number, bool(ends)), window)
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
        and statements.sort_key(shape, shape.relations[0]) is shape.relations[0].position
    )


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
        if statements.sort_key(shape, first) is first.position:  # Then a position needs no row.
            return _Bookmark(after, int(after), None)
        looks, values["after"] = [statements.at_position(shape, first)], int(after)
    else:
        field = shape.resource.fields[shape.resource.id]
        values["after"] = uuid_of(after, field.prefix) if field.key is not None else after
        looks = [statements.at_id(shape, relation) for relation in shape.relations]
    for statement in looks:
        if rows := run(conn, statement, values):
            return _Bookmark(*rows[0])
    raise _nowhere(shape)


def _nowhere(shape: Shape) -> InvalidRequest:
    text = f"must be a row of the {shape.resource.name} that you may list, as the Link header of the page before has it"
    return InvalidRequest([("after", text)], ErrorCode.GEN_VALIDATION_ERROR, [{"Param": "after", "Message": text}])


def _bookmark_at(conn: Connection, shape: Shape, offset: int) -> _Bookmark:
    """Compute the bookmark after which a whole log goes on behind so many rows."""
    ((first,),) = run(conn, statements.head(shape), {})
    position = first - offset + 1 if shape.descending else first + offset - 1
    return _Bookmark(str(position), position, None)
