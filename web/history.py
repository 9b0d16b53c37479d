"""``/balances/<id>/at``: read a balance at a time. ``/balances-snapshots``: take the snapshots that make this quick."""

import re

from flask import Blueprint, Response, request
from msgspec import Struct

import celeryconfig
from core.base.db import reading_within
from core.base.errors import ErrorCode, InvalidRequest
from core.ledger import balances, history
from core.ledger.history import BATCH, MAX_BATCH, HistoricalBalance
from web.http import parameters, wire
from web.http.operations import operation
from web.http.parameters import Parameter
from web.service import service

blueprint = Blueprint("history", __name__)

TIMEOUT_S = 5.0

_BATCH_SIZE = Parameter(
    "batch_size",
    {"type": "integer", "minimum": 1, "maximum": MAX_BATCH},
    f"The number of balances in one commit. The default is {BATCH}.",
    str(BATCH),
)


class Message(Struct, frozen=True):
    """A message that says what has begun."""

    message: str


@blueprint.get("/balances/<balance_id>/at")
@operation({200: HistoricalBalance}, 404)
@parameters.takes(parameters.time("timestamp", "The time of the balance. The default is now."), parameters.FROM_SOURCE)
def read_at(balance_id: str) -> Response:
    """Read a balance at a time.

    Entries count by their effective dates. With ``from_source=true`` the balance is recomputed from all entries, up to
    2,000. Otherwise it is computed from the sums of each thousand entries, or from the newest snapshot. All come to the same.
    """
    at = parameters.time_arg("timestamp", code=ErrorCode.BAL_INVALID_TIMESTAMP)
    from_source = parameters.flag("from_source")
    with reading_within(service().engine, TIMEOUT_S) as conn:
        row = balances.found(conn, balance_id)
        then = history.balance_at(conn, row, at, from_source=from_source)
    return wire.answer(history.answer_of(row, then, from_source=from_source))


@blueprint.post("/balances-snapshots")
@operation({200: Message})
@parameters.takes(_BATCH_SIZE)
def take() -> Response:
    """Take snapshots of balances.

    A worker takes snapshots of all balances that changed since their last one. Answers do not depend on snapshots: they make
    ``/balances/{balance_id}/at`` quick for balances with many entries.
    """
    text = request.args.get("batch_size", str(BATCH))
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= MAX_BATCH:
        problem = f"invalid batch_size value: must be a whole number from 1 to {MAX_BATCH}"
        raise InvalidRequest([("batch_size", problem)], ErrorCode.GEN_VALIDATION_ERROR)
    service().doorbell.send(celeryconfig.SNAPSHOT, int(text))
    return wire.answer(Message("Snapshotting in progress. should be completed shortly"))
