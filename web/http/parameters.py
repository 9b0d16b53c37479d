"""Declares, checks and reads the parameters of a query. One declaration checks requests and describes the route in OpenAPI.

A view declares its parameters with ``takes``; a view without a declaration takes none.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, TypeVar
from urllib.parse import urlencode

from flask import Response, current_app, request
from msgspec import Struct

from core.base.errors import ErrorCode, InvalidRequest
from core.base.ids import uuid_of
from core.lists.fields import Field, Resource, Type
from web.http import wire

Json = dict[str, Any]
View = TypeVar("View", bound=Callable[..., Any])

IGNORED = frozenset({"instance_id", "org_id"})
"""The parameters that are ignored. Blnk's clients send them to its cloud with every request, and Blnk ignores them too."""

SYNONYMS = {
    "per_page": "limit",
    "pagesize": "limit",
    "sort": "sort_by",
    "order_by": "sort_by",
    "order": "sort_order",
    "order_dir": "sort_order",
}
"""Other names of parameters, which Blnk reserves in lists."""

DURATION = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m)?"
MAX_WAIT_S = 60.0


class Parameter(Struct, frozen=True):
    """One parameter of a query. ``schema`` is the JSON Schema of its text, ``example`` a text that is accepted."""

    name: str
    schema: Json
    description: str
    example: str
    repeats: bool = False


class Parameters(Struct, frozen=True):
    """The parameters of one route."""

    own: tuple[Parameter, ...] = ()
    resource: Resource | None = None
    """The resource of a list. It adds the parameters ``field=value`` and ``field_operator=value``, which may repeat."""

    by_name: dict[str, Parameter] = {}
    """The own parameters by name."""

    @property
    def described(self) -> tuple[Parameter, ...]:
        """The own parameters and, for a list, one for each field."""
        if self.resource is None:
            return self.own
        fields = (_of_field(field) for field in self.resource.fields.values() if field.type is not Type.OBJECT)
        return (*self.own, *fields)


def one_of(name: str, words: Iterable[str], description: str, *, repeats: bool = False) -> Parameter:
    """Make a parameter that takes one of a few words."""
    known = list(words)
    return Parameter(name, {"type": "string", "enum": known}, description, known[0], repeats)


def time(name: str, description: str) -> Parameter:
    """Make a parameter that takes an RFC 3339 time."""
    return Parameter(name, {"type": "string", "format": "date-time"}, description, "2026-04-22T15:28:03Z")


def after(example: str) -> Parameter:
    """Make the parameter that says where the page before ended, such as ``example``."""
    text = "The row that ended the page before. The Link header of each page has the address of the next page."
    return Parameter("after", {"type": "string"}, text, example)


WAIT = Parameter(
    "wait",
    {"type": "string", "pattern": f"^{DURATION}$"},
    "The longest time to wait for the outcome, such as 500ms, 10s or 1m. The answer comes as soon as the outcome is there.",
    "10ms",
)
LIMIT = Parameter("limit", {"type": "integer", "minimum": 1}, "The number of rows in a page.", "5")
FROM_SOURCE = one_of("from_source", ("true", "false"), "true recomputes the balance from all decisions.")
WITH_QUEUED = one_of(
    "with_queued", ("true", "false"), "true adds the transactions that are accepted and not decided yet."
)


OFFSET = Parameter(
    "offset",
    {"type": "integer", "minimum": 0},
    "The number of rows to leave out. Prefer after, which stays right while rows are added.",
    "0",
)


def page_of(resource: Resource, *, example: str) -> tuple[Parameter, ...]:
    """Make the parameters of a list, beside its filters. ``example`` is a value of ``after``."""
    return (
        LIMIT,
        OFFSET,
        Parameter(
            "page", {"type": "integer", "minimum": 1}, "The number of a page, from 1 on, in place of offset.", "1"
        ),
        after(example),
        one_of("sort_by", ("created_at", *resource.sortable), "The field to sort by. The default is created_at."),
        one_of("sort_order", ("asc", "desc"), "The order. The default is desc, which lists the newest first."),
        one_of("logical_operator", ("and", "or"), "and means that all filters must hold. or means that one must hold."),
        one_of("include_count", ("true", "false"), "true answers with data and total_count."),
    )


