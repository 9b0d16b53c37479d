"""``/transactions``: submit, read, cancel."""

from collections.abc import Sequence
from functools import partial

from flask import Blueprint, Response
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from core.base.actors import reach_of_request
from core.base.db import begin, reading
from core.base.decoding import Unread
from core.base.errors import Conflict, ErrorCode, InvalidRequest, LedgerError
from core.base.ids import new_id
from core.base.money import to_text
from core.base.problems import refusal
from core.ledger import batch_answers, dry_run_answers, due, intake, lookup
from core.ledger.answers import (
    Lineage,
    Transaction,
    TransactionPage,
    Warning,
    accepted_of,
    balance_id,
    echo_of,
    rejection_of,
    transaction_of,
)
from core.ledger.append import Submission
from core.ledger.batch_answers import BatchAccepted, BulkStatus, warnings_of_batch
from core.ledger.batches import is_batch
from core.ledger.dry_run import Imagined
from core.ledger.dry_run_answers import BulkDryRun, DryRunAnswer
from core.ledger.explain import CODES, blnk_text
from core.ledger.intake import Batch
from core.ledger.plain import PlainBulk, PlainTransfer, draft_bulk, read_plain
from core.ledger.rules.model import BATCH_PREFIX, Accepted, Draft, Status
from core.ledger.rules.requests import BulkRequest, TransactionRequest
from core.ledger.store import families as family_store
from core.ledger.store import transactions as transaction_store
from core.ledger.store.transaction_list import TRANSACTIONS, find_transactions
from core.ledger.store.transaction_rows import TransactionRow
from core.lists.requests import FilterRequest
from web.http import later, parameters, retries, wire
from web.http import pages as lists
from web.http.errors import error_response
from web.http.later import Later, Work
from web.http.operations import operation
from web.outcomes import (
    answer_at_once,
    answer_outcome,
    answer_shared,
    drain_all,
    first_rejected,
    legs_of_replayed,
    places_of,
    wait_all,
)
from web.service import Service, service

blueprint = Blueprint("transactions", __name__)


@blueprint.post("/transactions")
@operation({201: Transaction, 200: Transaction | DryRunAnswer}, 404, 409, 422, body=TransactionRequest)
@parameters.takes(parameters.WAIT)
@retries.once
def create() -> Response:
    """Create a transaction.

    The status is 201 when the transaction is in the log, and 200 when the same transaction was there before.
    """
    asked, unread = wire.read(TransactionRequest)
    if asked.reference is None:
        asked.reference = retries.reference()
    wait_s = parameters.wait_s()
    ledger = service()
    if asked.dry_run:
        imagined = Imagined(ledger.directory)
        (draft,) = intake.draft_all([asked], imagined, unread=unread)
        if ledger.vetoes.wanted():
            ledger.vetoes.ask([draft], [asked], dry_run=True)
        tried = dry_run_answers.transaction(ledger.engine, draft, imagined)
        return wire.answer(replace(tried, warnings=echo_of(asked).warnings))
    if ledger.vetoes.wanted():
        ledger.vetoes.ask(intake.draft_all([asked], Imagined(ledger.directory), unread=unread), [asked])
    (draft,) = intake.draft_all([asked], ledger.directory, unread=unread)
    submission = Submission([draft], decide_now=bool(asked.skip_queue))

    def quick() -> Response | None:
        if submission.error is not None:
            raise submission.error
        (accepted,) = submission.accepted
        if answer := answer_at_once(ledger, submission, asked):
            return answer
        if asked.skip_queue or wait_s or accepted.replayed:
            return None
        return wire.answer(accepted_of(draft, accepted, asked), 201)

    def slow() -> Response:
        return answer_outcome(ledger, submission, echo_of(asked), wait_s=wait_s)

    if wait_s or not later.is_offered(wire.environ()):
        ledger.committer.submit(submission)
        return quick() or slow()
    return Later(Work(partial(ledger.committer.submit_later, submission), quick, slow))


@blueprint.post("/transactions/bulk")
@operation({201: BatchAccepted, 202: BatchAccepted, 200: BatchAccepted | BulkDryRun}, 404, 409, 422, body=BulkRequest)
@retries.once
def create_bulk() -> Response:
    """Create a batch of transactions.

    Up to 10,000 transactions are accepted in one commit. If one of them is wrong, none is accepted.
    """
    data = wire.json_body()
    ledger, batch_id = service(), new_id(BATCH_PREFIX)
    if plain := _plain_bulk(ledger, data, batch_id):
        return _submit_bulk(ledger, *plain, batch_id)
    asked, unread = wire.decoded(BulkRequest, data)
    requests = _bulk_requests(asked, unread)
    _name(requests)
    atomic = bool(asked.atomic)
    batch = Batch(batch_id, atomic or bool(asked.skip_queue))
    warnings = warnings_of_batch(requests)
    if asked.dry_run:
        imagined = Imagined(ledger.directory)
        drafts = intake.draft_all(requests, imagined, batch=batch, unread=unread)
        if ledger.vetoes.wanted():
            ledger.vetoes.ask(drafts, requests, dry_run=True)
        tried = dry_run_answers.bulk(ledger.engine, drafts, imagined, atomic=atomic)
        return wire.answer(replace(tried, warnings=warnings))
    if ledger.vetoes.wanted():
        imagined = Imagined(ledger.directory)
        ledger.vetoes.ask(intake.draft_all(requests, imagined, batch=batch, unread=unread), requests)
    drafts = intake.draft_all(requests, ledger.directory, batch=batch, unread=unread)
    return _submit_bulk(ledger, asked, drafts, batch_id, warnings)


