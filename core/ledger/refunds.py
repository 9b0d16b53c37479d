"""Drafts the refund of a transaction, a split or a batch, in part or whole.

A request that the present state forbids is refused here. The engine decides when the turn of the refund comes.
"""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection

from core.base.decoding import Unread
from core.base.errors import Conflict, ErrorCode, InvalidRequest, NotFound, ReferenceConflict
from core.base.ids import new_id
from core.base.metadata import meta_data_text
from core.base.problems import refusal
from core.ledger.batches import amount_field, amount_of, find_members
from core.ledger.draft import Part, Priced, draft, repeated
from core.ledger.explain import major
from core.ledger.reach import require_amount
from core.ledger.rules.log_row import LogRow
from core.ledger.rules.model import Draft, Kind, Status
from core.ledger.rules.requests import RefundRequest, Terms, terms_of
from core.ledger.rules.routing import route_of
from core.ledger.rules.splits import proportional
from core.ledger.rules.validation import reference_refusal, refund_problems
from core.ledger.store import families as family_store
from core.ledger.store import log as log_store
from core.ledger.store import transactions as transaction_store
from core.ledger.store.transaction_rows import TransactionRow

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def draft_refund(conn: Connection, transaction_id: str, request: RefundRequest, unread: Sequence[Unread] = ()) -> Draft:
    """Draft a refund, which moves back what a transaction moved. All its refunds together never move more than that.

    A split, a batch, and a hold that was committed in parts moved money in several postings. An atomic split refunds
    them, and shares a partial amount in proportion. ``unread`` has the fields of the request that could not be read.

    Raises:
        InvalidRequest: the amount is wrong, or is more than what is left (TXN_INVALID_AMOUNT).
        NotFound: there is nothing to refund.
        Conflict: all of it has been refunded (TXN_ALREADY_REFUNDED).
    """
    problems = refund_problems(request)
    if problems or unread:
        raise refusal(unread, problems, ErrorCode.TXN_VALIDATION_ERROR)
    row, members = find_members(conn, transaction_id, missing="no transaction to refund")
    moved = [each for member in members for each in _movements(conn, member)]
    if not moved:
        raise NotFound(ErrorCode.TXN_NOT_FOUND, "no transaction to refund")
    if len({(each.currency, each.precision) for each in moved}) > 1:
        text = "the batch has several currencies; refund its transactions one by one"
        raise InvalidRequest([("", text)], ErrorCode.TXN_VALIDATION_ERROR)
    amount = amount_of(request, moved)
    whole_reference = f"{transaction_id}_refund"
    if request.reference and (prior := log_store.find_references(conn, [request.reference]).get(request.reference)):
        return _repeated_refund(prior, transaction_id, amount)
    if wrong := reference_refusal(request.reference):
        raise wrong
    left = transaction_store.unrefunded(conn, [each.seq for each in moved])
    whole = transaction_store.find_reference(conn, whole_reference)
    _check_refundable(whole, transaction_id, moved[0], (amount_field(request), amount), sum(left.values()))
    reference = request.reference or (f"{whole_reference}_{new_id('')}" if amount or whole else whole_reference)
    meta_data = _merged(row.meta_data if row is not None else None, request)
    alone = len(moved) == 1 and (row is None or row.kind != Kind.SPLIT)
    # Legs need amounts, because a split is their sum. A single refund can leave "all that is left" to the engine.
    shares = [amount] if alone else proportional(amount or sum(left.values()), [left[each.seq] for each in moved])
    refunded = [(each, share) for each, share in zip(moved, shares, strict=True) if share or alone]
    require_amount(amount or sum(left.values()), moved[0].currency, moved[0].precision)
    legs = tuple(_leg(each, share, request.description) for each, share in refunded)
    first, leg = refunded[0][0], legs[0]
    priced = Priced(
        reference=reference,
        kind=Kind.REFUND,
        source=leg.source,
        destination=leg.destination,
        route=leg.route,
        amount=amount,
        currency=first.currency,
        precision=first.precision,
        description=request.description or first.description,
        allow_overdraft=True,
        parent=transaction_id,
        meta_data=meta_data,
        refund_of=first.seq,
    )
    return draft(priced if alone else _split(priced, legs))


