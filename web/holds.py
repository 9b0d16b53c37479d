"""``/transactions/inflight``: commit and void holds, one by one or many at once."""

from collections.abc import Sequence

import msgspec
from flask import Blueprint, Response
from msgspec import UNSET

from core.base.db import reading
from core.base.errors import ErrorCode, InvalidRequest, LedgerError
from core.ledger import batches, dry_run_answers, holds, lookup
from core.ledger.answers import (
    Echo,
    Transaction,
    Warning,
    transaction_of,
    warnings_of_part,
)
from core.ledger.append import Submission
from core.ledger.batch_answers import Batch, SettledItem, Settlements
from core.ledger.dry_run_answers import BulkDryRun, DryRunAnswer
from core.ledger.explain import CODES, blnk_text
from core.ledger.rules.model import Draft, RejectReason, Status
from core.ledger.rules.requests import BulkCommitRequest, BulkSettlement, BulkVoidRequest, SettleRequest
from core.ledger.rules.validation import REPEATABLE, is_partial
from core.ledger.store import transactions as transaction_store
from core.ledger.store.transaction_rows import TransactionRow
from web.http import parameters, retries, wire
from web.http.operations import operation
from web.outcomes import (
    answer_outcome,
    drain_all,
    first_rejected,
    last_of_each_queue,
    rejected,
    wait_all,
)
from web.service import Service, service

blueprint = Blueprint("holds", __name__)

MAX_BULK_SETTLEMENTS = 100

_ITEM_CODES = {
    ErrorCode.TXN_NOT_FOUND: "NOT_FOUND",
    ErrorCode.TXN_ALREADY_VOIDED: "ALREADY_VOIDED",
    ErrorCode.TXN_ALREADY_COMMITTED: "ALREADY_COMMITTED",
    ErrorCode.TXN_NOT_INFLIGHT: "NOT_INFLIGHT",
    ErrorCode.TXN_COMMIT_AMOUNT_EXCEEDED: "INVALID_AMOUNT",
    ErrorCode.TXN_INVALID_AMOUNT: "INVALID_AMOUNT",
    ErrorCode.GEN_BAD_REQUEST: "INVALID_AMOUNT",
    ErrorCode.TXN_VALIDATION_ERROR: "INVALID_AMOUNT",
}
"""The codes that Blnk gives the items of a bulk commit or void."""


@blueprint.put("/transactions/inflight/<transaction_id>")
@operation({200: Transaction | Batch | DryRunAnswer}, 404, 409, body=SettleRequest)
@parameters.takes(parameters.WAIT)
@retries.once
def settle(transaction_id: str) -> Response:
    """Commit or void a hold.

    A commit moves the held money, in part or whole. A void releases the rest of it. A split or batch is settled whole, or in
    proportion.
    """
    asked, unread = wire.read(SettleRequest)
    if asked.reference is None:
        asked.reference = retries.reference()
    wait_s = parameters.wait_s()
    ledger = service()
    try:
        with reading(ledger.engine) as conn:
            drafts = holds.draft_settlements(conn, transaction_id, asked, unread)
    except LedgerError as error:
        if asked.dry_run and error.code in dry_run_answers.FORBIDDEN_NOW:
            with reading(ledger.engine) as conn:
                return wire.answer(dry_run_answers.refused(conn, transaction_id, asked, error))
        raise
    if asked.dry_run:
        return wire.answer(dry_run_answers.settlement(ledger.engine, asked, drafts))
    submission = Submission(drafts, atomic=drafts[0].atomic, decide_now=bool(asked.skip_queue))
    ledger.committer.submit(submission)
    one_hold = drafts[0].row.parent == transaction_id
    if asked.skip_queue and one_hold:
        return answer_outcome(ledger, submission, Echo(True, warnings_of_part(asked)), wait_s=wait_s, created=200)
    if asked.skip_queue:
        drain_all(ledger, [submission])
        if failure := _failure(ledger, submission):
            return failure
    elif wait_s:
        wait_all(ledger, last_of_each_queue(ledger, [submission]), wait_s)
    return _settled(ledger, transaction_id, submission, asked)


@blueprint.post("/transactions/inflight/bulk/commit")
@operation({200: Settlements | BulkDryRun}, 404, 409, body=BulkCommitRequest)
@retries.once
def commit_bulk() -> Response:
    """Commit a batch of holds.

    A request has up to 100 holds. Each hold is committed by itself.
    """
    asked = wire.body(BulkCommitRequest)
    items = asked.transactions
    _check_size(items, "transactions")
    assert items is not None
    return _settle_bulk([_Item(item, "commit") for item in items], asked)


@blueprint.post("/transactions/inflight/bulk/void")
@operation({200: Settlements | BulkDryRun}, 404, 409, body=BulkVoidRequest)
@retries.once
def void_bulk() -> Response:
    """Void a batch of holds.

    A request has up to 100 holds. The rest of each hold is released by itself.
    """
    asked = wire.body(BulkVoidRequest)
    items = asked.transaction_ids
    _check_size(items, "transaction_ids")
    assert items is not None
    return _settle_bulk([_Item(BulkSettlement(item), "void") for item in items], asked)


