"""What a list is asked for: which rows, in which order, how many. Said without SQL; ``store/filters.py`` finds the rows.

Two forms mean the same: the body of ``POST /transactions/filter``, and the query ``?status_eq=APPLIED`` of a list. What
cannot be meant is refused, and the answer lists what is right.
"""

import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

import msgspec

from core.base.errors import InvalidRequest
from core.base.metadata import meta_data_problems
from core.base.money import MAX_DIGITS
from core.ledger.rules.model import Status
from core.lists.requests import FilterClause, FilterRequest

MAX_FILTERS = 20
MAX_VALUES = 1_000
MAX_TEXT = 1_000
MAX_LIMIT = 1_000
MAX_OFFSET = 10**15
"""Beyond every row there will ever be, and within what Postgres can count."""


class Type(Enum):
    """What a field holds, and so what it may be compared with."""

    TEXT = "text"
    NUMBER = "a number"
    TIME = "a time such as 2026-04-22T15:28:03Z, or a whole day, hour or minute of it"
    STATUS = "a status"
    BALANCE = "a balance id"
    """Of one side or either side of a transaction."""
    NAME = "an @Name"
    """Of the balance of either side."""
    OBJECT = "an object"
    """All of ``meta_data``."""
    MEMBER = "text, a number, true or false"
    """One member of ``meta_data``."""


_EQUAL, _NULL = ("eq", "ne"), ("isnull", "isnotnull")
_ORDERED = (*_EQUAL, "gt", "gte", "lt", "lte", "in", "between", *_NULL)
_LIKE = ("like", "ilike")
OPERATORS: dict[Type, tuple[str, ...]] = {
    Type.TEXT: (*_ORDERED, *_LIKE),
    Type.NUMBER: _ORDERED,
    Type.TIME: _ORDERED,
    Type.STATUS: (*_EQUAL, "in", *_NULL),
    Type.BALANCE: (*_EQUAL, "in", *_NULL),
    Type.NAME: (*_EQUAL, "in", *_LIKE, *_NULL),
    Type.OBJECT: (*_EQUAL, *_NULL),
    Type.MEMBER: (*_ORDERED, *_LIKE),
}
ALIASES = {"neq": "ne", "gteq": "gte", "lteq": "lte"}
_ALL_OPERATORS = OPERATORS[Type.TEXT]


class Entity(NamedTuple):
    """What is listed."""

    name: str
    fields: dict[str, Type]
    indexed: tuple[str, ...]
    """Fields by which rows are found without looking at all of them."""

    @property
    def sortable(self) -> list[str]:
        return [name for name, kind in self.fields.items() if kind in (Type.TEXT, Type.NUMBER, Type.TIME)]


LEDGERS = Entity(
    "ledgers",
    {"ledger_id": Type.TEXT, "name": Type.TEXT, "created_at": Type.TIME, "meta_data": Type.OBJECT},
    ("ledger_id", "created_at"),
)
BALANCES = Entity(
    "balances",
    {
        "balance_id": Type.TEXT,
        "ledger_id": Type.TEXT,
        "identity_id": Type.TEXT,
        "indicator": Type.TEXT,
        "currency": Type.TEXT,
        "balance": Type.NUMBER,
        "credit_balance": Type.NUMBER,
        "debit_balance": Type.NUMBER,
        "inflight_balance": Type.NUMBER,
        "inflight_credit_balance": Type.NUMBER,
        "inflight_debit_balance": Type.NUMBER,
        "created_at": Type.TIME,
        "meta_data": Type.OBJECT,
    },
    ("balance_id", "ledger_id", "indicator", "created_at"),
)
TRANSACTIONS = Entity(
    "transactions",
    {
        "transaction_id": Type.TEXT,
        "sequence": Type.NUMBER,
        "parent_transaction": Type.TEXT,
        "amount": Type.NUMBER,
        "precise_amount": Type.NUMBER,
        "precision": Type.NUMBER,
        "currency": Type.TEXT,
        "source": Type.BALANCE,
        "destination": Type.BALANCE,
        "balance_id": Type.BALANCE,
        "indicator": Type.NAME,
        "reference": Type.TEXT,
        "status": Type.STATUS,
        "description": Type.TEXT,
        "created_at": Type.TIME,
        "effective_date": Type.TIME,
        "meta_data": Type.OBJECT,
    },
    (
        *("transaction_id", "sequence", "reference", "status", "source", "destination", "balance_id", "indicator"),
        *("parent_transaction", "created_at", "effective_date"),
    ),
)


