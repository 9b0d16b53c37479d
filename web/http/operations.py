"""What a route reads and answers, said beside it: the OpenAPI document is made from this, from the routes and the structs."""

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
MULTIPART = "multipart/form-data"


class Operation(Struct, frozen=True, kw_only=True):
    """What the route itself does not say."""

    answers: dict[int, Any] = {}
    """The type of each good answer; None where it is not JSON."""
    errors: tuple[int, ...] = ()
    """Beside 400, 500 and 503, and what any body may get."""
    body: type[Struct] | None = None
    form: dict[str, Any] | None = None
    """The schema of a multipart body that it takes as well."""
    media: str = JSON
    """What else it answers, on demand, or instead of JSON."""
    filters: Resource | None = None
    """The list whose fields the body filters."""
    open: bool = False
    """Whether it is answered without a key."""


def operation(answers: dict[int, Any], *errors: int, **more: Any) -> Callable[[View], View]:
    """Declare what a view answers; ``more`` is as in ``Operation``."""

    def declare(view: View) -> View:
        view.operation = Operation(answers=answers, errors=errors, **more)  # type: ignore[attr-defined]
        return view

    return declare


def of_view(view: Callable[..., Any]) -> Operation:
    """What a view declares."""
    found: Operation = getattr(view, "operation", _NONE)
    return found


def open_paths(app: Flask) -> frozenset[str]:
    """The paths that are answered without a key."""
    rules = app.url_map.iter_rules()
    return frozenset(rule.rule for rule in rules if of_view(app.view_functions[rule.endpoint]).open)


_NONE = Operation()
