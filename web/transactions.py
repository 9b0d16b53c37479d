"""``/transactions``: submit, read, cancel."""

from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response

from core.base.db import begin, reading
from core.base.errors import Conflict, InvalidRequest, LedgerError, NotFound
from core.base.ids import new_id
from core.base.money import to_text
from core.ledger import intake
from core.ledger.append import Submission
from core.ledger.explain import blnk_text
from core.ledger.rules.model import Status
from core.ledger.rules.requests import BulkRequest, TransactionRequest
from core.ledger.settling import BATCH_PREFIX, is_batch
from core.ledger.store import due as due_store
from core.ledger.store import transactions as transaction_store
from core.lists import query
from core.lists.filters import TRANSACTIONS
from web import previews
from web.accept.outcomes import CODES, answer_outcome, drain_all, find, first_rejected, places_of, wait_all
from web.http import pages as lists
from web.http import wire
from web.http.errors import error_response
from web.service import Service, service
from web.transaction_body import accepted_body, body_of, id_of, read_body, rejection_body

blueprint = Blueprint("transactions", __name__)


@blueprint.post("/transactions")
def create() -> Response:
    """Accept one transaction: 201 once it is in the log, 200 when the same one was there before."""
    asked = wire.body(TransactionRequest)
    wait_s = wire.wait_s()
    ledger = service()
    if asked.dry_run:
        return previews.create(ledger, asked)
    (draft,) = intake.draft_all([asked], ledger.directory)
    submission = Submission([draft])
    ledger.committer.submit(submission)
    (accepted,) = submission.accepted
    if asked.skip_queue or wait_s or accepted.replayed:
        return answer_outcome(ledger, submission, skip_queue=bool(asked.skip_queue), wait_s=wait_s)
    return wire.answer(accepted_body(draft, accepted, asked), 201)


@blueprint.post("/transactions/bulk")
def create_bulk() -> Response:
    """Accept up to 10,000 transactions in one commit: all, or none if one of them is wrong."""
    asked = wire.body(BulkRequest)
    requests = _bulk_requests(asked)
    ledger = service()
    batch_id = new_id(BATCH_PREFIX)
    atomic = bool(asked.atomic)
    if asked.dry_run:
        return previews.bulk(ledger, requests, inflight=asked.inflight, atomic=atomic, batch_id=batch_id)
    drafts = intake.draft_all(requests, ledger.directory, parent=batch_id, inflight=asked.inflight)
    intake.check_distinct_references(drafts)
    scheduled = next((index for index, draft in enumerate(drafts) if draft.due_at is not None), None)
    if scheduled is not None and (atomic or asked.skip_queue):
        text = "cannot wait for a date in a batch that is decided as one, or now; leave out atomic and skip_queue"
        field = f"transactions[{scheduled}].scheduled_for"
        raise InvalidRequest([(field, text)], details={"index": scheduled})
    submission = Submission(drafts, atomic=atomic)
    try:
        ledger.committer.submit(submission)
    except LedgerError as error:
        error.details = {**(error.details or {}), "batch_id": batch_id}
        raise
    replayed = all(accepted.replayed for accepted in submission.accepted)
    if replayed:
        batch_id = submission.accepted[0].parent or batch_id
    if asked.skip_queue and not asked.run_async:
        drain_all(ledger, [submission])
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


@blueprint.get("/transactions/<transaction_id>")
def read(transaction_id: str) -> Response:
    """One transaction, or a whole batch, as it is now; with ``?wait=``, as soon as it is decided."""
    wait_s = wire.wait_s()
    ledger = service()
    if is_batch(transaction_id):
        return _read_batch(ledger, transaction_id, wait_s)
    row = find(ledger, transaction_id)
    if wait_s and row.status is Status.QUEUED:
        wait_all(ledger, places_of(ledger, row), wait_s)
        row = find(ledger, transaction_id)
    return wire.answer(read_body(ledger, row))


@blueprint.get("/transactions/<transaction_id>/lineage")
def read_lineage(transaction_id: str) -> Response:
    """The shadow transactions of a transaction: none, as no balance tracks where its money came from in this version."""
    return wire.answer({"transaction_id": find(service(), transaction_id).transaction_id, "shadow_transactions": []})


@blueprint.delete("/transactions/<transaction_id>")
def cancel(transaction_id: str) -> Response:
    """Cancel a transaction that is SCHEDULED: it becomes VOID, and is never accepted into the log."""
    ledger = service()
    with begin(ledger.engine) as conn:
        due_store.cancel(conn, transaction_id)
    row = find(ledger, transaction_id)
    if row.seq:
        text = f"only a SCHEDULED transaction can be cancelled, and this one is {row.status}"
        raise Conflict("GEN_CONFLICT", text, {"status": row.status})
    return wire.answer(body_of(row))


