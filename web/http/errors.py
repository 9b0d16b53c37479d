"""The one table from errors to HTTP: status, code and body. Blnk's shape: ``error``, ``error_detail``, ``errors``."""

from typing import Any

import structlog
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from core.base.errors import ErrorCode, InvalidRequest, LedgerError, TransientError
from web.http import wire

logger = structlog.get_logger()

STATUS: dict[str, int] = {
    ErrorCode.GEN_MALFORMED_REQUEST: 400,
    ErrorCode.GEN_VALIDATION_ERROR: 400,
    ErrorCode.GEN_BAD_REQUEST: 400,
    ErrorCode.GEN_NOT_FOUND: 404,
    ErrorCode.GEN_CONFLICT: 409,
    ErrorCode.GEN_PAYLOAD_TOO_LARGE: 413,
    ErrorCode.GEN_UNSUPPORTED_MEDIA_TYPE: 415,
    ErrorCode.GEN_INTERNAL: 500,
    ErrorCode.GEN_UNAVAILABLE: 503,
    ErrorCode.AUTH_MISSING_API_KEY: 401,
    ErrorCode.AUTH_INVALID_API_KEY: 401,
    ErrorCode.LGR_NOT_FOUND: 404,
    ErrorCode.IDT_NOT_FOUND: 404,
    ErrorCode.BAL_NOT_FOUND: 404,
    ErrorCode.BAL_HISTORY_NOT_FOUND: 404,
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
    ErrorCode.FND_NOT_FOUND: 404,
    ErrorCode.FND_INVALID_RECIPIENTS: 400,
    ErrorCode.FND_DUPLICATE_REFERENCE: 409,
    ErrorCode.META_INVALID_ENTITY_ID: 400,
    ErrorCode.META_ENTITY_NOT_FOUND: 404,
}


class Malformed(InvalidRequest):
    """The body is not the JSON that this endpoint reads."""

    def __init__(self, message: str, details: Any = None, code: str = "GEN_MALFORMED_REQUEST") -> None:
        super().__init__([("", message)], code, details)
        self.message = message


def error_response(
    code: str, message: str, *, details: Any = None, plural: bool = False, extra: dict[str, Any] | None = None
) -> Response:
    """The error body. ``plural`` adds ``errors``, as Blnk sends it for failed validations; ``extra`` adds top-level keys."""
    detail: dict[str, Any] = {"code": code, "message": message}
    if details is not None:
        detail["details"] = details
    body: dict[str, Any] = {"error": message, **({"errors": message} if plural else {}), "error_detail": detail}
    return wire.answer({**body, **(extra or {})}, STATUS[code])


def install(app: Flask) -> None:
    """Have Flask answer every exception in this shape."""
    app.register_error_handler(LedgerError, _ledger_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)


def _ledger_error(error: LedgerError) -> Response:
    if isinstance(error, TransientError):
        logger.warning("not available", request_id=request.environ.get(wire.REQUEST_ID), error=repr(error.__cause__))
        response = error_response(error.code, error.message)
        response.headers["Retry-After"] = "1"
        return response
    if STATUS.get(error.code, 500) >= 500:
        return _unexpected(error)
    # Of the parameters of a list, Blnk's ``errors`` is a list too.
    extra = {"errors": error.details} if isinstance(error.details, list) else None
    plural = isinstance(error, InvalidRequest)
    return error_response(error.code, error.message, details=error.details, plural=plural, extra=extra)


def _http_error(error: HTTPException) -> Response:
    if error.code == 413:
        return error_response("GEN_PAYLOAD_TOO_LARGE", f"the body is larger than {request.max_content_length} bytes")
    if error.code in (404, 405):
        return Response("404 page not found", 404, mimetype="text/plain")
    if error.code is not None and error.code < 500:
        return error_response("GEN_BAD_REQUEST", error.description or error.name)
    return _unexpected(error)


def _unexpected(error: Exception) -> Response:
    request_id = request.environ.get(wire.REQUEST_ID)
    logger.error("internal server error", request_id=request_id, path=request.path, exc_info=error)
    return error_response("GEN_INTERNAL", "internal server error", details={"request_id": request_id})