@blueprint.get("/transactions/<transaction_id>")
@operation({200: Transaction | batch_answers.Batch}, 404)
@parameters.takes(parameters.WAIT)
def read(transaction_id: str) -> Response:
    """Read a transaction.

    The answer is a transaction or a whole batch, as it is now. With ``?wait=`` it comes as soon as the transaction is decided.
    """
    wait_s = parameters.wait_s()
    ledger = service()
    if is_batch(transaction_id):
        return _read_batch(ledger, transaction_id, wait_s)
    if wait_s or reach_of_request().bounds_balances:
        row = lookup.find(ledger.engine, transaction_id)
        if wait_s and row.status is Status.QUEUED:
            wait_all(ledger, places_of(ledger, row), wait_s)
            row = lookup.find(ledger.engine, transaction_id)
        return wire.answer(lookup.whole(ledger.engine, row))

    def quick(row: TransactionRow | None) -> Response | None:
        row = lookup.there(row, transaction_id)
        return wire.answer(transaction_of(row)) if lookup.is_whole(row) else None

    def slow(row: TransactionRow | None) -> Response:
        return wire.answer(lookup.whole(ledger.engine, lookup.there(row, transaction_id)))

    return answer_shared(ledger.transactions, transaction_id, quick, slow)


@blueprint.get("/transactions/<transaction_id>/lineage")
@operation({200: Lineage}, 404)
def read_lineage(transaction_id: str) -> Response:
    """Read the lineage of a transaction.

    The list of shadow transactions is empty, because no balance tracks where its money came from in this version.
    """
    row = lookup.find(service().engine, transaction_id)
    return wire.answer(Lineage(transaction_id=row.transaction_id, shadow_transactions=[]))


@blueprint.delete("/transactions/<transaction_id>")
@operation({200: Transaction}, 404, 409)
def cancel(transaction_id: str) -> Response:
    """Cancel a scheduled transaction.

    The transaction becomes VOID, and is never accepted into the log.
    """
    ledger = service()
    with begin(ledger.engine) as conn:
        due.cancel(conn, transaction_id)
    row = lookup.find(ledger.engine, transaction_id)
    if row.seq:
        text = f"only a SCHEDULED transaction can be cancelled, and this one is {row.status}"
        raise Conflict(ErrorCode.GEN_CONFLICT, text, {"status": row.status})
    return wire.answer(transaction_of(row))


@blueprint.get("/transactions/reference/<rest:reference>")
@operation({200: Transaction}, 404)
def read_reference(reference: str) -> Response:
    """Read a transaction by its reference.

    The reference ``R_q`` finds ``R``, for clients that know Blnk's queue copies.
    """
    ledger = service()
    row = lookup.find_reference(ledger.engine, reference)
    return wire.answer(lookup.whole(ledger.engine, row))


@blueprint.get("/transactions")
@operation({200: list[Transaction] | TransactionPage})
@parameters.takes(*parameters.page_of(TRANSACTIONS, example="5"), resource=TRANSACTIONS)
def read_page() -> Response:
    """List transactions.

    The newest transaction comes first. With ``sort_order=asc`` the list follows the log in order of acceptance. Each
    ``field_operator=value`` is a filter, such as ``status_eq=QUEUED`` or ``created_at_gte=2026-04-22``. A SCHEDULED transaction
    is not in the log yet, so it is listed only when the filter on the status names it.
    """
    return lists.answer(lists.in_query(parameters.of_view(read_page), default=20), *_LIST)


@blueprint.post("/transactions/filter")
@operation({200: list[Transaction] | TransactionPage}, body=FilterRequest, filters=TRANSACTIONS)
@parameters.takes(parameters.after("5"))
def read_filtered() -> Response:
    """Filter transactions.

    The answer is a page of the transactions that match. A SCHEDULED transaction is listed only when the filter on the status
    names it.
    """
    return lists.answer(lists.in_body(TRANSACTIONS), *_LIST)


_LIST = (find_transactions, transaction_of, lambda row: row.seq or row.transaction_id, TransactionPage)


def _read_batch(ledger: Service, batch_id: str, wait_s: float) -> Response:
    batch = lookup.batch(ledger.engine, batch_id)
    if wait_s and batch.counts[Status.QUEUED]:
        with reading(ledger.engine) as conn:
            places = family_store.last_positions(conn, batch_id)
        wait_all(ledger, places, wait_s)
        batch = lookup.batch(ledger.engine, batch_id)
    return wire.answer(batch)


