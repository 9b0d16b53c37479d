"""Pages of long lists, by the filters of the API."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from flask import request
from msgspec import Struct

from web.dashboard.asking import ask

SIZE = 50


class Listed(Struct, frozen=True):
    """One page of a list. ``next`` is the query of the page after it, or None."""

    rows: list[dict[str, Any]]
    next: str | None


def list_page(path: str, filters: list[dict[str, Any]], sorts: Sequence[str]) -> Listed:
    """Ask for the page that the query of this request names.

    Raises:
        Refused: the API refuses the filters.
    """
    args = request.args
    body: dict[str, Any] = {"filters": filters, "limit": SIZE}
    if args.get("sort") in sorts:
        body["sort_by"] = args["sort"]
        body["sort_order"] = "asc" if args.get("order") == "asc" else "desc"
    if after := args.get("after"):
        body["after"] = after
    answer = ask("POST", path, body=body)
    rows: list[dict[str, Any]] = answer.json
    return Listed(rows, _next(answer.headers.get("link", "")))


def _next(link: str) -> str | None:
    """Make the query of the next page from the Link header."""
    if 'rel="next"' not in link:
        return None
    after = parse_qs(urlsplit(link.partition("<")[2].partition(">")[0]).query).get("after")
    kept = [(name, value) for name, value in request.args.items(multi=True) if name != "after" and value]
    return urlencode([*kept, ("after", after[0])]) if after else None
