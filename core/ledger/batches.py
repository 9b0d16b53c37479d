"""Finds the transactions that a settlement or refund names: one transaction, the legs of a split, or a whole batch."""

from collections.abc import Sequence

from sqlalchemy import Connection

from core.base.errors import ErrorCode, InvalidRequest, NotFound
from core.base.ids import uuid_of
from core.ledger.rules.model import BATCH_PREFIXES, Kind
from core.ledger.rules.pricing import minor_of
from core.ledger.rules.requests import RefundRequest, SettleRequest
from core.ledger.rules.validation import whole
from core.ledger.store import families as family_store
from core.ledger.store import transactions as transaction_store
from core.ledger.store.reach import reaches_transactions
from core.ledger.store.transaction_rows import TRANSACTION_PREFIX, TransactionRow

MAX_SETTLED = 10_000
"""The largest number of transactions that one request settles or refunds. A batch that was sent together has no more."""


def is_batch(transaction_id: str) -> bool:
    """Tell whether an ID is that of a batch. It names all transactions of the batch."""
    return any(uuid_of(transaction_id, prefix) is not None for prefix in BATCH_PREFIXES)


def find_members(
    conn: Connection, transaction_id: str, missing: str | None = None
) -> tuple[TransactionRow | None, list[TransactionRow]]:
    """Find the row of an ID, and the transactions that the ID names: that row, the legs of a split, or those of a batch.

    A batch has no row of its own. A split that waits for its date names itself, because its legs are not there yet.

    Raises:
        NotFound: there is no such transaction or batch within reach. ``missing`` replaces the message.
        InvalidRequest: the batch is too large for one request.
    """
    own = uuid_of(transaction_id, TRANSACTION_PREFIX)
    if not reaches_transactions(conn, id=own, parent=transaction_id if own is None else None):
        raise _not_found(transaction_id, missing)
    return _members(conn, transaction_id, missing)


def _members(
    conn: Connection, transaction_id: str, missing: str | None
) -> tuple[TransactionRow | None, list[TransactionRow]]:
    row = transaction_store.find(conn, transaction_id)
    if row is not None and (row.kind != Kind.SPLIT or not row.seq):
        return row, [row]
    known = row is not None
    if row is None and is_batch(transaction_id):
        known = True
        _check_size(family_store.count_members(conn, transaction_id))
    legs = family_store.legs_of(conn, transaction_id) if known else []
    # All transactions of a batch may still wait for their dates.
    if not legs and not (known and family_store.batch(conn, transaction_id)):
        raise _not_found(transaction_id, missing)
    return row, legs


def _not_found(transaction_id: str, missing: str | None) -> NotFound:
    return NotFound(ErrorCode.TXN_NOT_FOUND, missing or f"Transaction with ID '{transaction_id}' not found")


def _check_size(count: int) -> None:
    if count > MAX_SETTLED:
        text = f"{count} transactions are too many for one request; {MAX_SETTLED} are allowed, so do it one by one"
        raise InvalidRequest([("", text)], ErrorCode.TXN_VALIDATION_ERROR)


def amount_of(request: SettleRequest | RefundRequest, of: Sequence[TransactionRow]) -> int:
    """Return the minor units that a request asks of some transactions, where 0 stands for all that is left.

    Raises:
        InvalidRequest: the transactions have several currencies, or the amount is no whole number of minor units.
    """
    precise = whole(request.precise_amount) if request.precise_amount is not None else None
    if (precise or request.amount) and len({(each.currency, each.precision) for each in of}) > 1:
        text = "has no meaning for a batch of several currencies; leave it out"
        raise InvalidRequest([(amount_field(request), text)], ErrorCode.TXN_VALIDATION_ERROR)
    if precise is not None:
        return precise
    return minor_of("amount", request.amount, of[0].precision) if request.amount else 0


def amount_field(request: SettleRequest | RefundRequest) -> str:
    """Return the name of the field in which a request gives its amount."""
    return "precise_amount" if request.precise_amount is not None else "amount"