def _plain_bulk(ledger: Service, data: bytes, batch_id: str) -> tuple[PlainBulk, Sequence[Draft]] | None:
    """Read and draft a bulk of plain transfers. Returns None for any other, and where something may be wrong."""
    bulk = read_plain(data)
    if bulk is None or len(bulk.transactions) > intake.MAX_BULK or ledger.vetoes.wanted():
        return None
    _name(bulk.transactions)
    drafts = draft_bulk(bulk, ledger.directory, batch_id)
    return None if drafts is None else (bulk, drafts)


def _bulk_requests(asked: BulkRequest, unread: Sequence[Unread]) -> list[TransactionRequest | None]:
    """Return the requests of a bulk. ``inflight`` of the bulk, if given, applies to each of them."""
    if unread and not asked.transactions:
        raise refusal(unread, [("transactions", "cannot be empty")], ErrorCode.TXN_BULK_EMPTY)
    if not asked.transactions:
        text = "transactions cannot be empty"
        raise InvalidRequest([("transactions", "cannot be empty")], ErrorCode.TXN_BULK_EMPTY, message=text)
    if len(asked.transactions) > intake.MAX_BULK:
        text = f"too many transactions; max is {intake.MAX_BULK}"
        raise InvalidRequest([("transactions", text)], ErrorCode.TXN_BULK_LIMIT_EXCEEDED, message=text)
    if asked.inflight is not None:
        for request in asked.transactions:
            if request is not None:
                request.inflight = asked.inflight
    return asked.transactions


def _name(requests: Sequence[TransactionRequest | PlainTransfer | None]) -> None:
    """Give references to those that have none, if the request has a key that does."""
    if common := retries.reference():
        for number, request in enumerate(requests, 1):
            if request is not None and request.reference is None:
                request.reference = f"{common}_{number}"


def _submit_bulk(
    ledger: Service,
    asked: PlainBulk | BulkRequest,
    drafts: Sequence[Draft],
    batch_id: str,
    warnings: list[Warning] | UnsetType = UNSET,
) -> Response:
    """Submit the drafts of a bulk, and answer when they are accepted, or with ``skip_queue`` when they are decided."""
    decide_now = bool(asked.skip_queue and not asked.run_async)
    submission = Submission(drafts, atomic=bool(asked.atomic), decide_now=decide_now, batch_id=batch_id)
    try:
        ledger.committer.submit(submission)
    except LedgerError as error:
        error.details = {**(error.details or {}), "batch_id": batch_id}
        raise
    before = [accepted for accepted in submission.accepted if accepted.replayed]
    replayed = len(before) == len(drafts)
    named = _batch_of(before) if replayed else batch_id
    if decide_now:
        drain_all(ledger, [submission])
        if failure := _bulk_failure(ledger, submission, named):
            return failure
    answer = BatchAccepted(
        batch_id=named,
        status=_bulk_status(asked),
        transaction_count=len(drafts),
        accepted_before=UNSET if replayed or not before else len(before),
        message="Bulk transaction processing started" if asked.run_async else UNSET,
        warnings=warnings,
    )
    response = wire.answer(answer, 200 if replayed else 202 if asked.run_async else 201)
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def _bulk_status(asked: PlainBulk | BulkRequest) -> BulkStatus:
    """Return what the answer to a bulk that was accepted calls its status, in Blnk's words."""
    if asked.run_async:
        return "processing"
    if not asked.skip_queue:
        return "queued"
    return "inflight" if asked.inflight else "applied"


def _batch_of(accepted: Sequence[Accepted]) -> str | None:
    """Return the batch that all these transactions were accepted in, or None if they came in several ways."""
    parent, *others = {one.parent for one in accepted}
    return parent if parent is not None and not others and is_batch(parent) else None


def _bulk_failure(ledger: Service, submission: Submission, batch_id: str | None) -> Response | None:
    """Answer with the first rejection of a drained bulk, in Blnk's words."""
    doubtful, legs = submission.may_have_failed(), legs_of_replayed(ledger, [submission])
    if not doubtful and not legs:
        return None
    with reading(ledger.engine) as conn:
        rows = transaction_store.find_seqs(conn, [one.seq for one in doubtful]) + legs
    _, row = first_rejected(rows)
    if row is None or row.rejection is None:
        return None
    number = next(
        i
        for i, one in enumerate(submission.accepted, 1)
        if row.seq in {one.seq, *(leg.seq for leg in one.legs)} or row.parent == one.transaction_id
    )
    end = (
        "No transaction of this batch was applied."
        if submission.atomic
        else "Previous transactions were not rolled back."
    )
    text = (
        f"failed to queue transaction {number} (Reference: {row.reference}, Source: {balance_id(row.source)}, "
        f"Destination: {balance_id(row.destination)}, Amount: {to_text(row.amount, row.precision)}): "
        f"{blnk_text(row.rejection, row)}. {end}"
    )
    details = {
        "batch_id": batch_id,
        "rejected": sum(r.rejection is not None for r in rows),
        "first": rejection_of(row),
    }
    return error_response(CODES[row.rejection.reason], text, details=details, batch_id=batch_id or UNSET)
