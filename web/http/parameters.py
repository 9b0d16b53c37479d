"""What a route takes after the question mark: one declaration checks requests and describes the route in OpenAPI."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, TypeVar

from flask import current_app, request
from msgspec import Struct

from core.base.errors import InvalidRequest
from core.lists.fields import Resource

Json = dict[str, Any]
View = TypeVar("View", bound=Callable[..., Any])

IGNORED = frozenset({"instance_id", "org_id"})
"""Blnk's clients send these to its cloud with every request; Blnk itself ignores them too."""

SYNONYMS = {
    "per_page": "limit",
    "pagesize": "limit",
    "sort": "sort_by",
    "order_by": "sort_by",
    "order": "sort_order",
    "order_dir": "sort_order",
}
"""Names that Blnk reserves in lists."""


class Parameter(Struct, frozen=True):
    """One parameter of a query. ``schema`` is the JSON Schema of its text."""

    name: str
    schema: Json
    description: str
    repeats: bool = False


class Parameters(Struct, frozen=True):
    """All that one route takes in its query."""

    own: tuple[Parameter, ...] = ()
    filters: Resource | None = None
    """A list that takes ``field=value`` and ``field_operator=value`` of this resource as well, each as often as wanted."""


def takes(*parameters: Parameter, filters: Resource | None = None) -> Callable[[View], View]:
    """Declare the parameters of a view. A view without a declaration takes none."""

    def declare(view: View) -> View:
        view.parameters = Parameters(parameters, filters)  # type: ignore[attr-defined]
        return view

    return declare


def of_view(view: Callable[..., Any]) -> Parameters:
    """What a view declares."""
    found: Parameters = getattr(view, "parameters", _NONE)
    return found


_NONE = Parameters()


def arguments() -> list[tuple[str, str]]:
    """The query of the request under the names that routes declare, without what is ignored."""
    return [(SYNONYMS.get(name, name), value) for name, value in request.args.items(multi=True) if name not in IGNORED]


def check() -> None:
    """Refuse what the route of the request does not take. A filter is left to the list, which knows all about it.

    Raises:
        InvalidRequest: an unknown parameter, or one that is given twice; all of them, with the nearest known name.
    """
    if not request.environ.get("QUERY_STRING") or request.endpoint is None:
        return
    declared = of_view(current_app.view_functions[request.endpoint])
    known = {each.name: each for each in declared.own}
    given = list(request.args) if declared.filters is None else [name for name, _ in arguments()]
    problems = [
        (name, f"unknown parameter; {_nearest(name, known)}")
        for name in dict.fromkeys(given)
        if name not in known and name not in IGNORED and declared.filters is None
    ]
    values = request.args if declared.filters is None else None
    for name, parameter in known.items():
        count = given.count(name) if values is None else len(values.getlist(name))
        if count > 1 and not parameter.repeats:
            problems.append((name, f"is given {count} times; give it once"))
    if problems:
        details = {"parameters": [{"parameter": name[:100], "message": text} for name, text in problems]}
        raise InvalidRequest([(name[:100], text) for name, text in problems], "GEN_BAD_REQUEST", details)


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    if not names:
        return "this route takes none"
    close = get_close_matches(name.lower(), names, 1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(names)}"
