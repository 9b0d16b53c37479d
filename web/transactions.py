"""``/transactions``: submit, settle, read."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from flask import Blueprint, Response, request

from core import drain, intake, store
from core.errors import InvalidRequest, LedgerError, NotFound
from core.explain import WIRE_NAMES, blnk_text, sum_text
from core.ids import new_id
from core.intake import Submission
from core.model import Accepted, Draft, Kind, RejectReason, Status
from core.money import to_text
from core.requests import BulkRequest, SettleRequest, TransactionRequest
from core.store.db import reading
from core.store.transactions import TransactionRow
from web import wire
from web.errors import error_response
from web.service import Service, service

blueprint = Blueprint("transactions", __name__)

_DECIDED_BY = {
    RejectReason.NOT_INFLIGHT: "TXN_NOT_INFLIGHT",
    RejectReason.ALREADY_VOIDED: "TXN_ALREADY_VOIDED",
    RejectReason.ALREADY_COMMITTED: "TXN_ALREADY_COMMITTED",
    RejectReason.COMMIT_EXCEEDS_ORIGINAL: "TXN_COMMIT_AMOUNT_EXCEEDED",
    RejectReason.COMMIT_EXCEEDS_REMAINDER: "TXN_COMMIT_AMOUNT_EXCEEDED",
    RejectReason.INSUFFICIENT_FUNDS: "TXN_INSUFFICIENT_FUNDS",
    RejectReason.OVERDRAFT_LIMIT: "TXN_VALIDATION_ERROR",
    RejectReason.ATOMIC_GROUP: "TXN_VALIDATION_ERROR",
}
"""The error code of a rejection that ``skip_queue`` answers with."""


@blueprint.post("/transactions")
def create() -> Response:
    """Accept one transaction: 201 once it is in the log, 200 when the same one was there before."""
    asked = wire.body(TransactionRequest)
    wait_s = wire.wait_s()
    ledger = service()
    (draft,) = intake.draft_all([asked], ledger.directory)
    submission = Submission([draft])
    ledger.committer.submit(submission)
    (accepted,) = submission.accepted
    if asked.skip_queue or wait_s or accepted.replayed:
        return _answer_outcome(ledger, accepted, skip_queue=bool(asked.skip_queue), wait_s=wait_s)
    return wire.answer(_accepted_body(draft, accepted, asked), 201)


@blueprint.post("/transactions/bulk")
def create_bulk() -> Response:
    """Accept up to 10,000 transactions in one commit: all, or none if one of them is wrong."""
    asked = wire.body(BulkRequest)
    requests = _bulk_requests(asked)
    ledger = service()
    batch_id = new_id("bulk_")
    drafts = intake.draft_all(requests, ledger.directory, parent=batch_id, inflight=asked.inflight)
    intake.check_distinct_references(drafts)
    submission = Submission(drafts, atomic=bool(asked.atomic))
    try:
        ledger.committer.submit(submission)
    except LedgerError as error:
        error.details = {**(error.details or {}), "batch_id": batch_id}
        raise
    replayed = all(accepted.replayed for accepted in submission.accepted)
    if replayed:
        batch_id = submission.accepted[0].parent or batch_id
    if asked.skip_queue and not asked.run_async:
        _drain_all(ledger, submission.accepted)
        if failure := _bulk_failure(ledger, submission, batch_id):
            return failure
    decided = "inflight" if asked.inflight else "applied"
    status = decided if asked.skip_queue and not asked.run_async else "queued"
    body = {"batch_id": batch_id, "status": status, "transaction_count": len(drafts)}
    if asked.run_async:
        body |= {"status": "processing", "message": "Bulk transaction processing started"}
    response = wire.answer(body, 200 if replayed else 202 if asked.run_async else 201)
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


@blueprint.put("/transactions/inflight/<transaction_id>")
def settle(transaction_id: str) -> Response:
    """Commit a hold, in part or whole, or void what is left of it."""
    asked = wire.body(SettleRequest)
    if asked.dry_run:
        raise InvalidRequest([("dry_run", "is not available in this version; leave it out")])
    wait_s = wire.wait_s()
    ledger = service()
    with reading(ledger.engine) as conn:
        draft, hold = intake.draft_settlement(conn, transaction_id, asked)
    submission = Submission([draft])
    ledger.committer.submit(submission)
    (accepted,) = submission.accepted
    if asked.skip_queue:
        return _answer_outcome(ledger, accepted, skip_queue=True, wait_s=wait_s, created=200)
    if wait_s:
        ledger.waiting.wait(accepted.queue, accepted.seq, wait_s)
        hold = _find(ledger, transaction_id)
    return wire.answer({**body_of(hold), "queued": True, "child_transaction": accepted.transaction_id})


@blueprint.get("/transactions/<transaction_id>")
def read(transaction_id: str) -> Response:
    """One transaction as it is now, or, with ``?wait=``, as soon as it is decided."""
    wait_s = wire.wait_s()
    ledger = service()
    row = _find(ledger, transaction_id)
    if wait_s and row.status is Status.QUEUED:
        ledger.waiting.wait(row.queue, row.seq, wait_s)
        row = _find(ledger, transaction_id)
    return wire.answer(_read_body(ledger, row))


@blueprint.get("/transactions/reference/<rest:reference>")
def read_reference(reference: str) -> Response:
    """By the client's reference. ``R_q`` finds ``R``, for clients that know Blnk's queue copies."""
    ledger = service()
    with reading(ledger.engine) as conn:
        row = store.transactions.find_reference(conn, reference)
        if row is None and reference.endswith("_q"):
            row = store.transactions.find_reference(conn, reference.removesuffix("_q"))
    if row is None:
        raise NotFound("TXN_NOT_FOUND", f"Transaction with reference '{reference}' not found")
    return wire.answer(_read_body(ledger, row))


@blueprint.get("/transactions")
def read_page() -> Response:
    """A page, newest first, or with ``sort_order=asc`` a walk over the log in order of acceptance."""
    limit, offset = wire.limit_offset(default=20, largest=1000)
    after = wire.after_number("sequence of a transaction")
    ascending = request.args.get("sort_order", "desc").lower() == "asc"
    with reading(service().engine) as conn:
        rows = store.transactions.page(conn, limit=limit, offset=offset, after=after, ascending=ascending)
    response = wire.answer([body_of(row) for row in rows])
    return wire.next_link(response, rows[-1].seq if len(rows) == limit else None)


# Submitting


def _bulk_requests(asked: BulkRequest) -> list[TransactionRequest]:
    if not asked.transactions:
        raise InvalidRequest([("", "transactions cannot be empty")], "TXN_BULK_EMPTY")
    if len(asked.transactions) > intake.MAX_BULK:
        raise InvalidRequest([("", f"too many transactions; max is {intake.MAX_BULK}")], "TXN_BULK_LIMIT_EXCEEDED")
    if asked.dry_run:
        raise InvalidRequest([("dry_run", "is not available in this version; leave it out")])
    for index, item in enumerate(asked.transactions):
        if item is None:
            raise InvalidRequest([(f"transactions[{index}]", "is required")], details={"index": index})
    return [item for item in asked.transactions if item is not None]


def _answer_outcome(
    ledger: Service, accepted: Accepted, *, skip_queue: bool, wait_s: float, created: int = 201
) -> Response:
    """The transaction as it is, after draining its queue up to it, or after waiting, if either was asked for."""
    if skip_queue:
        _drain_all(ledger, [accepted])
    elif wait_s:
        ledger.waiting.wait(accepted.queue, accepted.seq, wait_s)
    row = _find(ledger, accepted.transaction_id)
    if accepted.replayed:
        response = wire.answer(_read_body(ledger, row))
        response.headers["Idempotent-Replayed"] = "true"
        return response
    rejection = row.rejection
    if not skip_queue or rejection is None:
        return wire.answer(_read_body(ledger, row), created)
    code = _DECIDED_BY[rejection.reason]
    text = blnk_text(rejection, row)
    if row.kind in (Kind.TRANSFER, Kind.HOLD):
        text = f"failed to apply transaction to balances: {text}"
    details = {"transaction_id": row.transaction_id, "rejection": _rejection_body(row)}
    return error_response(code, text, details=details)


def _drain_all(ledger: Service, accepted: Sequence[Accepted]) -> None:
    """Drain the queues of these transactions up to them, here and now. It does not jump the line."""
    last: dict[int, int] = {}
    for one in accepted:
        last[one.queue] = max(one.seq, last.get(one.queue, 0))
    for queue, seq in last.items():
        ledger.doorbell.ring(drain.drain_until(ledger.engine, queue, seq, announce=ledger.announce))


def _bulk_failure(ledger: Service, submission: Submission, batch_id: str) -> Response | None:
    """The first rejection of a drained bulk, in Blnk's words."""
    with reading(ledger.engine) as conn:
        rows = store.transactions.find_seqs(conn, [accepted.seq for accepted in submission.accepted])
    rejected = [row for row in rows if row.rejection is not None]
    row = next((r for r in rejected if r.reason != RejectReason.ATOMIC_GROUP), rejected[0] if rejected else None)
    if row is None or row.rejection is None:
        return None
    number = next(i for i, one in enumerate(submission.accepted, 1) if one.seq == row.seq)
    end = (
        "No transaction of this batch was applied."
        if submission.atomic
        else "Previous transactions were not rolled back."
    )
    text = (
        f"failed to queue transaction {number} (Reference: {row.reference}, Source: {_id_of(row.source)}, "
        f"Destination: {_id_of(row.destination)}, Amount: {to_text(row.amount, row.precision)}): "
        f"{blnk_text(row.rejection, row)}. {end}"
    )
    details = {"batch_id": batch_id, "rejected": len(rejected), "first": _rejection_body(row)}
    return error_response(_DECIDED_BY[row.rejection.reason], text, details=details, extra={"batch_id": batch_id})


