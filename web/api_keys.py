"""``/api-keys``: make, list, rotate and revoke keys."""

import time

from flask import Blueprint, Response, request

from core.base import clock
from core.base.actors import KEY_PREFIX, Right, current, require
from core.base.db import begin, reading
from core.funding import asked as funding_asked
from core.keys import manage
from core.keys.answers import ApiKey, Pending, Revoked
from core.keys.requests import KeyRequest, RotateRequest
from core.keys.ring import REMEMBERED_S
from core.keys.store import Page
from core.ledger import asked
from web.http import pages as lists
from web.http import parameters, wire
from web.http.operations import operation
from web.http.parameters import Parameter
from web.service import service

blueprint = Blueprint("api-keys", __name__)

_EXAMPLE = "api_key_01928ee1-7e5a-7000-8000-000000000000"
MAX_LISTED = 1_000
"""A page has so many keys, unless fewer are asked for. Blnk's clients ask for no page."""

_OWNER = Parameter("owner", {"type": "string"}, "The owner of the keys. A key has only those of its own owner.", "shop")
_ALL = parameters.one_of("all", ("true", "false"), "true lists the keys of all owners. Only the master key may.")


_WITH_PENDING = parameters.one_of(
    "with_pending",
    ("false", "true"),
    "false says what of the key's is still to come, and true stops that too, and revokes the keys that it made.",
)


@blueprint.post("/api-keys")
@operation({201: ApiKey}, body=KeyRequest)
def create() -> Response:
    """Make a key.

    Only this answer has the secret, in ``key``. A key never does more, reaches more or lasts longer than the one that made it.
    """
    wanted, unread = wire.read(KeyRequest)
    ledger = service()
    with begin(ledger.engine) as conn:
        made = manage.create(conn, wanted, current(), ledger.mint, unread)
    return wire.answer(made, 201)


@blueprint.get("/api-keys")
@operation({200: list[ApiKey]})
@parameters.takes(
    _OWNER, _ALL, parameters.LIMIT, parameters.OFFSET, parameters.after("api_key_01928ee1-7e5a-7000-8000-000000000000")
)
def read_all() -> Response:
    """List keys.

    The newest key comes first, and revoked ones are listed too. The master key names an owner. A key that is bound to ledgers
    or ``@Names`` does not see those that reach more.
    """
    every = parameters.flag("all")
    limit, offset = parameters.limit_offset(default=MAX_LISTED, largest=MAX_LISTED, what="invalid")
    after = parameters.after_id(KEY_PREFIX, "a key")
    page = Page(limit, offset if after is None else 0, after)
    with reading(service().engine) as conn:
        found = manage.list_keys(conn, request.args.get("owner"), current(), page, every=every)
    return lists.listed(found, limit, lambda key: key, lambda key: key.api_key_id)


@blueprint.post("/api-keys/<key_id>/rotate")
@operation({201: ApiKey}, 404, 409, body=RotateRequest)
def rotate(key_id: str) -> Response:
    """Give a key a new secret.

    The ID stays. Only this answer has the new secret. The one of before works for ``overlap_s`` seconds more, an hour if
    nothing is said, so that programs can change over one by one.
    """
    wanted = wire.body(RotateRequest, optional=True)
    ledger = service()
    with begin(ledger.engine) as conn:
        rotated = manage.rotate(conn, key_id, wanted, current(), ledger.mint)
    return wire.answer(rotated, 201)


@blueprint.delete("/api-keys/<key_id>")
@operation({204: None, 200: Revoked}, 404)
@parameters.takes(_OWNER, _WITH_PENDING)
def revoke(key_id: str) -> Response:
    """Revoke a key.

    Every process refuses it within a second. What was asked for with it goes on: scheduled transactions, the dates of holds,
    funding jobs, and the keys that it made. With ``?with_pending=false`` the answer counts these, and with
    ``?with_pending=true`` it stops them, which needs the rights to cancel transactions and to control funding. An expiry of a
    hold is never stopped, for it only gives money back.
    """
    engine = service().engine
    with_pending = parameters.flag("with_pending")
    if with_pending:
        require([Right.TRANSACTIONS_CANCEL, Right.FUNDING_CONTROL])
    with begin(engine) as conn:
        revoked = manage.revoke(conn, key_id, request.args.get("owner"), current(), with_made=with_pending)
    if "with_pending" not in request.args:
        return Response(status=204)
    if with_pending:
        # Another process may accept a last request of the key for so long.
        time.sleep(REMEMBERED_S)
    actors = revoked.key_ids if with_pending else [revoked.row.key_id]
    with reading(engine) as conn:
        waiting, unfinished = asked.count(conn, actors), funding_asked.find(conn, actors)
    if with_pending:
        asked.stop(engine, actors)
        funding_asked.stop(engine, unfinished, clock.now_of(engine))
    pending = Pending(
        scheduled_transactions=waiting.scheduled,
        hold_commits=waiting.commits,
        hold_expiries=waiting.expiries,
        funding_jobs=len(unfinished.jobs),
        funding_runs=len(unfinished.runs),
        keys=len(revoked.made),
    )
    assert revoked.row.revoked_at is not None
    answer = Revoked(
        api_key_id=revoked.row.key_id, revoked_at=revoked.row.revoked_at, pending=pending, stopped=with_pending
    )
    return wire.answer(answer)
