"""Reads and writes JSON. Numbers are read exactly, and unknown fields are refused. Times are written as RFC 3339."""

from typing import Any, TypeVar

import msgspec
from flask import Request, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from core.base import decoding
from core.base.answers import encode
from core.base.decoding import UNKNOWN_FIELD, Decoded, exact
from core.base.errors import ErrorCode, InvalidRequest
from core.base.problems import refusal
from core.base.unreadable import why_no_json
from core.funding.requests import ApproveRequest, FundingRequest, RefuseRequest, RetryRequest, RunRequest
from core.identities.requests import FieldsRequest, IdentityLinkRequest, IdentityRequest
from core.keys.requests import KeyRequest, RotateRequest
from core.ledger.limits import LimitsRequest
from core.ledger.rules.requests import (
    BalanceRequest,
    BulkCommitRequest,
    BulkRequest,
    BulkVoidRequest,
    CurrencyRequest,
    LedgerRequest,
    MetaDataRequest,
    RefundRequest,
    SettleRequest,
    TransactionRequest,
)
from core.lists.requests import FilterRequest
from core.monitors.requests import MonitorRequest
from core.webhooks.requests import HookRequest, ReplayRequest, WebhookRequest, WebhookRotateRequest
from web.http.lean import Answer

MAX_BODY = 5 * 1024 * 1024

REQUEST_ID = "pacioli.request_id"
"""The key of the request's ID in the WSGI environment."""

ROUTE = "pacioli.route"
"""The key of the request's route, such as ``/ledgers/<ledger_id>``, when it has been answered; ``none`` where there is none."""

UNREADABLE = "pacioli.unreadable"
"""The key of the names of headers, in small letters, whose values could not be read. It is there only when there are some."""

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
        CurrencyRequest,
        IdentityLinkRequest,
        IdentityRequest,
        FieldsRequest,
        MetaDataRequest,
        RunRequest,
        LimitsRequest,
        ApproveRequest,
        RefuseRequest,
        RotateRequest,
        RetryRequest,
        WebhookRequest,
        ReplayRequest,
        WebhookRotateRequest,
        HookRequest,
    )
} | {
    kind: msgspec.json.Decoder(kind, float_hook=exact)
    for kind in (FilterRequest, FundingRequest, KeyRequest, MonitorRequest)
}
"""The decoders. One thread makes them here: two threads that make the first decoder of a struct at the same moment crash
the process (msgspec 0.22)."""


class Malformed(InvalidRequest):
    """The body is not the JSON that this endpoint reads."""

    def __init__(self, message: str, details: Any = None, code: ErrorCode = ErrorCode.GEN_MALFORMED_REQUEST) -> None:
        super().__init__([("", message)], code, details)
        self.message = message


def current() -> Request:
    """Return the request itself. An attribute of its proxy costs ten times as much, so every request counts on this."""
    found: Request = request._get_current_object()  # type: ignore[attr-defined]
    return found


def environ() -> dict[str, Any]:
    """Return the environment of the request."""
    return current().environ


def body(kind: type[T], *, optional: bool = False, or_else: str = "") -> T:
    """Read the JSON body of the request. With ``optional``, an empty body means the defaults. ``or_else`` names other types.

    Raises:
        InvalidRequest: the body is not JSON, or has unknown fields or fields of a wrong type. The error names all of them.
    """
    asked, unread = read(kind, optional=optional, or_else=or_else)
    if unread:
        raise refusal(unread, [], UNKNOWN_FIELD)
    return asked


def read(kind: type[T], *, optional: bool = False, or_else: str = "") -> Decoded[T]:
    """Read the JSON body as far as it can be read, so that the other fields can be checked all the same.

    Raises:
        InvalidRequest: the body is not JSON.
    """
    data = json_body(or_else=or_else)
    return Decoded(kind(), []) if not data and optional else decoded(kind, data)


def json_body(*, or_else: str = "") -> bytes:
    """Read the body, which must be called JSON."""
    asked = environ()
    content_type = asked.get("CONTENT_TYPE") or "application/json"
    if content_type.partition(";")[0].strip().lower() != "application/json":
        text = f"Content-Type must be application/json{or_else}, not {content_type}"
        raise Malformed(text, code=ErrorCode.GEN_UNSUPPORTED_MEDIA_TYPE)
    return read_whole(asked)


def decoded(kind: type[T], data: bytes) -> Decoded[T]:
    """Decode JSON into a request.

    Raises:
        InvalidRequest: the data is not JSON.
    """
    try:
        return decoding.read(DECODERS[kind], data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = why_no_json(error, data)
        raise Malformed(f"Invalid input: {reason}", {"reason": reason}) from None


def read_whole(environ: dict[str, Any]) -> bytes:
    """Read the body. The server hands it over whole, with or without a Content-Length."""
    length = environ.get("CONTENT_LENGTH") or ""
    announced = int(length) if length.isascii() and length.isdigit() else MAX_BODY + 1
    data: bytes = environ["wsgi.input"].read(announced) if not length or announced <= MAX_BODY else b""
    if announced > MAX_BODY and (length or len(data) > MAX_BODY):
        raise RequestEntityTooLarge
    return data


def answer(content: Any, status: int = 200) -> Response:
    """Make a JSON response."""
    body = encode(content)
    return Answer(
        body, status, [("Content-Type", "application/json; charset=utf-8"), ("Content-Length", str(len(body)))]
    )