# Reading


def _find(ledger: Service, transaction_id: str) -> TransactionRow:
    with reading(ledger.engine) as conn:
        row = store.transactions.find(conn, transaction_id)
    if row is None:
        raise NotFound("TXN_NOT_FOUND", f"Transaction with ID '{transaction_id}' not found")
    return row


def _read_body(ledger: Service, row: TransactionRow) -> dict[str, Any]:
    """The body of one transaction, with its place in line while it has no outcome."""
    if row.status is not Status.QUEUED:
        return body_of(row)
    with reading(ledger.engine) as conn:
        line = store.transactions.line_of(conn, row)
    if line.ahead:
        waiting_for = f"the {line.ahead} ahead of it in queue {line.queue}"
    elif line.waits_for_queues:
        waiting_for = f"earlier credits to its source in queue {', '.join(map(str, line.waits_for_queues))}"
    else:
        waiting_for = "a worker"
    queue = {
        "number": line.queue,
        "position": line.ahead + 1,
        "ahead": line.ahead,
        "oldest_age_s": round(line.oldest_age_s, 3),
        "waiting_for": waiting_for,
    }
    return {**body_of(row), "queue": queue}


def body_of(row: TransactionRow) -> dict[str, Any]:
    """The transaction object of Blnk, with what Pacioli adds at its end."""
    body = _body(
        transaction_id=row.transaction_id,
        amount=row.amount,
        precision=row.precision,
        overdraft_limit=row.overdraft_limit,
        parent=row.parent,
        source=_id_of(row.source),
        destination=_id_of(row.destination),
        reference=row.reference,
        currency=row.currency,
        description=row.description,
        status=row.status,
        allow_overdraft=row.allow_overdraft,
        inflight=row.inflight,
        hashed=(row.requested, row.source_key, row.destination_key),
        atomic=row.group_first is not None,
        accepted_at=row.accepted_at,
        effective_date=row.effective_date,
        meta_data=row.meta_data,
        sequence=row.seq,
    )
    if row.rejection is not None:
        body["rejection"] = _rejection_body(row)
        meta_data = msgspec.json.decode(row.meta_data, type=dict[str, msgspec.Raw]) if row.meta_data else {}
        body["meta_data"] = {**meta_data, "blnk_rejection_reason": blnk_text(row.rejection, row)}
    hold = row.hold
    if hold is not None:
        body["inflight_amounts"] = {"committed": hold.committed, "voided": hold.voided, "remaining": hold.remaining}
    body["timeline"] = _timeline(row)
    return body


