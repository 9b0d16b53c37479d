"""Pages of long lists, by the filters of the API."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from flask import request
from msgspec import Struct

from web.dashboard import query
from web.dashboard.asking import Refused, ask

SIZE = 50


class Listed(Struct, frozen=True):
    """One page of a list. ``next`` is the query of the page after it, or None."""

    rows: list[dict[str, Any]]
    next: str | None
    is_filtered: bool = False
    """Whether a filter left something out."""


class Column(Struct, frozen=True):
    """The heading of a column that sorts the list. ``query`` is the query of the list sorted by it, or the other way round."""

    query: str
    order: str | None
    """``ascending`` or ``descending`` where the list is sorted by it."""


def list_page(path: str, filters: list[dict[str, Any]], sorts: Sequence[str]) -> Listed:
    """Ask for the page that the query of this request names. It is empty, and says why, where the API refuses the query.

    Raises:
        Refused: the API refuses the request for another reason.
    """
    body: dict[str, Any] = {"filters": filters, "limit": SIZE}
    order = query.choice("order", ("asc", "desc"), "desc")
    if sort := query.choice("sort", sorts):
        body |= {"sort_by": sort, "sort_order": order}
    if after := query.text("after"):
        body["after"] = after
    try:
        answer = ask("POST", path, body=body)
    except Refused as error:
        if error.status != 400:
            raise
        query.wrong("", error.message)
        return Listed([], None, bool(filters) or bool(after))
    rows: list[dict[str, Any]] = answer.json
    return Listed(rows, _next(answer.headers.get("link", "")), bool(filters))


def columns(sorts: Sequence[str]) -> dict[str, Column]:
    """Make the headings that sort a list by each of these fields. The first is that of a list which nobody has sorted."""
    args = request.args
    chosen = by if (by := args.get("sort", "")) in sorts else sorts[0]
    is_rising = args.get("order") == "asc"
    found = {}
    for name in sorts:
        other_way = name == chosen and not is_rising
        kept = [
            (key, value) for key, value in args.items(multi=True) if key not in ("sort", "order", "after") and value
        ]
        order = ("ascending" if is_rising else "descending") if name == chosen else None
        found[name] = Column(urlencode([*kept, ("sort", name), ("order", "asc" if other_way else "desc")]), order)
    return found


def meta_filter() -> list[dict[str, Any]]:
    """Make the filter of the condition on metadata, written as key=value. Without one there is no filter."""
    given = query.text("meta")
    key, equals, value = given.partition("=")
    if given and not (key.strip() and equals):
        query.wrong("meta", "must be key=value, such as team=sales, and was left out")
    if not (key.strip() and equals):
        return []
    # Metadata knows numbers from texts, and a form does not.
    number = [int(value)] if value.strip().lstrip("-").isdecimal() and len(value) < 19 else []
    return [{"field": f"meta_data.{key.strip()}", "operator": "in", "values": [value.strip(), *number]}]


def after_of(link: str) -> str | None:
    """Return the cursor of the next page from a Link header, or None on the last page."""
    if 'rel="next"' not in link:
        return None
    return parse_qs(urlsplit(link.partition("<")[2].partition(">")[0]).query).get("after", [None])[0]


def _next(link: str) -> str | None:
    """Make the query of the next page."""
    after = after_of(link)
    kept = [(name, value) for name, value in request.args.items(multi=True) if name != "after" and value]
    return urlencode([*kept, ("after", after)]) if after else None
