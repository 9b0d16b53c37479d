"""Finds transactions and batches by ID or reference, as they are now."""

from sqlalchemy import Engine

from core.base import clock
from core.base.actors import reach_of_request
from core.base.db import reading
from core.base.errors import Conflict, ErrorCode, NotFound, ReferenceConflict
from core.base.ids import uuid_of
from core.ledger.answers import Transaction, transaction_of, with_legs, with_line
from core.ledger.batch_answers import Batch, batch_of
from core.ledger.rules.model import Kind, Status
from core.ledger.store import families as family_store
from core.ledger.store import transactions as transaction_store
from core.ledger.store.reach import reaches_transactions
from core.ledger.store.transaction_rows import TRANSACTION_PREFIX, TransactionRow


def find(engine: Engine, transaction_id: str) -> TransactionRow:
    """Find a transaction by its ID.

    Raises:
        NotFound: there is none.
    """
    with reading(engine) as conn:
        row = transaction_store.find(conn, transaction_id)
        if row is not None and not reaches_transactions(conn, id=row.id):
            row = None
    return there(row, transaction_id)


def find_reference(engine: Engine, reference: str) -> TransactionRow:
    """Find a transaction by its reference. ``R_q`` also finds ``R``, for clients that know Blnk's queue copies.

    Raises:
        NotFound: there is none.
    """
    with reading(engine) as conn:
        row = transaction_store.find_reference(conn, reference)
        if row is None and reference.endswith("_q"):
            row = transaction_store.find_reference(conn, reference.removesuffix("_q"))
        if row is not None and not reaches_transactions(conn, id=row.id):
            row = None
    if row is None:
        raise NotFound(ErrorCode.TXN_NOT_FOUND, f"Transaction with reference '{reference}' not found")
    return row


def there(row: TransactionRow | None, transaction_id: str) -> TransactionRow:
    """Return a row that was looked for by its ID.

    Raises:
        NotFound: there is none.
    """
    if row is None:
        raise NotFound(ErrorCode.TXN_NOT_FOUND, f"Transaction with ID '{transaction_id}' not found")
    return row


def is_whole(row: TransactionRow) -> bool:
    """Tell whether the answer of a transaction needs nothing but its row."""
    return row.status is not Status.QUEUED and not (row.kind == Kind.SPLIT and row.seq)


def whole(engine: Engine, row: TransactionRow) -> Transaction:
    """Make the answer of a transaction, with the legs of a split, and with its position in line while it is QUEUED."""
    answer = transaction_of(row)
    if row.kind == Kind.SPLIT and row.seq:
        with reading(engine) as conn:
            return with_legs(answer, family_store.legs_of(conn, row.transaction_id))
    if row.status is Status.QUEUED:
        with reading(engine) as conn:
            return with_line(answer, transaction_store.line_of(conn, row))
    return answer


def batch(engine: Engine, batch_id: str) -> Batch:
    """Make the answer of a batch or of a funding run: its transactions by status, progress and rate.

    Raises:
        NotFound: there is no such batch.
    """
    with reading(engine) as conn:
        found, now = family_store.batch(conn, batch_id), clock.now(conn)
        if found is not None and not reaches_transactions(conn, parent=batch_id):
            found = None
    if found is None:
        raise NotFound(ErrorCode.TXN_NOT_FOUND, f"Transaction with ID '{batch_id}' not found")
    return batch_of(batch_id, found, now)


def concealed(engine: Engine, error: ReferenceConflict) -> Conflict:
    """Keep quiet about the transaction that has a reference already, if it is out of reach of the request.

    A reference is taken whoever took it, so that much is said.
    """
    if not reach_of_request().bounds_balances:
        return error
    with reading(engine) as conn:
        reached = reaches_transactions(conn, id=uuid_of(error.transaction_id, TRANSACTION_PREFIX))
    return error if reached else error.without_first()