def _timeline(row: TransactionRow) -> list[dict[str, Any]]:
    timeline = [{"status": Status.QUEUED, "at": row.accepted_at}]
    if row.outcome is not None and row.decided_at is not None:
        decided = Status.INFLIGHT if row.hold is not None else row.status
        timeline.append({"status": decided, "at": row.decided_at})
    if row.settled_at is not None:
        timeline.append({"status": row.status, "at": row.settled_at})
    return timeline


def _rejection_body(row: TransactionRow) -> dict[str, Any]:
    """The sum that did not work out, in minor units."""
    rejection = row.rejection
    assert rejection is not None
    return {
        "reason": WIRE_NAMES[rejection.reason],
        "message": sum_text(rejection, row),
        "available": rejection.available,
        "requested": rejection.requested,
        "held": rejection.held,
        "overdraft_limit": rejection.overdraft_limit,
        "short_by": rejection.short_by,
    }


def _accepted_body(draft: Draft, accepted: Accepted, asked: TransactionRequest) -> dict[str, Any]:
    """The answer to a fresh submission, made without reading it back. Names stay as they were sent, as in Blnk."""
    return {
        **_body(
            transaction_id=accepted.transaction_id,
            amount=draft.amount,
            precision=draft.precision,
            overdraft_limit=draft.overdraft_limit,
            parent=draft.parent,
            source=asked.source or "",
            destination=asked.destination or "",
            reference=draft.reference,
            currency=draft.currency,
            description=draft.description,
            status=Status.QUEUED,
            allow_overdraft=draft.allow_overdraft,
            inflight=draft.kind == Kind.HOLD,
            hashed=(draft.amount, draft.source, draft.destination),
            atomic=bool(asked.atomic),
            accepted_at=accepted.accepted_at,
            effective_date=draft.effective_date,
            meta_data=draft.meta_data,
            sequence=accepted.seq,
        ),
        "timeline": [{"status": Status.QUEUED, "at": accepted.accepted_at}],
    }