def takes(*parameters: Parameter, resource: Resource | None = None) -> Callable[[View], View]:
    """Declare the parameters of a view. A list also declares the resource whose fields filter it."""

    def declare(view: View) -> View:
        view.parameters = Parameters(parameters, resource, {each.name: each for each in parameters})  # type: ignore[attr-defined]
        return view

    return declare


def of_view(view: Callable[..., Any]) -> Parameters:
    """Return the parameters that a view declares."""
    found: Parameters = getattr(view, "parameters", _NONE)
    return found


_NONE = Parameters()


def check() -> None:
    """Refuse parameters that the route of the request does not take.

    The list checks its filters itself, because it knows all about filters.

    Raises:
        InvalidRequest: a parameter is unknown or given twice. The error names all such parameters, with the nearest known names.
    """
    if not wire.environ().get("QUERY_STRING") or request.endpoint is None:
        return
    declared = of_view(current_app.view_functions[request.endpoint])
    own = declared.by_name
    names = [name for name, _ in arguments(declared)]
    if len(set(names)) == len(names) and (declared.resource is not None or own.keys() >= set(names)):
        return
    problems: list[tuple[str, str]] = []
    for name in dict.fromkeys(names):
        if name not in own:
            if declared.resource is None:
                problems.append((name[:100], f"unknown parameter; {_nearest(name, own)}"))
        elif names.count(name) > 1 and not own[name].repeats:
            problems.append((name, f"is given {names.count(name)} times; give it once"))
    if problems:
        raise InvalidRequest(problems, ErrorCode.GEN_BAD_REQUEST)


def arguments(declared: Parameters) -> list[tuple[str, str]]:
    """Return the parameters of the request under the names that its route declares, without the ignored ones."""
    synonyms = SYNONYMS if declared.resource is not None else {}
    return [(synonyms.get(name, name), value) for name, value in request.args.items(multi=True) if name not in IGNORED]


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    if not names:
        return "this route takes none"
    close = get_close_matches(name.lower(), names, 1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(names)}"


def _of_field(field: Field) -> Parameter:
    others = ", ".join(f"{field.name}_{operator}" for operator in field.operators if operator != "eq")
    schema, example = _SCHEMAS.get(field.type, ({"type": "string"}, "x"))
    if field.choices is not None:
        schema, example = {"type": "string", "enum": list(field.choices)}, next(iter(field.choices))
    return Parameter(field.name, schema, f"{field.description} Also {others}.", example, repeats=True)


_SCHEMAS: dict[Type, tuple[Json, str]] = {
    Type.NUMBER: ({"type": "number"}, "5"),
    Type.TIME: ({"type": "string", "format": "date-time"}, "2026-04-22"),
}


# Reading parameters


def limit_offset(
    *, default: int, largest: int, what: str = "", given: Mapping[str, str] | None = None
) -> tuple[int, int]:
    """Read the limit and offset of a page from ``given``, or else from the query.

    Without ``what``, the default stands in for a value that cannot be parsed, as in Blnk.

    Raises:
        InvalidRequest: a value cannot be parsed, and ``what`` begins the message, as in "Invalid limit value".
    """
    given = request.args if given is None else given
    limit = min(_number(given, "limit", 1, default, what), largest)
    return limit, _number(given, "offset", 0, 0, what)


def _number(given: Mapping[str, str], name: str, least: int, default: int, what: str) -> int:
    text = given.get(name)
    if text is None:
        return default
    if re.fullmatch(r"[0-9]{1,15}", text) and int(text) >= least:
        return int(text)
    if what:
        error = InvalidRequest([("", f"{what} {name} value")], ErrorCode.GEN_VALIDATION_ERROR)
        error.problems = [(name, f"must be a whole number, {least} or more")]
        raise error
    return default


