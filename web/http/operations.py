"""Declares what a route reads and answers. The OpenAPI document is made from these declarations, the routes and the structs."""

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask
from msgspec import Struct

from core.lists.fields import Resource

View = TypeVar("View", bound=Callable[..., Any])

JSON = "application/json"
CSV = "text/csv"
HTML = "text/html"
SCRIPT = "text/javascript"
TEXT = "text/plain"
MULTIPART = "multipart/form-data"
FILES = (
    "text/csv",
    "text/tab-separated-values",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.ms-excel",
    "application/octet-stream",
)
"""The types of a body that is a list of recipients. Windows calls a CSV that of Excel. The bytes say what the file is."""


class Operation(Struct, frozen=True, kw_only=True):
    """The bodies, answers and errors of one route."""

    answers: dict[int, Any] = {}
    """The type of the answer with each good status. It is None where the answer is not JSON."""
    errors: tuple[int, ...] = ()
    """The statuses of errors beside 400, 500 and 503, and those that any route with a body has."""
    body: type[Struct] | None = None
    form: dict[str, Any] | None = None
    """The schema of a multipart body, if the route takes one as well, and a file alone as its body."""
    media: str = JSON
    """The media type of the answer, in place of JSON or on demand."""
    filters: Resource | None = None
    """The list whose fields the body filters."""
    open: bool = False
    """Whether the route needs no key."""
    probe: bool = False
    """Whether the route is asked by orchestrators, which know no host name of the service."""


def operation(answers: dict[int, Any], *errors: int, **more: Any) -> Callable[[View], View]:
    """Declare what a view answers. ``more`` is as in ``Operation``."""

    def declare(view: View) -> View:
        view.operation = Operation(answers=answers, errors=errors, **more)  # type: ignore[attr-defined]
        return view

    return declare


def of_view(view: Callable[..., Any]) -> Operation:
    """Return the operation that a view declares."""
    found: Operation = getattr(view, "operation", _NONE)
    return found


def open_paths(app: Flask) -> frozenset[str]:
    """Return the paths that need no key."""
    rules = app.url_map.iter_rules()
    return frozenset(rule.rule for rule in rules if of_view(app.view_functions[rule.endpoint]).open)


def html_pages(app: Flask) -> frozenset[str]:
    """Return the paths of the pages that people open in a browser."""
    rules = app.url_map.iter_rules()
    return frozenset(rule.rule for rule in rules if of_view(app.view_functions[rule.endpoint]).media == HTML)


def probes(app: Flask) -> frozenset[str]:
    """Return the paths that orchestrators ask under any host, such as the address of a pod."""
    rules = app.url_map.iter_rules()
    return frozenset(rule.rule for rule in rules if of_view(app.view_functions[rule.endpoint]).probe)


_NONE = Operation()