@blueprint.get("/transactions/reference/<rest:reference>")
def read_reference(reference: str) -> Response:
    """By the client's reference. ``R_q`` finds ``R``, for clients that know Blnk's queue copies."""
    ledger = service()
    with reading(ledger.engine) as conn:
        row = transaction_store.find_reference(conn, reference)
        if row is None and reference.endswith("_q"):
            row = transaction_store.find_reference(conn, reference.removesuffix("_q"))
    if row is None:
        raise NotFound("TXN_NOT_FOUND", f"Transaction with reference '{reference}' not found")
    return wire.answer(read_body(ledger, row))


@blueprint.get("/transactions")
def read_page() -> Response:
    """A page, newest first, or with ``sort_order=asc`` a walk over the log in order of acceptance.

    Any ``field_operator=value`` is a filter, such as ``status_eq=QUEUED`` or ``created_at_gte=2026-04-22``. What is
    SCHEDULED is not in the log yet, and is listed when the filter's status names it.
    """
    return lists.answer(lists.in_query(TRANSACTIONS, default=20), *_LIST)


@blueprint.post("/transactions/filter")
def read_filtered() -> Response:
    """A page of the transactions that match. What is SCHEDULED is listed when the filter's status names it."""
    return lists.answer(lists.in_body(TRANSACTIONS), *_LIST)


_LIST = (query.find_transactions, body_of, lambda row: row.seq or row.transaction_id)


def batch_body(ledger: Service, batch_id: str) -> dict[str, Any]:
    """What a bulk has come to: its transactions by status, progress and rate.

    Raises:
        NotFound: there is no such batch.
    """
    with reading(ledger.engine) as conn:
        batch = transaction_store.batch(conn, batch_id)
    if batch is None:
        raise NotFound("TXN_NOT_FOUND", f"Transaction with ID '{batch_id}' not found")
    waiting = batch.by_status.get(Status.QUEUED, 0) + batch.by_status.get(Status.SCHEDULED, 0)
    decided = batch.transactions - waiting
    until = batch.decided_at if not waiting and batch.decided_at is not None else datetime.now(UTC)
    seconds = max((until - batch.accepted_at).total_seconds(), 0.001)
    return {
        "batch_id": batch_id,
        "transaction_id": batch_id,
        "status": _batch_status(batch.by_status),
        "inflight": batch.inflight,
        "transaction_count": batch.transactions,
        "counts": {status: batch.by_status.get(status, 0) for status in Status},
        "decided": decided,
        "progress": round(decided / batch.transactions, 4),
        "rate": round(decided / seconds, 1),
        "created_at": batch.accepted_at,
        "decided_at": batch.decided_at if not waiting else None,
    }


def _batch_status(by_status: dict[Status, int]) -> Status:
    """What is still to come first; then what moved money."""
    order = (Status.QUEUED, Status.SCHEDULED, Status.INFLIGHT, Status.APPLIED, Status.VOID, Status.REJECTED)
    return next(status for status in order if by_status.get(status))


def _read_batch(ledger: Service, batch_id: str, wait_s: float) -> Response:
    body = batch_body(ledger, batch_id)
    if wait_s and body["counts"][Status.QUEUED]:
        with reading(ledger.engine) as conn:
            places = transaction_store.last_places(conn, batch_id)
        wait_all(ledger, places, wait_s)
        body = batch_body(ledger, batch_id)
    return wire.answer(body)


def _bulk_requests(asked: BulkRequest) -> list[TransactionRequest]:
    if not asked.transactions:
        raise InvalidRequest([("", "transactions cannot be empty")], "TXN_BULK_EMPTY")
    if len(asked.transactions) > intake.MAX_BULK:
        raise InvalidRequest([("", f"too many transactions; max is {intake.MAX_BULK}")], "TXN_BULK_LIMIT_EXCEEDED")
    for index, item in enumerate(asked.transactions):
        if item is None:
            raise InvalidRequest([(f"transactions[{index}]", "is required")], details={"index": index})
    return [item for item in asked.transactions if item is not None]


def _bulk_failure(ledger: Service, submission: Submission, batch_id: str) -> Response | None:
    """The first rejection of a drained bulk, in Blnk's words."""
    with reading(ledger.engine) as conn:
        rows = transaction_store.find_seqs(conn, [one.seq for one in submission.postings()])
    _, row = first_rejected(rows)
    if row is None or row.rejection is None:
        return None
    number = next(
        i for i, one in enumerate(submission.accepted, 1) if row.seq in {one.seq, *(leg.seq for leg in one.legs)}
    )
    end = (
        "No transaction of this batch was applied."
        if submission.atomic
        else "Previous transactions were not rolled back."
    )
    text = (
        f"failed to queue transaction {number} (Reference: {row.reference}, Source: {id_of(row.source)}, "
        f"Destination: {id_of(row.destination)}, Amount: {to_text(row.amount, row.precision)}): "
        f"{blnk_text(row.rejection, row)}. {end}"
    )
    details = {
        "batch_id": batch_id,
        "rejected": sum(r.rejection is not None for r in rows),
        "first": rejection_body(row),
    }
    return error_response(CODES[row.rejection.reason], text, details=details, extra={"batch_id": batch_id})
