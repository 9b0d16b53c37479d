"""``/api-keys``: make, list, rotate and revoke keys."""

from flask import Blueprint, Response, request

from core.base.actors import current
from core.base.db import begin, reading
from core.keys import manage
from core.keys.answers import ApiKey
from core.keys.requests import KeyRequest, RotateRequest
from web.http import parameters, wire
from web.http.operations import operation
from web.http.parameters import Parameter
from web.service import service

blueprint = Blueprint("api-keys", __name__)

_OWNER = Parameter("owner", {"type": "string"}, "The owner of the keys. A key has only those of its own owner.", "shop")
_ALL = parameters.one_of("all", ("true", "false"), "true lists the keys of all owners. Only the master key may.")


@blueprint.post("/api-keys")
@operation({201: ApiKey}, body=KeyRequest)
def create() -> Response:
    """Make a key.

    Only this answer has the secret, in ``key``. A key never does more, reaches more or lasts longer than the one that made it.
    """
    asked, unread = wire.read(KeyRequest)
    ledger = service()
    with begin(ledger.engine) as conn:
        made = manage.create(conn, asked, current(), ledger.mint, unread)
    return wire.answer(made, 201)


@blueprint.get("/api-keys")
@operation({200: list[ApiKey]})
@parameters.takes(_OWNER, _ALL)
def read_all() -> Response:
    """List keys.

    The newest key comes first, and revoked ones are listed too. The master key names an owner.
    """
    every = parameters.flag("all")
    with reading(service().engine) as conn:
        found = manage.list_keys(conn, request.args.get("owner"), current(), every=every)
    return wire.answer(found)


@blueprint.post("/api-keys/<key_id>/rotate")
@operation({201: ApiKey}, 404, 409, body=RotateRequest)
def rotate(key_id: str) -> Response:
    """Give a key a new secret.

    The ID stays. Only this answer has the new secret. The one of before works for ``overlap_s`` seconds more, an hour if
    nothing is said, so that programs can change over one by one.
    """
    asked = wire.body(RotateRequest, optional=True)
    ledger = service()
    with begin(ledger.engine) as conn:
        rotated = manage.rotate(conn, key_id, asked, current(), ledger.mint)
    return wire.answer(rotated, 201)


@blueprint.delete("/api-keys/<key_id>")
@operation({204: None}, 404)
@parameters.takes(_OWNER)
def revoke(key_id: str) -> Response:
    """Revoke a key.

    Every process refuses it within a second. What was asked for with it goes on: scheduled transactions, the dates of holds, and
    funding jobs.
    """
    with begin(service().engine) as conn:
        manage.revoke(conn, key_id, request.args.get("owner"), current())
    return Response(status=204)
