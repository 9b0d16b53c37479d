"""The shape of a list: all that its SQL depends on, apart from the values that are bound to the SQL.

To compose a statement costs as much as to run it, so a statement is composed once for each shape and kept.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct
from sqlalchemy import BindParameter, Connection, bindparam
from sqlalchemy.types import TypeEngine

from core.base.ids import uuid_of
from core.lists.fields import Condition, Filter, Listing, Member, Relation, Resource, Span, Type

Values = dict[str, Any]
"""The values of a statement, by the names of their slots."""


class Slot(str):
    """The name of a value that a statement gets when it runs."""

    __slots__ = ()


class ArraySlot(Slot):
    """The name of a list of values, which is bound as one array."""

    __slots__ = ()


class Shape(Struct, frozen=True):
    """A list in which slots stand for all values, so that it is equal to any other that needs the same SQL."""

    resource: Resource
    relations: tuple[Relation, ...]
    filters: tuple[Filter, ...]
    any_of: bool
    sort_by: str
    descending: bool
    within: Callable[[Relation], Sequence[Condition]] | None = None
    within_is_served: bool = False

    @property
    def looks_up(self) -> bool:
        """Whether a filter looks for each row in other tables, as that of a status does."""
        return any(asked.type is Type.CHOICE and asked.field.find is not None for asked in self.filters)


def shape_of(conn: Connection, listing: Listing, relations: Sequence[Relation]) -> tuple[Shape, Values]:
    """Split a list into its shape and its values."""
    values: Values = {}
    filters = tuple(_shaped(conn, asked, f"f{number}", values) for number, asked in enumerate(listing.filters))
    seen = listing.within
    shape = Shape(
        listing.resource,
        tuple(relations),
        filters,
        listing.any_of,
        listing.sort_by,
        listing.descending,
        None if seen is None else seen.conditions,
        seen is not None and seen.is_served,
    )
    return shape, values if seen is None else values | seen.values


def bound(slot: str, type_: TypeEngine[Any]) -> BindParameter[Any]:
    """The place of a slot's value in a statement."""
    return bindparam(slot, type_=type_)


def _shaped(conn: Connection, asked: Filter, prefix: str, values: Values) -> Filter:
    key = _slot(asked.key, f"{prefix}_key", values) if asked.key else ""
    slots = tuple(_slot(value, f"{prefix}_{number}", values) for number, value in enumerate(_resolved(conn, asked)))
    return Filter(asked.field, key, asked.operator, slots)


def _resolved(conn: Connection, asked: Filter) -> Sequence[Any]:
    """The values that are bound. A text that is no ID equals none."""
    field = asked.field
    if field.resolve is not None:
        return field.resolve(conn, asked)
    if asked.is_by_key:
        return [[key for value in asked.values if (key := uuid_of(value, field.prefix)) is not None]]
    return asked.values


def _slot(value: Any, name: str, values: Values) -> Any:
    match value:
        case StrEnum():
            return value
        case Span():
            return Span(_slot(value.start, f"{name}_start", values), _slot(value.end, f"{name}_end", values))
        case Member():
            json = tuple(_slot(text, f"{name}_json{number}", values) for number, text in enumerate(value.json))
            number = None if value.number is None else _slot(value.number, f"{name}_number", values)
            return Member(json, number, _slot(value.text, f"{name}_text", values))
        case list():
            slot: Slot = ArraySlot(f"{name}_all")
        case _:
            slot = Slot(name)
    values[slot] = value
    return slot
