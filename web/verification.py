"""``/verify``: verify what was written after the last checkpoint."""

from threading import Lock

from flask import Blueprint, Response, request

from core.base.errors import ErrorCode, InvalidRequest, TransientError
from core.verification import results
from core.verification.answers import Verification, verification_of
from core.verification.sealed import Known
from core.verification.verify import verify_since_checkpoint
from web.http import parameters, wire
from web.http.operations import operation
from web.service import service

blueprint = Blueprint("verification", __name__)

VERIFIED = 100_000
"""The number of rows of the log that one request verifies. They take some seconds."""

_busy = Lock()
"""Lets one request verify at a time, so that requests that post do not wait for many that verify."""


@blueprint.get("/verify")
@operation({200: Verification})
@parameters.takes(
    parameters.one_of(
        "full", ("false",), "false is the only value. The command pacioli verify checks everything from the start."
    )
)
def verify() -> Response:
    """Verify the ledger.

    The request verifies the hash chain since the last checkpoint, and that the balances follow from it. An answer with
    ``ok: false`` lists what was altered. Only a row of the audit log is written. A worker makes a checkpoint every hour, and so
    does ``pacioli verify``, which decides everything anew.
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
        report = verify_since_checkpoint(
            ledger.engine,
            key=ledger.chain_key.reveal() if ledger.chain_key else None,
            known=Known(keys=ledger.notary_public_key),
            limit=VERIFIED,
        )
    finally:
        _busy.release()
    results.record_asked(ledger.engine, results.Kind.CHECKPOINT, report)
    note = None if report.complete else _UNFINISHED.format(report.to_sequence)
    return wire.answer(verification_of(report, note))


_UNFINISHED = (
    "stopped after sequence {}; run `pacioli verify --since-checkpoint`, or ask again when a worker has written the next "
    "checkpoint, to go on from there"
)