def after_number(what: str) -> int | None:
    """Read ``?after=`` in a list that is paged by a number. ``what`` names that number.

    Raises:
        InvalidRequest: the text is not a number.
    """
    text = request.args.get("after")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidRequest([("after", f"must be the {what}")], ErrorCode.GEN_VALIDATION_ERROR)
    return int(text)


def after_id(prefix: str, what: str) -> str | None:
    """Read ``?after=`` in a list that is paged by an ID. ``what`` says of what it is.

    Raises:
        InvalidRequest: the text is no such ID.
    """
    text = request.args.get("after")
    if text is not None and uuid_of(text, prefix) is None:
        raise InvalidRequest([("after", f"must be the id of {what}")], ErrorCode.GEN_VALIDATION_ERROR)
    return text


def next_link(response: Response, after: object | None) -> Response:
    """Name the next page in a ``Link`` header, if there is one."""
    if after is not None:
        args = [pair for pair in request.args.items(multi=True) if pair[0] not in ("after", "offset", "page")]
        args.append(("after", str(after)))
        response.headers["Link"] = f'<{request.path}?{urlencode(args)}>; rel="next"'
    return response


def wait_s() -> float:
    """Read ``?wait=`` in seconds, at most a minute. It is ``10s``, ``500ms``, ``1m`` or a number of seconds.

    Raises:
        InvalidRequest: the text is none of these.
    """
    if not wire.environ().get("QUERY_STRING"):
        return 0.0
    text = request.args.get("wait")
    if text is None:
        return 0.0
    found = re.fullmatch(DURATION, text)
    if not found:
        raise InvalidRequest([("wait", "must be a duration such as 500ms, 10s or 1m")], ErrorCode.GEN_VALIDATION_ERROR)
    unit_s = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}[found.group(2)]
    return min(float(found.group(1)) * unit_s, MAX_WAIT_S)


def flag(name: str) -> bool:
    """Read a parameter that is ``true`` or ``1``, ``false`` or ``0``. The default is false.

    Raises:
        InvalidRequest: the text is anything else.
    """
    text = request.args.get(name, "")
    if text.lower() not in ("true", "1", "false", "0", ""):
        raise InvalidRequest([(name, "must be true or false")], ErrorCode.GEN_BAD_REQUEST)
    return text.lower() in ("true", "1")


def words(parameter: Parameter) -> set[str]:
    """Read a parameter that takes some of a few words, each in a parameter of its own.

    Raises:
        InvalidRequest: a word is none of them.
    """
    known, given = parameter.schema["enum"], request.args.getlist(parameter.name)
    if not set(given) <= {*known, ""}:
        text = f"must be {' or '.join(known)}; give it once for each"
        raise InvalidRequest([(parameter.name, text)], ErrorCode.GEN_BAD_REQUEST)
    return set(given)


def period() -> tuple[datetime | None, datetime | None]:
    """Read ``from`` and ``to``. One that is not given does not limit the period.

    Raises:
        InvalidRequest: a text is no RFC 3339 time, or the period ends before it begins.
    """
    since, until = time_arg("from"), time_arg("to")
    if since is not None and until is not None and until < since:
        raise InvalidRequest([("to", "is before from")], ErrorCode.GEN_VALIDATION_ERROR)
    return since, until


def time_arg(name: str, code: ErrorCode = ErrorCode.GEN_VALIDATION_ERROR) -> datetime | None:
    """Read a parameter that is an RFC 3339 time.

    Raises:
        InvalidRequest: the text is not such a time.
    """
    text = request.args.get(name)
    if not text:
        return None
    try:
        # A plus sign that was not escaped arrives as a space.
        value = datetime.fromisoformat(text.replace(" ", "+"))
        if value.tzinfo is not None:
            return value.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidRequest([(name, "must be a time such as 2026-04-22T15:28:03Z")], code)