class Span(NamedTuple):
    """A time as exactly as it was given: 2026-04-22 is the whole of that day."""

    start: datetime
    end: datetime
    """The first moment after it."""


class Member(NamedTuple):
    """What a member of ``meta_data`` is compared with."""

    json: tuple[str, ...]
    """JSON texts that it may equal. Text from a query may stand for a number too."""
    number: Decimal | None
    text: str


class Filter(NamedTuple):
    """One condition. Its values are ``str``, ``int`` or ``Decimal``, ``Span``, ``Status``, JSON text or ``Member``."""

    field: str
    key: str
    """Of ``meta_data``; else empty."""
    type: Type
    operator: str
    values: tuple[Any, ...]


class Listing(NamedTuple):
    """A page of a list."""

    entity: Entity
    filters: tuple[Filter, ...]
    any_of: bool
    """Rows that one filter holds for, and not only those that all hold for."""
    limit: int
    offset: int
    after: str | None
    """What the page before ended with; ``offset`` is 0 then."""
    sort_by: str
    descending: bool
    include_count: bool


def of_request(entity: Entity, request: FilterRequest, *, default: int, after: str | None = None) -> Listing:
    """The page that a body asks for. A limit below 1 is the default, as in Blnk.

    Raises:
        InvalidRequest: naming what is wrong.
    """
    clauses = request.filters or []
    _check_count(len(clauses))
    limit, after = request.limit or 0, after or (None if request.after is None else str(request.after))
    return _listing(
        entity,
        [_of_clause(entity, clause) for clause in clauses],
        limit=limit if limit > 0 else default,
        offset=max(request.offset or 0, 0),
        after=after,
        logical_operator=request.logical_operator,
        sort_by=request.sort_by,
        sort_order=request.sort_order,
        include_count=bool(request.include_count),
    )


def of_query(entity: Entity, arguments: Iterable[tuple[str, str]], *, limit: int, offset: int) -> Listing:
    """The page that a query string asks for. A key that does not end in an operator is no filter, as in Blnk.

    Raises:
        InvalidRequest: naming what is wrong.
    """
    pairs = list(arguments)
    split = [(*name.rpartition("_")[::2], value) for name, value in pairs]
    asked = [(name, op, value) for name, op, value in split if ALIASES.get(op, op) in _ALL_OPERATORS]
    _check_count(len(asked))
    plain = dict(reversed(pairs))
    count = plain.get("include_count", "").lower()
    if count not in ("", "true", "1", "false", "0"):
        raise _bad_parameter("include_count", "must be true or false")
    return _listing(
        entity,
        [_of_text(entity, name, operator, value) for name, operator, value in asked],
        limit=limit,
        offset=offset,
        after=plain.get("after"),
        logical_operator=plain.get("logical_operator"),
        sort_by=plain.get("sort_by"),
        sort_order=plain.get("sort_order"),
        include_count=count in ("true", "1"),
    )


def _listing(
    entity: Entity,
    filters: Sequence[Filter],
    *,
    limit: int,
    offset: int,
    after: str | None,
    logical_operator: str | None,
    sort_by: str | None,
    sort_order: str | None,
    include_count: bool,
) -> Listing:
    logic, order, sort_by = (logical_operator or "and").lower(), (sort_order or "desc").lower(), sort_by or "created_at"
    if logic not in ("and", "or"):
        raise _bad_parameter("logical_operator", "must be and or or")
    if order not in ("asc", "desc"):
        raise _bad_parameter("sort_order", "must be asc or desc")
    if sort_by not in entity.sortable:
        raise _bad_parameter("sort_by", f"must be one of {', '.join(entity.sortable)}")
    after = after or None
    if after and entity is TRANSACTIONS and not _PLACE.fullmatch(after):
        raise _bad_parameter("after", "must be the sequence of a transaction, or its id")
    return Listing(
        entity,
        tuple(filters),
        logic == "or",
        min(limit, MAX_LIMIT),
        0 if after else min(offset, MAX_OFFSET),
        after,
        sort_by,
        order == "desc",
        include_count,
    )


