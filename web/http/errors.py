"""Turns every error into an HTTP answer. This is the only place that maps error codes to statuses.

The body has Blnk's form: ``error``, ``error_detail`` and, for invalid requests, ``errors``.
"""

from typing import Any

import structlog
from flask import Flask, Response, current_app, request
from msgspec import UNSET, Struct, UnsetType
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from core.base.errors import Backpressure, ErrorCode, InvalidRequest, LedgerError, ReferenceConflict, TransientError
from core.base.problems import details_of
from core.ledger import lookup
from web.http import routes, wire

logger = structlog.get_logger()

BACKPRESSURE_RETRY_S = 5
"""The seconds after which a client may try again when too much waits."""

STATUS: dict[ErrorCode, int] = {
    ErrorCode.GEN_MALFORMED_REQUEST: 400,
    ErrorCode.GEN_VALIDATION_ERROR: 400,
    ErrorCode.GEN_BAD_REQUEST: 400,
    ErrorCode.GEN_NOT_FOUND: 404,
    ErrorCode.GEN_METHOD_NOT_ALLOWED: 405,
    ErrorCode.GEN_CONFLICT: 409,
    ErrorCode.GEN_IDEMPOTENCY_KEY_REUSED: 409,
    ErrorCode.GEN_IDEMPOTENCY_IN_PROGRESS: 409,
    ErrorCode.GEN_PAYLOAD_TOO_LARGE: 413,
    ErrorCode.GEN_BODY_TOO_SLOW: 408,
    ErrorCode.GEN_UNSUPPORTED_MEDIA_TYPE: 415,
    ErrorCode.GEN_FOREIGN_HOST: 421,
    ErrorCode.GEN_FOREIGN_ORIGIN: 403,
    ErrorCode.GEN_RATE_LIMITED: 429,
    ErrorCode.GEN_INTERNAL: 500,
    ErrorCode.GEN_UNAVAILABLE: 503,
    ErrorCode.QUEUE_BACKPRESSURE: 503,
    ErrorCode.AUTH_MISSING_API_KEY: 401,
    ErrorCode.AUTH_INVALID_API_KEY: 401,
    ErrorCode.AUTH_EXPIRED_API_KEY: 401,
    ErrorCode.AUTH_MISSING_PRINCIPAL: 401,
    ErrorCode.AUTH_INSUFFICIENT_PERMISSIONS: 403,
    ErrorCode.AUTH_UNKNOWN_RESOURCE: 403,
    ErrorCode.AUTH_SCOPE_ESCALATION: 403,
    ErrorCode.AUTH_CROSS_OWNER_ACCESS: 403,
    ErrorCode.APIKEY_NOT_FOUND: 404,
    ErrorCode.APIKEY_OWNER_REQUIRED: 400,
    ErrorCode.LGR_NOT_FOUND: 404,
    ErrorCode.IDT_NOT_FOUND: 404,
    ErrorCode.IDT_VALIDATION_ERROR: 400,
    ErrorCode.IDT_FIELD_NOT_TOKENIZABLE: 400,
    ErrorCode.IDT_FIELD_NOT_TOKENIZED: 400,
    ErrorCode.IDT_FIELD_ALREADY_TOKENIZED: 409,
    ErrorCode.IDT_TOKENIZATION_DISABLED: 403,
    ErrorCode.BAL_NOT_FOUND: 404,
    ErrorCode.BAL_MONITOR_NOT_FOUND: 404,
    ErrorCode.BAL_FROZEN: 400,
    ErrorCode.BAL_INVALID_TIMESTAMP: 400,
    ErrorCode.TXN_NOT_FOUND: 404,
    ErrorCode.TXN_VALIDATION_ERROR: 400,
    ErrorCode.TXN_INVALID_AMOUNT: 400,
    ErrorCode.TXN_CURRENCY_MISMATCH: 400,
    ErrorCode.TXN_PRECISION_MISMATCH: 400,
    ErrorCode.TXN_INSUFFICIENT_FUNDS: 400,
    ErrorCode.TXN_INVALID_DISTRIBUTION: 400,
    ErrorCode.TXN_NOT_INFLIGHT: 400,
    ErrorCode.TXN_INVALID_STATUS_ACTION: 400,
    ErrorCode.TXN_COMMIT_AMOUNT_EXCEEDED: 400,
    ErrorCode.TXN_BULK_EMPTY: 400,
    ErrorCode.TXN_BULK_LIMIT_EXCEEDED: 400,
    ErrorCode.TXN_ALREADY_COMMITTED: 409,
    ErrorCode.TXN_ALREADY_VOIDED: 409,
    ErrorCode.TXN_ALREADY_REFUNDED: 409,
    ErrorCode.TXN_DUPLICATE_REFERENCE: 409,
    ErrorCode.TXN_VETOED: 422,
    ErrorCode.FND_NOT_FOUND: 404,
    ErrorCode.FND_INVALID_RECIPIENTS: 400,
    ErrorCode.FND_DUPLICATE_REFERENCE: 409,
    ErrorCode.FND_REPEATED: 409,
    ErrorCode.WEBHOOK_NOT_FOUND: 404,
    ErrorCode.WEBHOOK_DISABLED: 403,
    ErrorCode.HOOK_NOT_FOUND: 404,
    ErrorCode.HOOK_INVALID: 400,
    ErrorCode.AUTH_MASTER_KEY_REQUIRED: 403,
    ErrorCode.META_INVALID_ENTITY_ID: 400,
    ErrorCode.META_ENTITY_NOT_FOUND: 404,
    ErrorCode.EVENTS_GONE: 410,
}


