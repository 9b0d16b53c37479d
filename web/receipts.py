"""``/transactions/<id>/receipt``: what was accepted and decided, with proofs that need no trust in this service."""

from flask import Blueprint, Response

from core.ledger import lookup
from core.notary.receipts import Receipt, receipt_of
from web.http import wire
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