# One filter


def _of_clause(entity: Entity, clause: FilterClause) -> Filter:
    field, key, kind, operator = _named(entity, clause.field, clause.operator)
    given = clause.values if operator in ("in", "between") else [] if clause.value is None else [clause.value]
    return _filter(field, key, kind, operator, given or [], _of_json)


def _of_text(entity: Entity, name: str, operator: str, value: str) -> Filter:
    field, key, kind, operator = _named(entity, name, operator)
    separator = {"in": ",", "between": "|"}.get(operator)
    given = [value] if separator is None else value.split(separator) if value else []
    return _filter(field, key, kind, operator, given, _of_query_text)


def _named(entity: Entity, name: str, operator: str) -> tuple[str, str, Type, str]:
    field, dot, key = name.partition(".")
    kind = entity.fields.get(field)
    if kind is None or (dot and (kind is not Type.OBJECT or not _KEY.fullmatch(key))):
        known = ", ".join(entity.fields)
        raise _bad_filter(name, f"is no field of {entity.name}; there are {known} and meta_data.<key>")
    if dot:
        kind = Type.MEMBER
    operator = ALIASES.get(operator, operator)
    if operator not in OPERATORS[kind]:
        raise _bad_filter(name, f"has no operator {operator[:50]}; there are {', '.join(OPERATORS[kind])}")
    return field, key, kind, operator


def _filter(field: str, key: str, kind: Type, operator: str, given: Sequence[Any], read: Any) -> Filter:
    name = f"{field}.{key}" if key else field
    if operator in _NULL:
        return Filter(field, key, kind, operator, ())
    if operator == "in" and not 1 <= len(given) <= MAX_VALUES:
        raise _bad_filter(name, f"in needs values, a list of 1 to {MAX_VALUES}")
    if operator == "between" and len(given) != 2:
        raise _bad_filter(name, "between needs values, a list of exactly 2")
    if operator not in ("in", "between") and len(given) != 1:
        raise _bad_filter(name, f"{operator} needs a value")
    try:
        values = tuple(read(kind, value) for value in given)
    except ValueError as error:
        raise _bad_filter(name, f"must be compared with {error}") from None
    if operator in _LIKE and any(_ENDS_IN_ESCAPE.search(_text_of(value)) for value in values):
        raise _bad_filter(name, "a pattern must not end in an escape character")
    return Filter(field, key, kind, operator, values)


_PLACE = re.compile(r"[0-9]{1,18}|txn_[0-9a-f-]{36}", re.ASCII)
_KEY = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*", re.ASCII)
_ENDS_IN_ESCAPE = re.compile(r"(?<!\\)(\\\\)*\\\Z")


def _text_of(value: "str | Member") -> str:
    return value.text if isinstance(value, Member) else value


def _check_count(filters: int) -> None:
    if filters > MAX_FILTERS:
        raise _bad_parameter("filters", f"at most {MAX_FILTERS} are allowed")


def _bad_filter(name: str, text: str) -> InvalidRequest:
    name = name[:100]
    return InvalidRequest([("", f"Invalid filter: {name}: {text}")], "GEN_BAD_REQUEST", {"field": name})


def _bad_parameter(name: str, text: str) -> InvalidRequest:
    """Blnk gives a list of what is wrong here, under these names."""
    return InvalidRequest([(name, text)], "GEN_VALIDATION_ERROR", [{"Param": name, "Message": text}])


# One value. A ValueError says what would be right.