def _repeated_refund(first: LogRow, transaction_id: str, amount: int) -> Draft:
    """Return the refund that was accepted under a reference, if its content is the same."""
    terms = terms_of(first.terms)
    # A commit_inflight of the same hold has the same parent, and so does a member of a batch or a leg of a split.
    is_refund = first.kind == Kind.REFUND or (first.kind == Kind.SPLIT and terms.refund)
    # A split has the sum of its legs as its amount. Whether that was asked for was not kept before: then the request tells.
    whole = first.kind == Kind.SPLIT and (not amount if terms.whole is None else terms.whole)
    for field, differs in (
        ("kind", not is_refund),
        ("transaction", first.parent != transaction_id),
        ("amount", amount != (0 if whole else first.amount)),
    ):
        if differs:
            raise ReferenceConflict(first.reference, field, first.transaction_id)
    return repeated(first)


def _leg(moved: TransactionRow, amount: int, description: str | None) -> Part:
    """Make the refund of one posting a leg of a split."""
    return Part(
        source=moved.destination_key,
        destination=moved.source_key,
        route=route_of(f"bln_{moved.destination}"),
        amount=amount,
        description=description or moved.description,
        refund_of=moved.seq,
    )


def _split(refund: Priced, legs: tuple[Part, ...]) -> Priced:
    """Make the refund of several postings a split that is decided whole."""
    sources, destinations = {leg.source for leg in legs}, {leg.destination for leg in legs}
    return replace(
        refund,
        source=sources.pop() if len(sources) == 1 else None,
        destination=destinations.pop() if len(destinations) == 1 else None,
        amount=sum(leg.amount for leg in legs),
        refund_of=None,
        terms=Terms(refund=True, whole=not refund.amount),
        atomic=True,
        legs=legs,
    )


def _movements(conn: Connection, row: TransactionRow) -> list[TransactionRow]:
    """Find the postings that moved the money of a transaction. There are none until it is applied."""
    if row.status is not Status.APPLIED:
        return []
    if row.kind != Kind.HOLD:
        return [row]
    return [each for each in family_store.settlements_of(conn, row.seq) if each.kind == Kind.COMMIT_INFLIGHT]


def _check_refundable(
    whole: TransactionRow | None, transaction_id: str, priced: TransactionRow, asked: tuple[str, int], left: int
) -> None:
    """Refuse a refund that the present state forbids.

    ``asked`` is the field of the amount and its minor units. ``whole`` is the transaction with the reference of a whole
    refund. It may be such a refund in any state, or unrelated.
    """
    is_refund = whole is not None and whole.kind in (Kind.REFUND, Kind.SPLIT) and whole.parent == transaction_id
    if whole is not None and (not is_refund or whole.status is Status.REJECTED):
        whole = None
    if whole is not None or left == 0:
        details = {"refund_transaction_id": whole.transaction_id} if whole is not None else None
        text = f"transaction {transaction_id} has already been refunded"
        raise Conflict(ErrorCode.TXN_ALREADY_REFUNDED, text, details)
    field, amount = asked
    if amount > left:
        text = (
            "cannot refund more than the remaining amount. "
            f"Available: {major(left, priced)}, Requested: {major(amount, priced)}"
        )
        raise InvalidRequest([(field, text)], ErrorCode.TXN_INVALID_AMOUNT, message=text)


def _merged(meta_data: str | None, request: RefundRequest) -> str | None:
    """Merge the metadata of a request over that of the original."""
    own = meta_data_text(bytes(request.meta_data))
    if meta_data is None or own is None:
        return own or meta_data
    return msgspec.json.encode({**_members(meta_data), **_members(own)}).decode()
