"""Checks a request for a list: which rows, in which order, and how many. It needs no SQL.

A request comes as the body of ``POST /transactions/filter`` or as the query ``?status_eq=APPLIED``, with the same meaning.
The answer to a wrong request lists everything that is wrong with it, and what would be right.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any

from msgspec import Struct

from core.base.errors import ErrorCode, InvalidRequest
from core.base.ids import uuid_of
from core.lists import values
from core.lists.fields import (
    ALIASES,
    ALL_OPERATORS,
    LIKE,
    NULL,
    OPERATORS,
    Field,
    Filter,
    Listing,
    Member,
    Resource,
    Type,
)
from core.lists.requests import FilterClause, FilterRequest

MAX_FILTERS = 20
MAX_VALUES = 1_000
MAX_LIMIT = 1_000
MAX_OFFSET = 10**15
"""The largest offset. It is beyond every row there will ever be, and Postgres can count it."""

CONTROLS = ("limit", "offset", "after", "sort_by", "sort_order", "logical_operator", "include_count")
"""The parameters of a list that are no filters."""


class _Wrong(Exception):
    """One filter is wrong."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name, self.text = name[:100], text


class _Order(Struct, frozen=True):
    """The unchecked controls that decide the order of rows and how filters combine."""

    logical_operator: str | None
    sort_by: str | None
    sort_order: str | None
    include_count: bool | str | None


class _Page(Struct, frozen=True):
    """The unchecked controls that decide which rows of the list make the page."""

    limit: int
    offset: int
    after: str | None


def of_request(resource: Resource, request: FilterRequest, *, default: int, after: str | None = None) -> Listing:
    """Check the body of a request for a page. A limit below 1 becomes the default, as in Blnk.

    Raises:
        InvalidRequest: it lists everything that is wrong.
    """
    limit, after = request.limit or 0, after or (None if request.after is None else str(request.after))
    clauses = request.filters or []
    return _listing(
        resource,
        [partial(_clause_filter, resource, clause) for clause in clauses],
        _Page(limit if limit > 0 else default, max(request.offset or 0, 0), after),
        _Order(request.logical_operator, request.sort_by, request.sort_order, request.include_count),
    )