def _of_json(kind: Type, value: Any) -> Any:
    if kind is Type.NUMBER:
        if isinstance(value, bool) or not isinstance(value, (int, Decimal, str)):
            raise ValueError(kind.value)
        return _number(str(value))
    if kind is Type.OBJECT:
        if not isinstance(value, dict):
            raise ValueError(kind.value)
        return _storable(_encode(value))
    if kind is Type.MEMBER:
        member = _storable(_encode(value))
        number = _number(str(value)) if isinstance(value, (int, Decimal)) and not isinstance(value, bool) else None
        text = _text(value) if isinstance(value, str) else member
        return Member((member,), None if number is None else Decimal(number), text)
    if not isinstance(value, str):
        raise ValueError(kind.value)
    return _of_text_value(kind, value)


def _of_query_text(kind: Type, value: str) -> Any:
    if kind is Type.OBJECT:
        try:
            return _of_json(kind, json.loads(value, parse_float=Decimal))
        except (ValueError, RecursionError):
            raise ValueError("a JSON object") from None
    if kind is Type.MEMBER:
        texts, number = [_storable(_encode(_text(value)))], None
        if value in ("true", "false"):
            texts.append(value)
        elif _DECIMAL.fullmatch(value):
            number = Decimal(_number(value))
            texts.append(f"{number:f}")
        return Member(tuple(texts), number, value)
    return _number(value) if kind is Type.NUMBER else _of_text_value(kind, value)


def _of_text_value(kind: Type, value: str) -> Any:
    if kind is Type.TIME:
        return _span(value)
    if kind is Type.STATUS:
        if value.upper() not in Status.__members__:
            raise ValueError(f"one of {', '.join(Status)}")
        return Status(value.upper())
    return _text(value)


def _text(value: str) -> str:
    if len(value) > MAX_TEXT or "\x00" in value:
        raise ValueError(f"text of at most {MAX_TEXT} characters, none of them NUL")
    return value


def _number(text: str) -> int | Decimal:
    """A whole number as ``int``, which an index can be asked for."""
    number = Decimal(text) if len(text) <= 2 * MAX_DIGITS and _NUMBER.fullmatch(text) else Decimal("NaN")
    if not number.is_finite() or abs(number.adjusted()) > MAX_DIGITS or len(number.as_tuple().digits) > MAX_DIGITS:
        raise ValueError(f"a number of at most {MAX_DIGITS} digits")
    return int(number) if number == number.to_integral_value() else number


def _storable(text: str) -> str:
    """JSON text that Postgres can hold, and so compare with."""
    if len(text) > MAX_TEXT or meta_data_problems(f'{{"v":{text}}}'.encode()):
        raise ValueError(f"a value of at most {MAX_TEXT} characters that could be in meta_data")
    return text


def _encode(value: Any) -> str:
    return _encoder.encode(value).decode()


_encoder = msgspec.json.Encoder(decimal_format="number")
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]{1,4})?", re.ASCII)
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", re.ASCII)
_TIME = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[Tt ](\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?([Zz]|[-+ ]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)
"""A plus sign that was not escaped in a query arrives as a space."""


def _span(text: str) -> Span:
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(Type.TIME.value)
    *parts, fraction, zone = found.groups()
    given = [int(part) for part in parts if part is not None]
    micros = int(((fraction or "") + "000000")[:6])
    try:
        year, month, day, hour, minute, second = (*given, *[1, 1, 0, 0, 0][len(given) - 1 :])
        start = datetime(year, month, day, hour, minute, second, micros, _zone(zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(Type.TIME.value) from None
    return Span(start, _end(start, len(given), len(fraction or "")))


def _zone(text: str | None) -> timezone:
    if text is None or text in "Zz":
        return UTC
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return timezone(-offset if text[0] == "-" else offset)


def _end(start: datetime, parts: int, digits: int) -> datetime:
    """The end of the unit that is given last: year, month, day, hour, minute, second, or a decimal of one."""
    try:
        if parts == 1:
            return start.replace(year=start.year + 1)
        if parts == 2:
            return (start + timedelta(days=31)).replace(day=1)
        if digits:
            return start + timedelta(microseconds=10 ** max(6 - digits, 0))
        return start + (timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1))[parts - 3]
    except (ValueError, OverflowError):
        return datetime.max.replace(tzinfo=UTC)
