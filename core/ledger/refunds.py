"""Drafts the refund of a transaction, a split or a batch, in part or whole.

A request that the present state forbids is refused here. The engine decides when the turn of the refund comes.
"""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection

from core.base.errors import Conflict, ErrorCode, InvalidRequest, NotFound, ReferenceConflict
from core.base.ids import new_id
from core.base.metadata import meta_data_problems, meta_data_text
from core.ledger.batches import amount_of, check_reference, find_members, precise_amount_of
from core.ledger.explain import major
from core.ledger.rules.log_row import LogRow
from core.ledger.rules.model import Draft, Kind, Status
from core.ledger.rules.requests import RefundRequest, Terms
from core.ledger.rules.routing import route_of
from core.ledger.rules.splits import proportional
from core.ledger.rules.validation import text_problems
from core.ledger.store import log as log_store
from core.ledger.store import transactions as transaction_store
from core.ledger.store.transactions import TransactionRow

_TERMS_OF_REFUND = msgspec.json.encode(Terms(refund=True)).decode()

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def draft_refund(conn: Connection, transaction_id: str, request: RefundRequest) -> Draft:
    """Draft a refund, which moves back what a transaction moved. All its refunds together never move more than that.

    A split, a batch, and a hold that was committed in parts moved money in several postings. An atomic split refunds
    them, and shares a partial amount in proportion.

    Raises:
        InvalidRequest: the amount is wrong, or is more than what is left (TXN_INVALID_AMOUNT).
        NotFound: there is nothing to refund.
        Conflict: all of it has been refunded (TXN_ALREADY_REFUNDED).
    """
    precise = precise_amount_of(request)
    problems = text_problems("description", request.description, 10**6) if request.description else []
    problems += meta_data_problems(bytes(request.meta_data)) if request.meta_data else []
    if problems:
        raise InvalidRequest(problems)
    check_reference(request.reference)
    row, legs = find_members(conn, transaction_id, missing="no transaction to refund")
    moved = [each for leg in legs for each in _movements(conn, leg)]
    if not moved:
        raise NotFound(ErrorCode.TXN_NOT_FOUND, "no transaction to refund")
    if len({(each.currency, each.precision) for each in moved}) > 1:
        raise InvalidRequest([("", "the batch has several currencies; refund its transactions one by one")])
    amount = amount_of(request, precise, moved)
    whole_reference = f"{transaction_id}_refund"
    if request.reference and (prior := log_store.find_references(conn, [request.reference]).get(request.reference)):
        return _repeated_refund(prior, transaction_id, amount)
    left = transaction_store.unrefunded(conn, [each.seq for each in moved])
    whole = transaction_store.find_reference(conn, whole_reference)
    _check_refundable(whole, transaction_id, moved[0], amount, sum(left.values()))
    reference = request.reference or (f"{whole_reference}_{new_id('')}" if amount or whole else whole_reference)
    meta_data = _merged(row.meta_data if row is not None else None, request)
    alone = len(moved) == 1 and (row is None or row.kind != Kind.SPLIT)
    # Legs need amounts, because a split is their sum. A single refund can leave "all that is left" to the engine.
    shares = [amount] if alone else proportional(amount or sum(left.values()), [left[each.seq] for each in moved])
    drafts = [
        _refund(each, share, reference, transaction_id, request.description or each.description, meta_data)
        for each, share in zip(moved, shares, strict=True)
        if share or alone
    ]
    return drafts[0] if alone else _refund_of_many(drafts, sum(shares))


def _repeated_refund(first: LogRow, transaction_id: str, amount: int) -> Draft:
    """Return the refund that was accepted under a reference, if its content is the same."""
    # A split has the sum of its legs as its amount, even when no amount was asked for.
    whole_split = first.kind == Kind.SPLIT and not amount
    for field, differs in (
        ("transaction", first.parent != transaction_id),
        ("amount", not whole_split and amount != first.amount),
    ):
        if differs:
            raise ReferenceConflict(first.reference, field, first.transaction_id)
    return Draft(row=first, route=0)


def _refund(
    moved: TransactionRow, amount: int, reference: str, parent: str, description: str, meta_data: str | None
) -> Draft:
    row = LogRow(
        id=new_id(""),
        reference=reference,
        kind=Kind.REFUND,
        source=moved.destination_key,
        destination=moved.source_key,
        amount=amount,
        currency=moved.currency,
        precision=moved.precision,
        description=description,
        allow_overdraft=True,
        refund_of=moved.seq,
        parent=parent,
        meta_data=meta_data,
    )
    return Draft(row=row, route=route_of(f"bln_{moved.destination}"))


def _refund_of_many(drafts: Sequence[Draft], amount: int) -> Draft:
    """Draft a split whose legs are these refunds."""
    first, split_id = drafts[0].row, new_id("")
    sources, destinations = {draft.row.source for draft in drafts}, {draft.row.destination for draft in drafts}
    row = replace(
        first,
        id=split_id,
        kind=Kind.SPLIT,
        source=sources.pop() if len(sources) == 1 else None,
        destination=destinations.pop() if len(destinations) == 1 else None,
        amount=amount,
        refund_of=None,
        terms=_TERMS_OF_REFUND,
    )
    legs = tuple(
        draft.with_row(reference=f"{first.reference}_{number}", parent=row.transaction_id)
        for number, draft in enumerate(drafts, 1)
    )
    return Draft(row=row, route=drafts[0].route, atomic=True, legs=legs)


def _movements(conn: Connection, row: TransactionRow) -> list[TransactionRow]:
    """Find the postings that moved the money of a transaction. There are none until it is applied."""
    if row.status is not Status.APPLIED:
        return []
    if row.kind != Kind.HOLD:
        return [row]
    return [each for each in transaction_store.settlements_of(conn, row.seq) if each.kind == Kind.COMMIT_INFLIGHT]


def _check_refundable(
    whole: TransactionRow | None, transaction_id: str, priced: TransactionRow, amount: int, left: int
) -> None:
    """Refuse a refund that the present state forbids.

    ``whole`` is the transaction with the reference of a whole refund. It may be such a refund in any state, or unrelated.
    """
    is_refund = whole is not None and whole.kind in (Kind.REFUND, Kind.SPLIT) and whole.parent == transaction_id
    if whole is not None and (not is_refund or whole.status is Status.REJECTED):
        whole = None
    if whole is not None or left == 0:
        details = {"refund_transaction_id": whole.transaction_id} if whole is not None else None
        text = f"transaction {transaction_id} has already been refunded"
        raise Conflict(ErrorCode.TXN_ALREADY_REFUNDED, text, details)
    if amount > left:
        text = (
            "cannot refund more than the remaining amount. "
            f"Available: {major(left, priced)}, Requested: {major(amount, priced)}"
        )
        raise InvalidRequest([("", text)], code=ErrorCode.TXN_INVALID_AMOUNT)


def _merged(meta_data: str | None, request: RefundRequest) -> str | None:
    """Merge the metadata of a request over that of the original."""
    own = meta_data_text(bytes(request.meta_data))
    if meta_data is None or own is None:
        return own or meta_data
    return msgspec.json.encode({**_members(meta_data), **_members(own)}).decode()