def _settled(ledger: Service, transaction_id: str, submission: Submission, asked: SettleRequest) -> Response:
    """Answer with the present state of what was settled, and the IDs of its settlements."""
    queued = not asked.skip_queue
    children = [one.transaction_id for one in submission.accepted]
    found: Transaction | Batch
    if batches.is_batch(transaction_id):
        found = lookup.batch(ledger.engine, transaction_id)
    else:
        row = lookup.find(ledger.engine, transaction_id)
        found = transaction_of(row) if queued else lookup.whole(ledger.engine, row)
        found = msgspec.structs.replace(found, skip_queue=not queued)
    settled = msgspec.structs.replace(
        found,
        queued=True if queued else UNSET,
        child_transaction=children[0],
        child_transactions=children if len(children) > 1 else UNSET,
        warnings=warnings_of_part(asked),
    )
    return wire.answer(settled)


def _failure(ledger: Service, submission: Submission) -> Response | None:
    with reading(ledger.engine) as conn:
        rows = transaction_store.find_seqs(conn, [one.seq for one in submission.accepted])
    number, first = first_rejected(rows)
    return rejected(first, end=f"settlement {number} of {len(rows)}") if first is not None else None


# Many at once


class _Item:
    """One hold of a bulk commit or void, and its result."""

    def __init__(self, asked: BulkSettlement, status: str) -> None:
        self.asked, self.status = asked, status
        self.submission: Submission | None = None
        self.result: SettledItem | None = None

    def draft(self, ledger: Service, skip_queue: bool, reference: str | None) -> list[Draft]:
        """Draft the settlements of the hold. If the present state forbids them, there are none, and a result says why."""
        asked = SettleRequest(
            status=self.status,
            amount=self.asked.amount,
            precise_amount=self.asked.precise_amount,
            reference=reference,
            skip_queue=skip_queue,
        )
        try:
            with reading(ledger.engine) as conn:
                return holds.draft_settlements(conn, self.asked.transaction_id, asked)
        except holds.AlreadyQueued as error:
            self.fail_as_waiting(error)
            return []
        except LedgerError as error:
            if error.code not in _ITEM_CODES:
                raise
            self.fail(_ITEM_CODES[error.code], error.message)
            return []

    def fail_as_waiting(self, error: holds.AlreadyQueued) -> None:
        """Fail because another settlement of the hold waits. One that does the same serves as well, and counts as a success."""
        self.fail("ALREADY_QUEUED" if error.does_it else "LOCKED", error.message)

    def fail(self, code: str, message: str) -> None:
        self.result = SettledItem(
            transaction_id=self.asked.transaction_id,
            status="queued" if code == "ALREADY_QUEUED" else "failed",
            code=code,
            message=message,
        )

    def succeed(self, *, queued: bool) -> None:
        self.result = SettledItem(
            transaction_id=self.asked.transaction_id,
            status="queued" if queued else "succeeded",
            code="QUEUED" if queued else UNSET,
        )

    def judge(self, rows: Sequence[TransactionRow]) -> None:
        """Set the result from the decided settlements."""
        _, first = first_rejected(rows)
        if first is None or first.rejection is None:
            self.succeed(queued=any(row.status is Status.QUEUED for row in rows))
        else:
            code = _ITEM_CODES.get(CODES[RejectReason(first.rejection.reason)], "INTERNAL_ERROR")
            self.fail(code, blnk_text(first.rejection, first))


def _settle_bulk(items: Sequence[_Item], asked: BulkCommitRequest | BulkVoidRequest) -> Response:
    ledger, skip_queue = service(), bool(asked.skip_queue)
    if asked.dry_run:
        tried = [(item.asked, item.status) for item in items]
        return wire.answer(dry_run_answers.settlements(ledger.engine, tried, skip_queue=skip_queue))
    seen: dict[str, BulkSettlement] = {}
    common = retries.reference()
    for number, item in enumerate(items, 1):
        if (first := seen.get(item.asked.transaction_id)) is not None:
            item.fail_as_waiting(holds.named_twice(first, item.asked, skip_queue=skip_queue))
        elif drafts := item.draft(ledger, skip_queue, common and f"{common}_{number}"):
            seen[item.asked.transaction_id] = item.asked
            item.submission = Submission(drafts, atomic=drafts[0].atomic, decide_now=skip_queue)
            item.succeed(queued=True)
    submissions = [item.submission for item in items if item.submission is not None]
    ledger.committer.submit(*submissions)
    if skip_queue:
        drain_all(ledger, submissions)
        with reading(ledger.engine) as conn:
            for item in items:
                if item.submission is not None:
                    item.judge(transaction_store.find_seqs(conn, [one.seq for one in item.submission.accepted]))
    results = [item.result for item in items if item.result is not None]
    failed = sum(result.status == "failed" for result in results)
    repeatable = common is None and any(is_partial(item.asked) for item in items)
    return wire.answer(
        Settlements(
            succeeded=len(results) - failed,
            failed=failed,
            results=results,
            warnings=[Warning("transactions", REPEATABLE)] if repeatable else UNSET,
        )
    )


def _check_size(items: Sequence[object] | None, what: str) -> None:
    if not items:
        text = f"{what} cannot be empty"
        raise InvalidRequest([(what, "cannot be empty")], ErrorCode.TXN_BULK_EMPTY, message=text)
    if len(items) > MAX_BULK_SETTLEMENTS:
        text = f"too many {what}; max is {MAX_BULK_SETTLEMENTS}"
        raise InvalidRequest([(what, text)], ErrorCode.TXN_BULK_LIMIT_EXCEEDED, message=text)
