"""Defines the words of a list: its fields, where its rows are found, and the page that a client asks for.

A feature describes its resource once, as a ``Resource`` of ``Field``s over ``Relation``s. Parsing, SQL, the API's
documentation and its errors all read that one description.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, FromClause, Text, Uuid, cast, literal_column, null


class Type(Enum):
    """The type of a field, which decides its operators. Its text is the end of an error message."""

    TEXT = "text"
    NUMBER = "a number"
    TIME = "a time such as 2026-04-22T15:28:03Z, or a whole day, hour or minute of it"
    CHOICE = "one of a few words"
    LINK = "an id"
    """The ID of another row, which is compared as a whole."""
    NAME = "a name"
    """The name of a row that this one links to."""
    OBJECT = "an object"
    """The whole of ``meta_data``."""
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


# The request of a client


class Span(Struct, frozen=True):
    """The span of time that a text names. The text 2026-04-22 names the whole of that day."""

    start: datetime
    end: datetime
    """The first moment after the span."""


class Member(Struct, frozen=True):
    """A value that a member of ``meta_data`` is compared with."""

    json: tuple[str, ...]
    """The JSON texts that the member may equal. A text from a query may also stand for a number."""
    number: Decimal | None
    text: str


class Filter(Struct, frozen=True):
    """One condition of a list. Its values are ``str``, ``int``, ``Decimal``, ``Span``, a choice, JSON text or ``Member``."""

    field: "Field"
    key: str
    """The name of a member of ``meta_data``. It is empty for any other field."""
    operator: str
    values: tuple[Any, ...]

    @property
    def type(self) -> Type:
        """The type that the values are compared as."""
        return Type.MEMBER if self.key else self.field.type

    @property
    def is_by_key(self) -> bool:
        """Whether the UUIDs in IDs are compared, instead of the IDs."""
        return self.field.key is not None and self.operator in ("eq", "ne", "in")


class Within(Struct, frozen=True, eq=False):
    """The rows that a client may see, whatever it asks for."""

    conditions: "Callable[[Relation], Sequence[Condition]]"
    """A function that lists conditions with slots. A row needs to meet one. Lists with the same SQL share the function."""
    values: dict[str, Any]
    """The values of the slots."""
    is_served: bool = False
    """Whether an index finds the rows, in whatever order, and they are not too many to be sorted."""


class Listing(Struct, frozen=True):
    """A checked request for a page of a list."""

    resource: "Resource"
    filters: tuple[Filter, ...]
    any_of: bool
    """A row matches when one filter holds. Otherwise all filters must hold."""
    limit: int
    offset: int
    after: str | None
    """The row that ended the page before: its ID or position. ``offset`` is then 0."""
    sort_by: str
    descending: bool
    include_count: bool
    within: Within | None = None
    """The rows that the client may see. None stands for all."""


class Extent(Struct, frozen=True):
    """How far a look for a page went."""

    count: int | None = None
    """The number of all rows that match, if the listing wants it. It is too low when the counting ended early."""
    truncated: bool = False
    """Whether the look or the counting ended early, so that there may be rows which the page or the count lacks."""
    ended_at: str | None = None
    """The last row that was looked at, when the look ended before the page was full. The next look goes on ``after`` it."""


# The description by a feature


Condition = ColumnElement[bool]
Choices = type[StrEnum]
Expression = Callable[[FromClause], ColumnElement[Any]]
"""A function that makes an expression over the table of a relation."""


class Sought(Struct, frozen=True, eq=False):
    """One way to meet a filter. A row meets it when both conditions hold."""

    by: Condition | None
    """An index finds the rows of this condition, in the order of their positions. None: all rows must be looked at."""
    rest: Condition | None = None
    """A condition that is checked at each row."""
    test: Condition | None = None
    """A condition with the meaning of both, if there is one that is quicker to check at one row."""
    in_blocks: bool = False
    """Whether that index has the rows in the order of ``block_of`` their positions, and in no order in a block."""
    through: "Relation | None" = None
    """The relation to go through to the rows of ``by``, if their index is that of another table. There is a ``test`` then."""


class Relation(Struct, frozen=True, eq=False):
    """A table in which rows of a resource are found. It has the columns that the fields need."""

    table: FromClause
    """The table of the rows, from which fields take their columns."""
    source: FromClause
    """The FROM clause: the table, or a join with it."""
    position: ColumnElement[int]
    """The column that orders rows with equal sort keys."""
    name: ColumnElement[Any] = cast(null(), Uuid)
    """A second such column, for rows whose position is not unique."""
    position_is_unique: bool = True
    stands_for: ColumnElement[int] | None = None
    """The column of ``table`` that is equal to the position, if that is the column of another table."""


class Field(Struct, frozen=True, eq=False):
    """One field of a resource: its meaning, its type, and where it is stored."""

    name: str
    type: Type
    description: str = ""
    column: Expression | None = None
    """The expression that is compared. The default is the table's column of the field's name."""
    sort_key: Callable[[FromClause, Sequence[Filter]], ColumnElement[Any]] | None = None
    """The expression that rows are sorted by, if it is not the column. A sort key is never null."""
    indexed: bool = False
    """An index finds rows by a value of this field, so that not all rows are read."""
    ranges: bool = False
    """An index finds rows by a range of this field as well. They are then in the order of their positions."""
    ordered: bool = False
    """An index has all rows in the order of this field."""
    choices: Choices | None = None
    prefix: str = ""
    """The prefix of an ID, before its UUID. ``key`` is the column of that UUID."""
    key: Expression | None = None
    factor: Expression | None = None
    """The factor by which a given value is multiplied before it is compared."""
    resolve: Callable[[Connection, Filter], Sequence[Any]] | None = None
    """A function that looks up the values which ``find`` binds, if the given ones are not bound. A list becomes an array."""
    find: Callable[[Filter, Relation], Sequence[Condition | Sought]] | None = None
    """A function that lists the ways to meet a filter, for a field that is no simple column. A row needs to meet one.
    The filter has slots in place of its values. Whether an index serves a condition depends on the field."""

    def column_of(self, relation: Relation) -> ColumnElement[Any]:
        """Return the expression that is compared."""
        return relation.table.c[self.name] if self.column is None else self.column(relation.table)

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators that a filter on this field may have."""
        return OPERATORS[self.type]

    @property
    def sortable(self) -> bool:
        """Whether rows can be sorted by this field."""
        return self.type in (Type.TEXT, Type.NUMBER, Type.TIME)


