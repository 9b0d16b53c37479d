"""``/hooks``: Blnk's transaction hooks. Only the master key manages them."""

from typing import Any

from flask import Blueprint, Response, request
from msgspec import UNSET

from core.base.db import begin, reading
from core.base.errors import ErrorCode, LedgerError
from core.base.problems import details_of
from core.webhooks import hooks
from core.webhooks.answers import Hook, HookDeleted, hook_of
from core.webhooks.requests import HookRequest
from web.http import errors, parameters, wire
from web.http.operations import operation
from web.service import service

blueprint = Blueprint("hooks", __name__)

_TYPE = parameters.one_of("type", ("PRE_TRANSACTION", "POST_TRANSACTION"), "Only hooks of this type.")


class HookError(errors.Error, frozen=True, kw_only=True):
    """The body of an error about hooks, which has Blnk's form of these routes beside that of all others."""

    code: ErrorCode
    message: str
    details: Any = UNSET


@blueprint.errorhandler(LedgerError)
def _refused(error: LedgerError) -> Response:
    response = errors.answer_of(error)
    if error.code not in (ErrorCode.HOOK_NOT_FOUND, ErrorCode.HOOK_INVALID):
        return response
    details = details_of(error)
    return wire.answer(
        HookError(
            error=error.message,
            error_detail=errors.ErrorDetail(code=error.code, message=error.message, details=details),
            code=error.code,
            message=error.message,
            details=details,
        ),
        response.status_code,
    )


@blueprint.post("/hooks")
@operation({201: Hook}, 403, 409, body=HookRequest)
def create() -> Response:
    """Create a hook.

    A PRE_TRANSACTION hook is told what was accepted, and a POST_TRANSACTION hook what was applied, held or voided. It is sent by
    a process of its own, after the commit.
    """
    asked, ledger = wire.body(HookRequest), service()
    with begin(ledger.engine) as conn:
        row = hooks.create(conn, asked, ledger.webhooks.operator)
    return wire.answer(hook_of(row), 201)


@blueprint.get("/hooks")
@operation({200: list[Hook]}, 403)
@parameters.takes(_TYPE)
def read_all() -> Response:
    """List hooks.

    The newest comes first.
    """
    with reading(service().engine) as conn:
        found = hooks.read_all(conn, request.args.get("type"))
    return wire.answer([hook_of(row) for row in found])


@blueprint.get("/hooks/<hook_id>")
@operation({200: Hook}, 403, 404)
def read(hook_id: str) -> Response:
    """Read a hook.

    ``last_run`` and ``last_success`` say how it does.
    """
    with reading(service().engine) as conn:
        row = hooks.found(conn, hook_id)
    return wire.answer(hook_of(row))


@blueprint.put("/hooks/<hook_id>")
@operation({200: Hook}, 403, 404, body=HookRequest)
def update(hook_id: str) -> Response:
    """Update a hook.

    The body is the whole hook. What is left out gets its default.
    """
    asked, ledger = wire.body(HookRequest), service()
    with begin(ledger.engine) as conn:
        row = hooks.update(conn, hook_id, asked, ledger.webhooks.operator)
    return wire.answer(hook_of(row))


@blueprint.delete("/hooks/<hook_id>")
@operation({200: HookDeleted}, 403, 404)
def delete(hook_id: str) -> Response:
    """Delete a hook.

    What waits there is not sent any more.
    """
    with begin(service().engine) as conn:
        hooks.delete(conn, hook_id)
    return wire.answer(HookDeleted("hook deleted successfully"))
