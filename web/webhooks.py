"""``/webhooks``: endpoints that are told every event."""

from flask import Blueprint, Response, request

from core.base.db import begin, reading
from core.base.errors import ErrorCode, InvalidRequest
from core.webhooks import deliveries, endpoints
from core.webhooks.answers import Delivery, Replay, Tested, Webhook, delivery_of
from core.webhooks.requests import ReplayRequest, WebhookRequest, WebhookRotateRequest
from web.http import pages, parameters, wire
from web.http.operations import operation
from web.service import service

blueprint = Blueprint("webhooks", __name__)

_STATUSES = ("pending", "delivered", "failed")
_STATUS = parameters.one_of("status", _STATUSES, "Only deliveries of this status.")
_MAX = 100


@blueprint.post("/webhooks")
@operation({201: Webhook}, 403, 409, body=WebhookRequest)
def create() -> Response:
    """Create an endpoint.

    It is told every event of its types from now on, at least once. Only this answer has the secret that signs.
    """
    asked, ledger = wire.body(WebhookRequest), service()
    with begin(ledger.engine) as conn:
        made = endpoints.create(conn, asked, ledger.webhooks)
    return wire.answer(made, 201)


@blueprint.get("/webhooks")
@operation({200: list[Webhook]})
def read_all() -> Response:
    """List endpoints.

    The newest comes first. ``default`` is the endpoint of BLNK_WEBHOOK_URL.
    """
    ledger = service()
    with reading(ledger.engine) as conn:
        found = endpoints.read_all(conn, ledger.webhooks)
    return wire.answer(found)


@blueprint.get("/webhooks/<webhook_id>")
@operation({200: Webhook}, 404)
def read(webhook_id: str) -> Response:
    """Read an endpoint.

    ``status`` says how it does, and ``cursor`` how far it is in the feed.
    """
    ledger = service()
    with reading(ledger.engine) as conn:
        found = endpoints.read(conn, webhook_id, ledger.webhooks)
    return wire.answer(found)


@blueprint.put("/webhooks/<webhook_id>")
@operation({200: Webhook}, 403, 404, 409, body=WebhookRequest)
def update(webhook_id: str) -> Response:
    """Update an endpoint.

    A field that is absent stays as it is. What waits for another attempt is sent at once.
    """
    asked, ledger = wire.body(WebhookRequest), service()
    with begin(ledger.engine) as conn:
        changed = endpoints.update(conn, webhook_id, asked, ledger.webhooks)
    return wire.answer(changed)


@blueprint.delete("/webhooks/<webhook_id>")
@operation({204: None}, 404, 409)
def delete(webhook_id: str) -> Response:
    """Delete an endpoint.

    What waits there is not sent any more.
    """
    with begin(service().engine) as conn:
        endpoints.delete(conn, webhook_id)
    return Response(status=204)


@blueprint.get("/webhooks/<webhook_id>/deliveries")
@operation({200: list[Delivery]}, 404)
@parameters.takes(_STATUS, parameters.LIMIT, parameters.after("5"))
def read_deliveries(webhook_id: str) -> Response:
    """List the deliveries of an endpoint.

    The newest comes first. All that wait or have failed are kept, and the last ten thousand that were delivered.
    """
    status = request.args.get("status")
    if status is not None and status.lower() not in _STATUSES:
        raise InvalidRequest([("status", f"must be one of {', '.join(_STATUSES)}")], ErrorCode.GEN_VALIDATION_ERROR)
    limit, _ = parameters.limit_offset(default=20, largest=_MAX, what="Invalid")
    before = parameters.after_number("delivery_id that ended the page before")
    statuses = [each.upper() for each in _STATUSES] if status is None else [status.upper()]
    with reading(service().engine) as conn:
        row = endpoints.found(conn, webhook_id)
        found = deliveries.page(conn, row.id, statuses, before=before, limit=limit)
    return pages.listed(found, limit, delivery_of, lambda each: each.id)


@blueprint.post("/webhooks/<webhook_id>/replay")
@operation({202: Replay}, 404, 409, body=ReplayRequest)
def replay(webhook_id: str) -> Response:
    """Send events once more.

    The events after ``from`` up to ``to`` are sent again, with the same IDs, and before newer ones.
    """
    asked = wire.body(ReplayRequest)
    with begin(service().engine) as conn:
        after, until = endpoints.replay(conn, webhook_id, asked)
    return wire.answer(Replay(webhook_id, str(after), None if until is None else str(until)), 202)


@blueprint.post("/webhooks/<webhook_id>/test")
@operation({200: Tested}, 404)
def test(webhook_id: str) -> Response:
    """Test an endpoint.

    An event of the type webhook.test is sent now, and the answer says how that went. If it went well, what waits for another
    attempt is sent at once.
    """
    ledger = service()
    return wire.answer(endpoints.test(ledger.engine, webhook_id, ledger.webhooks))


@blueprint.post("/webhooks/<webhook_id>/rotate")
@operation({201: Webhook}, 403, 404, 409, body=WebhookRotateRequest)
def rotate(webhook_id: str) -> Response:
    """Give an endpoint a new secret.

    Only this answer has it. For ``overlap_s`` seconds, a day if nothing is said, the one of before signs too, so that receivers
    can change over one by one.
    """
    asked, ledger = wire.body(WebhookRotateRequest, optional=True), service()
    with begin(ledger.engine) as conn:
        rotated = endpoints.rotate(conn, webhook_id, asked, ledger.webhooks)
    return wire.answer(rotated, 201)