def _body(
    *,
    transaction_id: str,
    amount: int,
    precision: int,
    overdraft_limit: int | None,
    parent: str | None,
    source: str,
    destination: str,
    reference: str,
    currency: str,
    description: str,
    status: Status,
    allow_overdraft: bool,
    inflight: bool,
    hashed: tuple[int, int, int],
    atomic: bool,
    accepted_at: datetime,
    effective_date: datetime | None,
    meta_data: str | None,
    sequence: int,
) -> dict[str, Any]:
    text = to_text(amount, precision)
    body: dict[str, Any] = {
        "precise_amount": amount,
        "amount": msgspec.Raw(text.encode()),
        "amount_string": text,
        "precision": precision,
        "overdraft_limit": None
        if overdraft_limit is None
        else msgspec.Raw(to_text(overdraft_limit, precision).encode()),
        "transaction_id": transaction_id,
        "parent_transaction": parent or "",
        "source": source,
        "destination": destination,
        "reference": reference,
        "currency": currency,
        "description": description,
        "status": status,
        "hash": _hash(transaction_id, reference, precision, currency, *hashed),
        "allow_overdraft": allow_overdraft,
        "inflight": inflight,
        "skip_queue": False,
        "atomic": atomic,
        "created_at": accepted_at,
        "effective_date": effective_date or accepted_at,
        "scheduled_for": wire.ZERO_TIME,
        "inflight_expiry_date": wire.ZERO_TIME,
        "inflight_commit_date": wire.ZERO_TIME,
    }
    if meta_data is not None:
        body["meta_data"] = msgspec.Raw(meta_data.encode())
    body["sequence"] = sequence
    return body


def _hash(*values: object) -> str:
    """SHA-256 over what was accepted and never changes, each with its length before it, so that no two lists run together."""
    parts = [str(value) for value in values]
    return hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()


def _id_of(key: object) -> str:
    return f"bln_{key}"
