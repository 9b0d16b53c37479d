"""Transactions and batches as they are now, for whoever asks by id or reference."""

from datetime import UTC, datetime

from sqlalchemy import Engine

from core.base.db import reading
from core.base.errors import ErrorCode, NotFound
from core.ledger.answers import Batch, Transaction, batch_of, transaction_of, with_legs, with_place
from core.ledger.rules.model import Kind, Status
from core.ledger.store import transactions as transaction_store
from core.ledger.store.transactions import TransactionRow


def find(engine: Engine, transaction_id: str) -> TransactionRow:
    """A transaction by its id.

    Raises:
        NotFound: there is none.
    """
    with reading(engine) as conn:
        row = transaction_store.find(conn, transaction_id)
    if row is None:
        raise NotFound(ErrorCode.TXN_NOT_FOUND, f"Transaction with ID '{transaction_id}' not found")
    return row


def find_reference(engine: Engine, reference: str) -> TransactionRow:
    """A transaction by the client's reference. ``R_q`` finds ``R``, for clients that know Blnk's queue copies.

    Raises:
        NotFound: there is none.
    """
    with reading(engine) as conn:
        row = transaction_store.find_reference(conn, reference)
        if row is None and reference.endswith("_q"):
            row = transaction_store.find_reference(conn, reference.removesuffix("_q"))
    if row is None:
        raise NotFound(ErrorCode.TXN_NOT_FOUND, f"Transaction with reference '{reference}' not found")
    return row


def whole(engine: Engine, row: TransactionRow) -> Transaction:
    """A transaction with the legs of a split, and with its place in line while it has no outcome."""
    answer = transaction_of(row)
    if row.kind == Kind.SPLIT and row.seq:
        with reading(engine) as conn:
            return with_legs(answer, transaction_store.legs_of(conn, row.transaction_id))
    if row.status is Status.QUEUED:
        with reading(engine) as conn:
            return with_place(answer, transaction_store.line_of(conn, row))
    return answer


def batch(engine: Engine, batch_id: str) -> Batch:
    """What a bulk, or a run of a funding job, has come to.

    Raises:
        NotFound: there is no such batch.
    """
    with reading(engine) as conn:
        found = transaction_store.batch(conn, batch_id)
    if found is None:
        raise NotFound(ErrorCode.TXN_NOT_FOUND, f"Transaction with ID '{batch_id}' not found")
    return batch_of(batch_id, found, datetime.now(UTC))
