"""Receipts of transactions and of statements: what was accepted and decided, with proofs that need no trust in this service."""

from flask import Blueprint, Response

from core.base.db import reading
from core.ledger import balances, lookup
from core.notary.receipts import Receipt, receipt_of
from core.notary.statement_receipts import ENTRIES, MAX_ENTRIES, StatementReceipt, statement_receipt
from web.http import parameters, wire
from web.http.operations import operation
from web.service import service

blueprint = Blueprint("receipts", __name__)


@blueprint.get("/transactions/<transaction_id>/receipt")
@operation({200: Receipt}, 404)
def read(transaction_id: str) -> Response:
    """Read the receipt of a transaction.

    The answer has the transaction's own row of the log and its outcome, as they were hashed, and the way from each to a
    statement that the notary has signed. `pacioli receipt check` checks it with the public key of the notary alone. A
    proof is null while the notary has not signed yet, and ``note`` says what is still to come.
    """
    engine = service().engine
    row = lookup.find(engine, transaction_id)
    return wire.answer(receipt_of(engine, row.transaction_id, row.seq))


@blueprint.get("/balances/<balance_id>/statement/receipt")
@parameters.takes(
    parameters.time("from", "The start of the period. The default is the first entry."),
    parameters.time("to", "The time before which the entries are. The default is that there is no end."),
    parameters.LIMIT,
    parameters.after("5"),
)
@operation({200: StatementReceipt}, 404)
def read_statement(balance_id: str) -> Response:
    """Read the receipt of a statement.

    The answer has the receipt of each transaction that touched the balance in the period, in the order in which they were
    booked. Each made the next version of the balance, so `pacioli receipt check` also proves that none is left out between
    the first and the last. ``after`` is the version after which it begins. A page has 50 entries, and ``limit`` may ask for
    500; ``note`` says when there are more.
    """
    limit, _ = parameters.limit_offset(default=ENTRIES, largest=MAX_ENTRIES, what="invalid")
    after = parameters.after_number("the version of the balance") or 0
    between = parameters.period()
    engine = service().engine
    with reading(engine) as conn:
        row = balances.found(conn, balance_id)
    return wire.answer(statement_receipt(engine, row.key, between, after=after, limit=limit))
