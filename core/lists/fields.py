"""The words of a list: what its fields are, where its rows are found, and which of them a client asks for.

A feature describes its resource once, as a ``Resource`` of ``Field``s over ``Relation``s. Parsing, SQL, the API's
documentation and its errors all read that one description.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, FromClause, Uuid, cast, null


class Type(Enum):
    """What a field holds, and so what it may be compared with."""

    TEXT = "text"
    NUMBER = "a number"
    TIME = "a time such as 2026-04-22T15:28:03Z, or a whole day, hour or minute of it"
    CHOICE = "one of a few words"
    LINK = "an id"
    """The id of another row, which is compared as a whole."""
    NAME = "a name"
    """The name of a row that this one links to."""
    OBJECT = "an object"
    """All of ``meta_data``."""
    MEMBER = "text, a number, true or false"
    """One member of ``meta_data``."""


EQUAL, NULL = ("eq", "ne"), ("isnull", "isnotnull")
LIKE = ("like", "ilike")
_ORDERED = (*EQUAL, "gt", "gte", "lt", "lte", "in", "between", *NULL)
OPERATORS: dict[Type, tuple[str, ...]] = {
    Type.TEXT: (*_ORDERED, *LIKE),
    Type.NUMBER: _ORDERED,
    Type.TIME: _ORDERED,
    Type.CHOICE: (*EQUAL, "in", *NULL),
    Type.LINK: (*EQUAL, "in", *NULL),
    Type.NAME: (*EQUAL, "in", *LIKE, *NULL),
    Type.OBJECT: (*EQUAL, *NULL),
    Type.MEMBER: (*_ORDERED, *LIKE),
}
ALL_OPERATORS = OPERATORS[Type.TEXT]
ALIASES = {"neq": "ne", "gteq": "gte", "lteq": "lte"}


# What a client asks for


class Span(Struct, frozen=True):
    """A time as exactly as it was given: 2026-04-22 is the whole of that day."""

    start: datetime
    end: datetime
    """The first moment after it."""


class Member(Struct, frozen=True):
    """What a member of ``meta_data`` is compared with."""

    json: tuple[str, ...]
    """JSON texts that it may equal. Text from a query may stand for a number too."""
    number: Decimal | None
    text: str


class Filter(Struct, frozen=True):
    """One condition. Its values are ``str``, ``int`` or ``Decimal``, ``Span``, a choice, JSON text or ``Member``."""

    field: "Field"
    key: str
    """The member of ``meta_data`` that is meant; empty for any other field."""
    operator: str
    values: tuple[Any, ...]

    @property
    def type(self) -> Type:
        return Type.MEMBER if self.key else self.field.type


class Listing(Struct, frozen=True):
    """A page of a list."""

    resource: "Resource"
    filters: tuple[Filter, ...]
    any_of: bool
    """Rows match when one filter holds, instead of only when all hold."""
    limit: int
    offset: int
    after: str | None
    """What the page before ended with; ``offset`` is 0 then."""
    sort_by: str
    descending: bool
    include_count: bool


# What a feature describes


Condition = ColumnElement[bool]
Choices = type[StrEnum]
Expression = Callable[[FromClause], ColumnElement[Any]]
"""An expression over the table of a relation."""


class Relation(Struct, frozen=True):
    """Where rows are found. All relations of a resource have the columns that its fields need."""

    table: FromClause
    """The rows themselves. Fields take their columns from it."""
    source: FromClause
    """What stands after FROM: the table, or a join with it."""
    place: ColumnElement[int]
    """The column that orders rows which are equal otherwise."""
    name: ColumnElement[Any] = cast(null(), Uuid)
    """A second such column, where the place is not unique."""
    place_is_unique: bool = True


class Field(Struct, frozen=True):
    """One field of a resource: what it means, what it may be compared with, and where it is stored."""

    name: str
    type: Type
    description: str = ""
    column: Expression | None = None
    """What it is compared by. Unless told otherwise it is the table's column of its own name."""
    sort_key: Callable[[FromClause, Listing], ColumnElement[Any]] | None = None
    """What it sorts by, where that is something else than its column. A sort key is never null."""
    indexed: bool = False
    """An index finds rows by it without looking at all of them."""
    choices: Choices | None = None
    prefix: str = ""
    """What stands before the UUID of an id. ``key`` is the column of that UUID."""
    key: Expression | None = None
    factor: Expression | None = None
    """What a given value is multiplied by before it is compared."""
    find: Callable[[Connection, Filter, Relation], Sequence[Condition]] | None = None
    """Conditions of which any suffices, where it is not simply a column that is compared."""

    def column_of(self, relation: Relation) -> ColumnElement[Any]:
        return relation.table.c[self.name] if self.column is None else self.column(relation.table)

    @property
    def operators(self) -> tuple[str, ...]:
        return OPERATORS[self.type]

    @property
    def sortable(self) -> bool:
        return self.type in (Type.TEXT, Type.NUMBER, Type.TIME)


class Resource(Struct, frozen=True):
    """What is listed. Its id is the field that ``after`` names a row by."""

    name: str
    fields: dict[str, Field]
    id: str
    numbered: bool = False
    """``after`` may also be the place of a row, and can be nothing but a place or an id."""

    @property
    def sortable(self) -> list[str]:
        return [field.name for field in self.fields.values() if field.sortable]

    @property
    def indexed(self) -> list[str]:
        return [field.name for field in self.fields.values() if field.indexed]

    @property
    def parameters(self) -> list[str]:
        """All names that a query may give a filter, but for members of ``meta_data``."""
        return [
            name
            for field in self.fields.values()
            for name in (field.name, *(f"{field.name}_{op}" for op in field.operators))
        ]


def resource(name: str, *fields: Field, id: str, numbered: bool = False) -> Resource:
    """A resource of these fields."""
    return Resource(name, {field.name: field for field in fields}, id, numbered)


def relation(table: FromClause, place: ColumnElement[int], *, source: FromClause | None = None) -> Relation:
    """The rows of a table, which ``place`` tells apart."""
    return Relation(table, table if source is None else source, place)