class ErrorDetail(Struct, frozen=True, kw_only=True):
    """The part of an error's body that programs read: its code, message and details."""

    code: ErrorCode
    message: str
    details: Any = UNSET


class Error(Struct, frozen=True, kw_only=True):
    """The body of every error, in Blnk's form."""

    error: str
    errors: str | list[dict[str, Any]] | UnsetType = UNSET
    """The message once more, or a list of problems. Only invalid requests have it."""
    error_detail: ErrorDetail
    batch_id: str | UnsetType = UNSET


def error_response(
    code: ErrorCode,
    message: str,
    *,
    details: Any = None,
    errors: str | list[dict[str, Any]] | UnsetType = UNSET,
    batch_id: str | UnsetType = UNSET,
) -> Response:
    """Build the HTTP answer for an error code. Blnk sends ``errors`` only for failed validations."""
    detail = ErrorDetail(code=code, message=message, details=UNSET if details is None else details)
    return wire.answer(Error(error=message, errors=errors, error_detail=detail, batch_id=batch_id), STATUS[code])


def install(app: Flask) -> None:
    """Make the application answer every exception with an ``Error`` as JSON."""
    app.register_error_handler(LedgerError, answer_of)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)


def answer_of(error: LedgerError) -> Response:
    """Answer an error of the ledger."""
    if isinstance(error, ReferenceConflict):
        error = lookup.concealed(current_app.extensions["pacioli"].engine, error)
    if isinstance(error, TransientError):
        logger.warning("not available", request_id=request.environ.get(wire.REQUEST_ID), error=repr(error.__cause__))
        response = error_response(error.code, error.message)
        response.headers["Retry-After"] = "1"
        return response
    if isinstance(error, Backpressure):  # The gauge has logged it, once for all requests.
        response = error_response(error.code, error.message, details=error.details)
        response.headers["Retry-After"] = str(BACKPRESSURE_RETRY_S)
        return response
    if STATUS.get(error.code, 500) >= 500:
        return _unexpected(error)
    # When a list refuses its parameters, Blnk sends ``errors`` as a list instead of a text.
    beside = error.details if isinstance(error.details, list) else error.message
    errors = beside if isinstance(error, InvalidRequest) else UNSET
    response = error_response(error.code, error.message, details=details_of(error), errors=errors)
    if error.code is ErrorCode.GEN_IDEMPOTENCY_IN_PROGRESS:
        response.headers["Retry-After"] = "1"
    return response


def _http_error(error: HTTPException) -> Response:
    if error.code == 413:
        return error_response(
            ErrorCode.GEN_PAYLOAD_TOO_LARGE, f"the body is larger than {request.max_content_length} bytes"
        )
    if error.code == 408:
        response = error_response(ErrorCode.GEN_BODY_TOO_SLOW, "the body did not come in time; send the request again")
        response.headers["Connection"] = "close"
        return response
    if isinstance(error, MethodNotAllowed):
        return _no_method(sorted(set(error.valid_methods or ()) - {"OPTIONS"}))
    if error.code == 404:
        return _no_route()
    if error.code is not None and error.code < 500:
        return error_response(ErrorCode.GEN_BAD_REQUEST, error.description or error.name)
    return _unexpected(error)


def _no_route() -> Response:
    asked = f"{request.method} {request.path[:200]}"
    near = routes.nearest(current_app.url_map, request.method, request.path)
    hint = f"; did you mean {near}?" if near is not None else "; GET /openapi.json lists all routes"
    details = {"nearest": near} if near is not None else None
    return error_response(ErrorCode.GEN_NOT_FOUND, f"no route {asked}{hint}", details=details)


def _no_method(allowed: list[str]) -> Response:
    text = f"no route {request.method} {request.path[:200]}; this path takes {', '.join(allowed)}"
    response = error_response(ErrorCode.GEN_METHOD_NOT_ALLOWED, text, details={"allowed": allowed})
    response.headers["Allow"] = ", ".join(allowed)
    return response


def _unexpected(error: Exception) -> Response:
    request_id = request.environ.get(wire.REQUEST_ID)
    logger.error("internal server error", request_id=request_id, path=request.path, exc_info=error)
    return error_response(ErrorCode.GEN_INTERNAL, "internal server error", details={"request_id": request_id})
