"""``/verify``: whether what came after the last checkpoint is as it was written."""

from threading import Lock

from flask import Blueprint, Response, request

from core.base.errors import ErrorCode, InvalidRequest, TransientError
from core.verification.answers import Verification, verification_of
from core.verification.verify import verify_since_checkpoint
from web.http import parameters, wire
from web.http.operations import operation
from web.service import service

blueprint = Blueprint("verification", __name__)

VERIFIED = 100_000
"""Rows of the log that one request verifies, some seconds' work."""

_busy = Lock()
"""Requests that post must not wait for a crowd that verifies."""


@blueprint.get("/verify")
@operation({200: Verification})
@parameters.takes(parameters.one_of("full", ("false",), "Everything from the start takes the command: pacioli verify."))
def verify() -> Response:
    """Verify the ledger.

    The hash chain is verified since the last checkpoint, and that balances follow from it. ``ok: false`` lists what was altered.
    Nothing is written: a worker makes a checkpoint every hour, and so does ``pacioli verify``, which decides everything anew.
    """
    full = request.args.get("full", "false")
    if full not in ("true", "false"):
        raise InvalidRequest([("full", "must be true or false")], ErrorCode.GEN_VALIDATION_ERROR)
    if full == "true":
        text = "is too much for a request; run `pacioli verify`, which recomputes the whole ledger"
        raise InvalidRequest([("full", text)], ErrorCode.GEN_VALIDATION_ERROR)
    if not _busy.acquire(blocking=False):
        raise TransientError("the ledger is being verified for another request; try again")
    try:
        ledger = service()
        report = verify_since_checkpoint(ledger.engine, key=ledger.chain_key, limit=VERIFIED)
    finally:
        _busy.release()
    note = None if report.complete else _UNFINISHED.format(report.to_sequence)
    return wire.answer(verification_of(report, note))


_UNFINISHED = (
    "stopped after sequence {}; run `pacioli verify --since-checkpoint`, or ask again when a worker has written the next "
    "checkpoint, to go on from there"
)
