"""``/refund-transaction``: give back what a transaction moved."""

from flask import Blueprint, Response

from core.base.db import reading
from core.base.errors import ErrorCode, LedgerError, ReferenceConflict
from core.ledger import dry_run_answers, lookup, refunds
from core.ledger.answers import Echo, Transaction, warnings_of_part
from core.ledger.append import Submission
from core.ledger.dry_run_answers import DryRunAnswer
from core.ledger.rules.requests import RefundRequest
from core.ledger.rules.validation import is_partial
from web.http import parameters, retries, wire
from web.http.errors import error_response
from web.http.operations import operation
from web.outcomes import answer_outcome
from web.service import service

blueprint = Blueprint("refunds", __name__)


@blueprint.post("/refund-transaction/<transaction_id>")
@operation({201: Transaction, 200: Transaction | DryRunAnswer}, 404, 409, body=RefundRequest)
@parameters.takes(parameters.WAIT)
@retries.once
def refund(transaction_id: str) -> Response:
    """Refund a transaction.

    A refund gives back what a transaction moved, in part or whole. All refunds together never give back more than it moved.
    """
    asked, unread = wire.read(RefundRequest, optional=True)
    if asked.reference is None and is_partial(asked):  # A refund of the whole has a reference that tells a second one.
        asked.reference = retries.reference()
    wait_s = parameters.wait_s()
    ledger = service()
    try:
        with reading(ledger.engine) as conn:
            draft = refunds.draft_refund(conn, transaction_id, asked, unread)
    except LedgerError as error:
        if asked.dry_run and error.code in dry_run_answers.FORBIDDEN_NOW:
            with reading(ledger.engine) as conn:
                return wire.answer(dry_run_answers.refused(conn, transaction_id, asked, error))
        raise
    if asked.dry_run:
        return wire.answer(dry_run_answers.refund(ledger.engine, draft))
    submission = Submission([draft], decide_now=bool(asked.skip_queue))
    try:
        ledger.committer.submit(submission)
        first = submission.accepted[0].transaction_id if submission.accepted[0].replayed else None
    except ReferenceConflict as error:
        if asked.reference is not None:
            raise
        first = (lookup.concealed(ledger.engine, error).details or {}).get("transaction_id", "")
    if first is not None and asked.reference is None:
        # Another refund of the whole was appended after this one was drafted, with the same terms or others.
        text = f"transaction {transaction_id} has already been refunded"
        details = {"refund_transaction_id": first} if first else None
        return error_response(ErrorCode.TXN_ALREADY_REFUNDED, text, details=details)
    return answer_outcome(ledger, submission, Echo(bool(asked.skip_queue), warnings_of_part(asked)), wait_s=wait_s)
