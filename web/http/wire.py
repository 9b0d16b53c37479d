"""JSON in and out. In: exact numbers, no unknown fields. Out: integers as integers, times as RFC 3339."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
from flask import Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from core.base import decoding
from core.base.answers import encode
from core.base.decoding import UNKNOWN_FIELD, Decoded, exact
from core.base.errors import InvalidRequest
from core.base.problems import refusal
from core.funding.requests import FundingRequest, RunRequest
from core.ledger.rules.requests import (
    BalanceRequest,
    BulkCommitRequest,
    BulkRequest,
    BulkVoidRequest,
    IdentityLinkRequest,
    LedgerRequest,
    MetaDataRequest,
    RefundRequest,
    SettleRequest,
    TransactionRequest,
)
from core.lists.requests import FilterRequest
from web.http.lean import Answer

MAX_BODY = 5 * 1024 * 1024

REQUEST_ID = "pacioli.request_id"
"""Key of the request's id in the WSGI environment."""

T = TypeVar("T", bound=msgspec.Struct)

DECODERS: "dict[type[msgspec.Struct], msgspec.json.Decoder[Any]]" = {
    kind: msgspec.json.Decoder(kind)
    for kind in (
        TransactionRequest,
        BulkRequest,
        SettleRequest,
        BulkCommitRequest,
        BulkVoidRequest,
        RefundRequest,
        LedgerRequest,
        BalanceRequest,
        IdentityLinkRequest,
        MetaDataRequest,
        RunRequest,
    )
} | {kind: msgspec.json.Decoder(kind, float_hook=exact) for kind in (FilterRequest, FundingRequest)}
"""Made here, by one thread. Two that make the first decoder of a struct at the same moment crash the process (0.22)."""


def body(kind: type[T], *, optional: bool = False, or_else: str = "") -> T:
    """The request's JSON body. With ``optional`` an empty one is the default. ``or_else`` names what else is taken.

    Raises:
        InvalidRequest: not JSON, fields of the wrong type, unknown fields; all of them named.
    """
    asked, unread = read(kind, optional=optional, or_else=or_else)
    if unread:
        raise refusal(unread, [], UNKNOWN_FIELD)
    return asked


def read(kind: type[T], *, optional: bool = False, or_else: str = "") -> Decoded[T]:
    """The request's JSON body as far as it can be read, for one whose other fields are to be checked all the same.

    Raises:
        InvalidRequest: not JSON.
    """
    from web.http.errors import Malformed

    environ = request.environ
    content_type = environ.get("CONTENT_TYPE") or "application/json"
    if content_type.partition(";")[0].strip().lower() != "application/json":
        text = f"Content-Type must be application/json{or_else}, not {content_type}"
        raise Malformed(text, code="GEN_UNSUPPORTED_MEDIA_TYPE")
    data = _read(environ)
    return Decoded(kind(), []) if not data and optional else decoded(kind, data)


def decoded(kind: type[T], data: bytes) -> Decoded[T]:
    """JSON as a request.

    Raises:
        InvalidRequest: as ``read``.
    """
    from web.http.errors import Malformed

    try:
        return decoding.read(DECODERS[kind], data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("Invalid input", {"reason": str(error)}) from None


def _read(environ: dict[str, Any]) -> bytes:
    """The body. The server hands it over whole, with or without a Content-Length."""
    length = environ.get("CONTENT_LENGTH") or ""
    announced = int(length) if length.isascii() and length.isdigit() else MAX_BODY + 1
    data: bytes = environ["wsgi.input"].read(announced) if not length or announced <= MAX_BODY else b""
    if announced > MAX_BODY and (length or len(data) > MAX_BODY):
        raise RequestEntityTooLarge
    return data


def answer(content: Any, status: int = 200) -> Response:
    """A JSON response."""
    body = encode(content)
    return Answer(
        [body], status, [("Content-Type", "application/json; charset=utf-8"), ("Content-Length", str(len(body)))]
    )


def limit_offset(
    *, default: int, largest: int, what: str = "", given: Mapping[str, str] | None = None
) -> tuple[int, int]:
    """The page asked for, in the query or in ``given`` of it.

    Raises:
        InvalidRequest: unparsable, and ``what`` is given ("Invalid limit value"); else the default stands in, as in Blnk.
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
        raise InvalidRequest([("", f"{what} {name} value")], "GEN_VALIDATION_ERROR")
    return default


def after_number(what: str) -> int | None:
    """The ``?after=`` of a walk by number. ``what`` says which number that is.

    Raises:
        InvalidRequest: it is none.
    """
    text = request.args.get("after")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidRequest([("after", f"must be the {what}")], "GEN_VALIDATION_ERROR")
    return int(text)


def next_link(response: Response, after: object | None) -> Response:
    """Name the next page in a ``Link`` header, if there is one."""
    if after is not None:
        args = [pair for pair in request.args.items(multi=True) if pair[0] not in ("after", "offset", "page")]
        args.append(("after", str(after)))
        response.headers["Link"] = f'<{request.path}?{urlencode(args)}>; rel="next"'
    return response


DURATION = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m)?"
MAX_WAIT_S = 60.0


def wait_s() -> float:
    """The ``?wait=`` of the request in seconds: ``10s``, ``500ms``, ``1m`` or a number of seconds; at most a minute.

    Raises:
        InvalidRequest: it is none of these.
    """
    if not request.environ.get("QUERY_STRING"):
        return 0.0
    text = request.args.get("wait")
    if text is None:
        return 0.0
    found = re.fullmatch(DURATION, text)
    if not found:
        raise InvalidRequest([("wait", "must be a duration such as 500ms, 10s or 1m")], "GEN_VALIDATION_ERROR")
    unit_s = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}[found.group(2)]
    return min(float(found.group(1)) * unit_s, MAX_WAIT_S)


def flag(name: str) -> bool:
    """A query parameter that is ``true`` or ``1``. Anything else is false, as in Blnk."""
    return request.args.get(name) in ("true", "1")


def time_arg(name: str, code: str = "GEN_VALIDATION_ERROR") -> datetime | None:
    """A query parameter that is an RFC 3339 time.

    Raises:
        InvalidRequest: it is not one.
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
