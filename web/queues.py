"""``/queues``, ``/health`` and ``/transactions/recover``: list queues, check the service, decide what waits too long."""

from contextlib import suppress
from typing import Literal

from flask import Blueprint, Response, request
from msgspec import UNSET, Struct, UnsetType
from redis import RedisError

from core.base.db import reading
from core.base.errors import ErrorCode, InvalidRequest, TransientError
from core.ledger import queues
from core.ledger.answers import Queue, queue_of
from core.ledger.store import queues as queue_store
from web.http import durations, parameters, wire
from web.http.operations import operation
from web.http.parameters import Parameter
from web.service import Service, service

blueprint = Blueprint("queues", __name__)

WORKER_SILENT_S = 15
"""The silence after which a worker counts as gone. Workers beat every five seconds."""


RECOVER_AFTER_S = 120
"""The shortest threshold of a recovery. A worker decides what has waited for less."""


class Checks(Struct, frozen=True, kw_only=True):
    """The results of the checks. Only the database decides whether transactions can be accepted."""

    database: Literal["UP", "DOWN"]
    broker: Literal["UP", "DOWN", "UNKNOWN"] | UnsetType = UNSET
    workers: Literal["UP", "DOWN"] | UnsetType = UNSET
    workers_alive: list[str] | UnsetType = UNSET
    oldest_queued_age_s: float | UnsetType | None = UNSET


class Health(Struct, frozen=True, kw_only=True):
    """Whether transactions can be accepted."""

    status: Literal["UP", "DOWN"]
    reason: str | UnsetType = UNSET
    checks: Checks


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


@blueprint.get("/health")
@operation({200: Health, 503: Health}, open=True)
def health() -> Response:
    """Check the health of the service.

    The status is 200 UP while transactions can be accepted, and 503 DOWN when the database cannot be reached.
    """
    ledger = service()
    try:
        with reading(ledger.engine) as conn:
            workers = queue_store.live_workers(conn, WORKER_SILENT_S)
            oldest_age_s = queue_store.oldest_age_s(conn)
    except TransientError:
        down = Health(status="DOWN", reason="database unreachable", checks=Checks(database="DOWN"))
        return wire.answer(down, 503)
    checks = Checks(
        database="UP",
        broker=_broker(ledger),
        workers="UP" if workers else "DOWN",
        workers_alive=workers,
        oldest_queued_age_s=None if oldest_age_s is None else round(oldest_age_s, 3),
    )
    return wire.answer(Health(status="UP", checks=checks))


def _broker(ledger: Service) -> Literal["UP", "DOWN", "UNKNOWN"]:
    if ledger.redis is None:
        return "UNKNOWN"
    with suppress(RedisError, OSError):
        ledger.redis.ping()
        return "UP"
    return "DOWN"


@blueprint.post("/transactions/recover")
@operation({200: Recovery})
@parameters.takes(_THRESHOLD)
def recover() -> Response:
    """Decide what waits too long.

    The request decides at once what waits for longer than ``?threshold=``, which is two minutes or more, and accepts what is
    due. ``recovered`` counts the transactions that waited for so long and are now decided.
    """
    text = request.args.get("threshold") or f"{RECOVER_AFTER_S}s"
    try:
        threshold = durations.parse(text)
    except ValueError as error:
        raise InvalidRequest([("", f"invalid threshold duration: {error}")], ErrorCode.GEN_VALIDATION_ERROR) from None
    ledger = service()
    recovered, touched = queues.recover(
        ledger.engine, older_than_s=max(threshold / 10**9, RECOVER_AFTER_S), announce=ledger.announce
    )
    ledger.doorbell.ring(touched)
    return wire.answer(Recovery(recovered=recovered, threshold=durations.text_of(threshold)))