def of_query(resource: Resource, arguments: Iterable[tuple[str, str]], *, limit: int, offset: int) -> Listing:
    """Check the query string of a request for a page. Each name that is not in ``CONTROLS`` is a filter.

    Raises:
        InvalidRequest: it lists everything that is wrong.
    """
    pairs = list(arguments)
    controls = {name: value for name, value in pairs if name in CONTROLS}
    return _listing(
        resource,
        [partial(_parameter_filter, resource, name, value) for name, value in pairs if name not in CONTROLS],
        _Page(limit, offset, controls.get("after")),
        _Order(*(controls.get(name) for name in _Order.__struct_fields__)),
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """Write the end of a sentence about an unknown name: the name that was probably meant, or all known names."""
    known = list(known)
    close = get_close_matches(name.lower(), known, 1, 0.5)
    if close:
        return f"did you mean {close[0]}?"
    return f"known are {', '.join(known)}" if known else "there are none"


def _listing(resource: Resource, asked: Sequence[Callable[[], Filter]], page: _Page, order: _Order) -> Listing:
    """Read all filters and controls, and raise one error with all that is wrong."""
    filters: list[Filter] = []
    wrong: list[_Wrong] = []
    for read in asked[:MAX_FILTERS]:
        try:
            filters.append(read())
        except _Wrong as error:
            wrong.append(error)
    problems = list(_problems_of(resource, page, order))
    if len(asked) > MAX_FILTERS:
        problems.insert(0, ("filters", f"at most {MAX_FILTERS} are allowed"))
    if wrong:
        raise _invalid_filters(wrong, problems)
    if problems:
        # Blnk lists what is wrong under these names.
        details = [{"Param": name, "Message": text} for name, text in problems]
        raise InvalidRequest(problems, ErrorCode.GEN_VALIDATION_ERROR, details)
    after = page.after or None
    return Listing(
        resource,
        tuple(filters),
        (order.logical_operator or "and").lower() == "or",
        min(page.limit, MAX_LIMIT),
        0 if after else min(page.offset, MAX_OFFSET),
        after,
        order.sort_by or "created_at",
        (order.sort_order or "desc").lower() == "desc",
        order.include_count in (True, "true", "1"),
    )


def _problems_of(resource: Resource, page: _Page, order: _Order) -> Iterable[tuple[str, str]]:
    """List what is wrong with the controls, as pairs of parameter and text."""
    if (order.logical_operator or "and").lower() not in ("and", "or"):
        yield "logical_operator", "must be and or or"
    if (order.sort_order or "desc").lower() not in ("asc", "desc"):
        yield "sort_order", "must be asc or desc"
    if order.sort_by and order.sort_by not in resource.sortable:
        yield "sort_by", f"must be one of {', '.join(resource.sortable)}"
    if page.after and (wanted := _wanted_after(resource, page.after)):
        yield "after", f"must be the {wanted} of the row that ended the page before, as its Link header has it"
    if order.include_count not in (None, True, False, "", "true", "1", "false", "0"):
        yield "include_count", "must be true or false"


def _wanted_after(resource: Resource, after: str) -> str | None:
    """Say what ``after`` must be. Returns None if it has that form, or if only the rows can tell."""
    id = resource.fields[resource.id]
    if resource.numbered:
        return None if _POSITION_OR_ID.fullmatch(after) else f"sequence or {id.name}" if id.prefix else "sequence"
    return id.name if id.prefix and uuid_of(after, id.prefix) is None else None


def _invalid_filters(wrong: Sequence[_Wrong], problems: Sequence[tuple[str, str]]) -> InvalidRequest:
    """Make the error of all wrong filters, in their order, and of what else is wrong."""
    every = [*((error.name, error.text) for error in wrong), *problems]
    message = "; ".join(f"{name}: {text}" for name, text in every)
    error = InvalidRequest([("", f"Invalid filter: {message}")], ErrorCode.GEN_BAD_REQUEST)
    error.problems = every
    return error


# One filter


def _clause_filter(resource: Resource, clause: FilterClause) -> Filter:
    """Read a filter of a body."""
    field, key = _field_named(resource, clause.field)
    operator = _operator(field, key, clause.field, clause.operator)
    given = clause.values if operator in ("in", "between") else [] if clause.value is None else [clause.value]
    return _filter(field, key, operator, given or [], values.of_json)


def _parameter_filter(resource: Resource, name: str, value: str) -> Filter:
    """Read a filter of a query, such as ``status_eq=APPLIED``, or ``status=APPLIED``, which means the same."""
    stem, _, operator = name.rpartition("_")
    if name in resource.fields:
        stem, operator = name, "eq"
    elif ALIASES.get(operator, operator) in ALL_OPERATORS:
        pass
    elif _is_field(resource, name):  # It is a member of the metadata, whose key may look like anything.
        stem, operator = name, "eq"
    else:
        raise _Wrong(name, f"unknown parameter; {nearest(name, [*resource.parameters, *CONTROLS])}")
    field, key = _field_named(resource, stem)
    operator = _operator(field, key, stem, operator)
    separator = {"in": ",", "between": "|"}.get(operator)
    given = [value] if separator is None else value.split(separator) if value else []
    return _filter(field, key, operator, given, values.of_text)


def _is_field(resource: Resource, name: str) -> bool:
    """Tell whether this is the name of a field, or of a member of the metadata."""
    field, dot, key = name.partition(".")
    known = resource.fields.get(field)
    return known is not None and (not dot or (known.type is Type.OBJECT and _KEY.fullmatch(key) is not None))


def _field_named(resource: Resource, name: str) -> tuple[Field, str]:
    """Find a field by its name. The second value is the key of a member of the metadata, or empty."""
    if not _is_field(resource, name):
        known = ", ".join(resource.fields)
        close = get_close_matches(name.lower(), resource.fields, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        said = f"is no field of {resource.name}" if name else "cannot be blank"
        raise _Wrong(name or "field", f"{said}; there are {known} and meta_data.<key>{hint}")
    field, _, key = name.partition(".")
    return resource.fields[field], key


def _operator(field: Field, key: str, name: str, operator: str) -> str:
    """Check the operator of a filter, and return it without its aliases."""
    known = OPERATORS[Type.MEMBER] if key else field.operators
    found = ALIASES.get(operator, operator)
    if found not in known:
        raise _Wrong(name, f"has no operator {operator[:50]}; there are {', '.join(known)}")
    return found


def _filter(field: Field, key: str, operator: str, given: Sequence[Any], read: Any) -> Filter:
    """Make a filter from its given values, each of which ``read`` checks."""
    name = f"{field.name}.{key}" if key else field.name
    kind = Type.MEMBER if key else field.type
    if operator in NULL:
        return Filter(field, key, operator, ())
    if operator == "in" and not 1 <= len(given) <= MAX_VALUES:
        raise _Wrong(name, f"in needs values, a list of 1 to {MAX_VALUES}")
    if operator == "between" and len(given) != 2:
        raise _Wrong(name, "between needs values, a list of exactly 2")
    if operator not in ("in", "between") and len(given) != 1:
        raise _Wrong(name, f"{operator} needs a value")
    try:
        found = tuple(read(field, kind, value) for value in given)
    except ValueError as error:
        raise _Wrong(name, f"must be compared with {error}") from None
    if operator in LIKE and any(_ENDS_IN_ESCAPE.search(_pattern(value)) for value in found):
        raise _Wrong(name, "a pattern must not end in an escape character")
    return Filter(field, key, operator, found)


_POSITION_OR_ID = re.compile(r"[0-9]{1,18}|[a-z]+_[0-9a-f-]{36}", re.ASCII)
_KEY = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*", re.ASCII)
_ENDS_IN_ESCAPE = re.compile(r"(?<!\\)(\\\\)*\\\Z")


def _pattern(value: str | Member) -> str:
    """Return the text that a LIKE compares with."""
    return value.text if isinstance(value, Member) else value
