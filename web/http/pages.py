"""Reads which page of a list is asked for, in the query or in a body, and answers it as JSON or CSV."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from flask import Response, request
from msgspec import UNSET, Struct, UnsetType
from sqlalchemy import Connection

from core.base.answers import encode
from core.base.db import reading_within
from core.base.errors import ErrorCode, InvalidRequest, TooSlow
from core.base.formulas import inert
from core.ledger.answers import RejectionAnswer
from core.lists import filters
from core.lists.fields import Extent, Listing, Resource
from core.lists.requests import FilterRequest
from web.http import parameters, wire
from web.http.parameters import Parameters
from web.service import service

TIMEOUT_S = 5.0

MAX_PAGE = 8 * 1024 * 1024
"""The largest number of bytes of a page's rows. A page that would have more ends earlier, and its ``Link`` goes on."""

T = TypeVar("T")


def in_query(declared: Parameters, *, default: int, what: str = "") -> Listing:
    """Read the page that the query asks for, as the list declares it. ``what`` is as in ``limit_offset``."""
    assert declared.resource is not None
    pairs = parameters.arguments(declared)
    given = dict(reversed(pairs))
    limit, offset = parameters.limit_offset(default=default, largest=filters.MAX_LIMIT, what=what, given=given)
    page = given.get("page")
    if page is not None:
        offset = (_page_number(page, given) - 1) * limit
    return filters.of_query(
        declared.resource,
        [pair for pair in pairs if pair[0] != "page"],
        limit=limit,
        offset=min(offset, filters.MAX_OFFSET),
    )


def _page_number(page: str, given: Mapping[str, str]) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,14}", page):
        raise InvalidRequest([("page", "must be the number of a page, from 1 on")], ErrorCode.GEN_BAD_REQUEST)
    if beside := [name for name in ("offset", "after") if name in given]:
        raise InvalidRequest([("page", f"cannot be given together with {beside[0]}")], ErrorCode.GEN_BAD_REQUEST)
    return int(page)


def in_body(resource: Resource) -> Listing:
    """Read the page that the body asks for. ``after`` may be in the query, where the Link header has it."""
    return filters.of_request(resource, wire.body(FilterRequest), default=20, after=request.args.get("after"))


def answer(
    listing: Listing,
    find: Callable[[Connection, Listing], tuple[list[T], Extent]],
    body_of: Callable[[T], Any],
    place_of: Callable[[T], object],
    page: Callable[[list[Any], int, bool | UnsetType], Struct],
    kind: type[Struct] | None = None,
) -> Response:
    """Answer a page, as a list or with its count. A ``Link`` header names the next page, which takes the same body, if any.

    A look that ended before the page was full, or before all was counted, is answered with ``Truncated: true``.

    With ``kind``, which is that of ``body_of``, the answer is CSV for ``Accept: text/csv``.

    Raises:
        InvalidRequest: the search takes too long. The error names the filters that are faster.
    """
    try:
        with reading_within(service().engine, TIMEOUT_S) as conn:
            rows, extent = find(conn, listing)
    except TooSlow as error:
        known = ", ".join(listing.resource.indexed)
        text = f"{error.message}: narrow the filter by one of {known}, or leave out include_count or sort_by"
        raise InvalidRequest([("", text)], error.code, {"indexed": listing.resource.indexed}) from error
    if kind is not None and wants_csv():
        count, response = csv_of(map(body_of, rows), kind)
    else:
        data = fitting(map(body_of, rows))
        count = len(data)
        response = wire.answer(data if extent.count is None else page(data, extent.count, extent.truncated or UNSET))
    if extent.truncated:
        response.headers["Truncated"] = "true"
    if count == len(rows) and extent.ended_at is not None:
        return parameters.next_link(response, extent.ended_at)
    return _with_next(response, rows, count, listing.limit, place_of)


def listed(
    rows: Sequence[T],
    limit: int,
    body_of: Callable[[T], Any],
    place_of: Callable[[T], object],
    kind: type[Struct] | None = None,
) -> Response:
    """Answer the rows of a list without filters, and name the next page in a ``Link`` header.

    With ``kind`` the answer is CSV for ``Accept: text/csv``. The columns of the CSV are the fields of the JSON.
    """
    if kind is not None and wants_csv():
        count, response = csv_of(map(body_of, rows), kind)
    else:
        data = fitting(map(body_of, rows))
        count, response = len(data), wire.answer(data)
    return _with_next(response, rows, count, limit, place_of)


def csv_of(bodies: Iterable[Any], kind: type[Struct]) -> tuple[int, Response]:
    """Answer as many rows as fit into a page as CSV, and return their number beside it."""
    text = io.StringIO()
    count = _write_csv(text, kind, bodies)
    return count, Response(text.getvalue(), mimetype="text/csv")


def wants_csv() -> bool:
    """Tell whether the request asks for CSV."""
    return request.accept_mimetypes.best_match(["application/json", "text/csv"]) == "text/csv"


def fitting(bodies: Iterable[Any]) -> list[Any]:
    """Take as many rows as fit into a page, encoded, but one at least."""
    taken: list[Any] = []
    room = MAX_PAGE
    for body in bodies:
        encoded = encode(body)
        room -= len(encoded) + 1
        if room < 0 and taken:
            break
        taken.append(msgspec.Raw(encoded))
    return taken


def _write_csv(text: io.StringIO, kind: type[Struct], bodies: Iterable[Any]) -> int:
    """Write as many rows as fit into a page, but one at least, and return their number."""
    writer = csv.writer(text)
    writer.writerow(kind.__struct_fields__)
    count = size = 0
    for body in bodies:
        start = text.tell()
        writer.writerow([inert(_cell(getattr(body, column))) for column in kind.__struct_fields__])
        text.seek(start)
        size += len(text.read().encode())
        if size > MAX_PAGE and count:
            text.truncate(start)
            break
        count += 1
    return count


def _with_next(
    response: Response, rows: Sequence[T], count: int, limit: int, place_of: Callable[[T], object]
) -> Response:
    """Name the page after the first ``count`` of these rows, which are all that the page has."""
    is_last = count == len(rows) < limit
    return parameters.next_link(response, None if is_last or not count else place_of(rows[count - 1]))


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, RejectionAnswer):
        return f"{value.reason}: {value.message}"
    return bytes(value).decode() if isinstance(value, msgspec.Raw) else value
