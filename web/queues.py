"""``/queues`` and ``/transactions/recover``: list queues, and decide what waits too long."""

from flask import Blueprint, Response, request
from msgspec import Struct

from core.base.db import reading
from core.base.errors import ErrorCode, InvalidRequest
from core.ledger import queues
from core.ledger.answers import Queue, queue_of
from core.ledger.store import queues as queue_store
from web.http import durations, parameters, wire
from web.http.operations import operation
from web.http.parameters import Parameter
from web.service import service

blueprint = Blueprint("queues", __name__)

RECOVER_AFTER_S = 120
"""The shortest threshold of a recovery. A worker decides what has waited for less."""


class Recovery(Struct, frozen=True, kw_only=True):
    """The result of a recovery."""

    recovered: int
    """The number of transactions that waited for so long and are now decided."""
    threshold: str
    """The threshold as Go prints it, such as 5m0s."""


_THRESHOLD = Parameter(
    "threshold",
    {"type": "string", "pattern": "^([0-9]{1,9}(\\.[0-9]{1,9})?(ns|us|ms|s|m|h)){1,4}$"},
    "The time that a transaction must have waited, as Go writes durations: 5m, 1h30m. The least and the default are two minutes.",
    "5m",
)


@blueprint.get("/queues")
@operation({200: list[Queue]})
def read_all() -> Response:
    """List queues.

    Each queue says how many transactions wait in it, for how long, and how fast it moves.
    """
    with reading(service().engine) as conn:
        states = queue_store.states(conn)
    return wire.answer([queue_of(state) for state in states])


@blueprint.post("/transactions/recover")
@operation({200: Recovery})
@parameters.takes(_THRESHOLD)
def recover() -> Response:
    """Decide what waits too long.

    The request decides at once what waits for longer than ``?threshold=``, which is two minutes or more, and accepts what is
    due. ``recovered`` counts the transactions that waited for so long and are now decided. Of a queue in which more wait, the
    first 10,000 are decided, and workers go on.
    """
    text = request.args.get("threshold") or f"{RECOVER_AFTER_S}s"
    try:
        threshold = durations.parse(text)
    except ValueError as error:
        raise InvalidRequest(
            [("threshold", str(error))],
            ErrorCode.GEN_VALIDATION_ERROR,
            message=f"invalid threshold duration: {error}",
        ) from None
    ledger = service()
    recovered, touched = queues.recover(
        ledger.engine, older_than_s=max(threshold / 10**9, RECOVER_AFTER_S), announce=ledger.announce
    )
    ledger.doorbell.ring(touched)
    return wire.answer(Recovery(recovered=recovered, threshold=durations.text_of(threshold)))