class Resource(Struct, frozen=True, eq=False):
    """A list of the API and its fields. ``id`` is the field whose value ``after`` has."""

    name: str
    fields: dict[str, Field]
    id: str
    numbered: bool = False
    """Whether ``after`` may also be the position of a row. It must then be a position or an ID."""

    @property
    def sortable(self) -> list[str]:
        """The names of the fields that rows can be sorted by."""
        return [field.name for field in self.fields.values() if field.sortable]

    @property
    def indexed(self) -> list[str]:
        """The names of the fields that have an index."""
        return [field.name for field in self.fields.values() if field.indexed]

    @property
    def parameters(self) -> list[str]:
        """The names that a filter may have in a query, except members of ``meta_data``."""
        return [
            name
            for field in self.fields.values()
            for name in (field.name, *(f"{field.name}_{op}" for op in field.operators))
        ]


def block_of(position: ColumnElement[int]) -> ColumnElement[int]:
    """Make the expression of the block of 1,024 positions that a position is in.

    An index on a value and the block stores a value that many neighbours have once for each block.
    """
    return position.bitwise_rshift(literal_column("10"))


def id_field(name: str, description: str, *, prefix: str, column: str) -> Field:
    """Make the field of a row's own ID, which is a prefix and the UUID in a column."""
    return Field(
        name,
        Type.TEXT,
        description,
        lambda table: literal_column(f"'{prefix}'", Text()) + cast(table.c[column], Text()),
        sort_key=lambda table, _: table.c[column],
        indexed=True,
        ordered=True,
        prefix=prefix,
        key=lambda table: table.c[column],
    )


def resource(name: str, *fields: Field, id: str, numbered: bool = False) -> Resource:
    """Make a resource of these fields."""
    return Resource(name, {field.name: field for field in fields}, id, numbered)


def relation(table: FromClause, position: ColumnElement[int], *, source: FromClause | None = None) -> Relation:
    """Make a relation of a table whose rows have a unique ``position``."""
    return Relation(table, table if source is None else source, position)
