"""JSON in and out. In: exact numbers, no unknown fields. Out: integers as integers, times as RFC 3339."""

from typing import Any, TypeVar

import msgspec
from flask import Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from core.base import decoding
from core.base.answers import encode
from core.base.decoding import UNKNOWN_FIELD, Decoded, exact
from core.base.errors import ErrorCode, InvalidRequest
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


class Malformed(InvalidRequest):
    """The body is not the JSON that this endpoint reads."""

    def __init__(self, message: str, details: Any = None, code: ErrorCode = ErrorCode.GEN_MALFORMED_REQUEST) -> None:
        super().__init__([("", message)], code, details)
        self.message = message


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
    environ = request.environ
    content_type = environ.get("CONTENT_TYPE") or "application/json"
    if content_type.partition(";")[0].strip().lower() != "application/json":
        text = f"Content-Type must be application/json{or_else}, not {content_type}"
        raise Malformed(text, code=ErrorCode.GEN_UNSUPPORTED_MEDIA_TYPE)
    data = _read(environ)
    return Decoded(kind(), []) if not data and optional else decoded(kind, data)


def decoded(kind: type[T], data: bytes) -> Decoded[T]:
    """JSON as a request.

    Raises:
        InvalidRequest: as ``read``.
    """
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
