"""Turns one filter into SQL conditions. A row needs to meet one of them, and each says whether an index finds its rows.

The filters here have slots in place of values (see ``shape.py``), so the conditions fit all filters of their shape.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, assert_never

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Numeric,
    Text,
    Uuid,
    and_,
    any_,
    case,
    cast,
    func,
    not_,
    or_,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import TypeEngine

from core.lists.fields import LIKE, NULL, Condition, Filter, Member, Relation, Sought, Span, Type
from core.lists.shape import bound

_TIME = DateTime(timezone=True)


def alternatives(asked: Filter, relation: Relation) -> Sequence[Sought]:
    """List the ways to meet one filter. A row needs to meet one of them."""
    found = _alternatives(asked, relation)
    served = asked.operator in ("eq", "in") or (asked.field.ranges and asked.operator in _RANGES)
    if asked.key or not (asked.field.indexed and served):
        return [each if isinstance(each, Sought) else Sought(None, each) for each in found]
    return [each if isinstance(each, Sought) else Sought(each) for each in found]


_RANGES = ("gt", "gte", "lt", "lte", "between")


def whole(sought: Sought) -> Condition:
    """Return the condition of one way to meet a filter, as it is checked at one row."""
    if sought.test is not None:
        return sought.test
    parts = [each for each in (sought.by, sought.rest) if each is not None]
    return and_(*parts) if parts else true()


def _alternatives(asked: Filter, relation: Relation) -> Sequence[Condition | Sought]:
    field = asked.field
    if field.find is not None:
        return field.find(asked, relation)
    column = field.column_of(relation)
    match asked.type:
        case Type.OBJECT:
            return [_object_condition(asked, column)]
        case Type.MEMBER:
            return [_member_condition(asked, column)]
        case Type.TIME:
            return [time_condition(asked, column)]
        case Type.TEXT | Type.NUMBER | Type.NAME | Type.LINK | Type.CHOICE:
            if field.key is not None and asked.is_by_key:
                return [_uuid_condition(asked, field.key(relation.table))]
            return [compared(column, asked.operator, _bounds(asked, relation))]
        case _:
            assert_never(asked.type)


def compared(column: ColumnElement[Any], operator: str, bounds: Sequence[ColumnElement[Any]]) -> Condition:
    """Compare a column by an operator of the filter language."""
    match operator:
        case "isnull":
            return column.is_(None)
        case "isnotnull":
            return column.is_not(None)
        case "in":
            return column.in_(bounds)
        case "between":
            return column.between(bounds[0], bounds[1])
        case "eq":
            return column == bounds[0]
        case "ne":
            return column != bounds[0]
        case "gt":
            return column > bounds[0]
        case "gte":
            return column >= bounds[0]
        case "lt":
            return column < bounds[0]
        case "lte":
            return column <= bounds[0]
        case "like":
            return column.like(bounds[0])
        case "ilike":
            return column.ilike(bounds[0])
    raise AssertionError(operator)


def time_condition(asked: Filter, column: ColumnElement[Any]) -> Condition:
    """Compare a time. It equals all of the unit that was given, and the unit's start counts for other operators."""
    spans: tuple[Span, ...] = asked.values
    if asked.operator in ("eq", "in"):
        return or_(*(and_(column >= _time(span.start), column < _time(span.end)) for span in spans))
    if asked.operator == "ne":
        return or_(column < _time(spans[0].start), column >= _time(spans[0].end))
    return compared(column, asked.operator, [_time(span.start) for span in spans])


def intervals(asked: Filter) -> list[tuple[datetime, datetime]]:
    """List the intervals in which the condition of ``time_condition`` holds. The end of each is not in it."""
    spans: tuple[Span, ...] = asked.values
    start = spans[0].start
    match asked.operator:
        case "eq" | "in":
            return [(span.start, span.end) for span in spans]
        case "ne":
            return [(_EVER, start), (spans[0].end, _NEVER)]
        case "between":
            return [(start, _just_after(spans[1].start))]
        case "gt":
            return [(_just_after(start), _NEVER)]
        case "gte":
            return [(start, _NEVER)]
        case "lt":
            return [(_EVER, start)]
        case "lte":
            return [(_EVER, _just_after(start))]
    raise AssertionError(asked.operator)


_EVER = datetime.min.replace(tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)


def _just_after(time: datetime) -> datetime:
    """Return the next time that the database tells apart."""
    return min(time, _NEVER - timedelta(microseconds=1)) + timedelta(microseconds=1)


def texts(asked: Filter) -> list[ColumnElement[Any]]:
    """Return the values of a filter on text, as SQL."""
    return [bound(value, Text()) for value in asked.values]


def _time(value: Any) -> ColumnElement[Any]:
    return bound(value, _TIME)


def _bounds(asked: Filter, relation: Relation) -> list[ColumnElement[Any]]:
    """Return the values of a filter as SQL, multiplied by the factor of its field."""
    factor = asked.field.factor
    if factor is None:
        # A number goes without a cast, so that an index on integers answers for an integer.
        given: TypeEngine[Any] = Numeric() if asked.type is Type.NUMBER else Text()
        return [bound(value, given) for value in asked.values]
    return [cast(bound(value, Numeric()), Numeric()) * factor(relation.table) for value in asked.values]


def _uuid_condition(asked: Filter, column: ColumnElement[Any]) -> Condition:
    """Compare the UUIDs of IDs."""
    given = bound(asked.values[0], ARRAY(Uuid()))
    if asked.operator == "ne":  # A row without an ID is not unequal to one, as in SQL.
        return and_(column.is_not(None), not_(column == any_(given)))
    return column == any_(given)


# Metadata


def _object_condition(asked: Filter, column: ColumnElement[Any]) -> Condition:
    """Compare all of the metadata: equal means that it contains the object."""
    if asked.operator in NULL:
        return compared(column, asked.operator, [])
    held = _contains(column, cast(bound(asked.values[0], Text()), JSONB()))
    return held if asked.operator == "eq" else not_(held)


def _member_condition(asked: Filter, column: ColumnElement[Any]) -> Condition:
    """Compare one member of the metadata.

    Equality is that of JSON, so 1 does not equal "1". An order with a number is that of numbers, and of texts that read
    as numbers.
    """
    key = bound(asked.key, Text())
    text: ColumnElement[Any] = column.op("->>", return_type=Text())(key)
    members: tuple[Member, ...] = asked.values
    if asked.operator in ("eq", "ne", "in"):
        contained = or_(
            *(
                _contains(column, func.jsonb_build_object(key, cast(bound(each, Text()), JSONB())))
                for member in members
                for each in member.json
            )
        )
        return contained if asked.operator != "ne" else and_(text.is_not(None), not_(contained))
    numbers: list[Any] = [member.number for member in members if member.number is not None]
    if asked.operator not in (*LIKE, *NULL) and len(numbers) == len(members):
        is_number = and_(func.length(text) <= 1000, text.regexp_match("^-?[0-9]+([.][0-9]+)?$"))
        number = case((is_number, cast(text, Numeric())))
        return compared(number, asked.operator, [bound(slot, Numeric()) for slot in numbers])
    return compared(text, asked.operator, [bound(member.text, Text()) for member in members])


def _contains(column: ColumnElement[Any], part: ColumnElement[Any]) -> Condition:
    held: Condition = column.bool_op("@>")(part)
    return held
