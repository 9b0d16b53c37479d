"""What follows a transaction: commit or void of a hold, and refunds. Of one, of a split's legs, or of a whole batch.

What the present state already forbids is refused here. What happens between now and its turn, the engine decides.
"""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection

from core.base.errors import Conflict, InvalidRequest, NotFound, ReferenceConflict
from core.base.ids import key_of, new_id
from core.base.metadata import meta_data_problems, meta_data_text
from core.base.money import InexactAmount, to_minor
from core.funding import store as funding_store
from core.funding.store import RUN_PREFIX
from core.ledger.explain import major
from core.ledger.rules.log_row import LogRow
from core.ledger.rules.model import Draft, Kind, Status
from core.ledger.rules.requests import RefundRequest, SettleRequest, Terms
from core.ledger.rules.routing import route_of
from core.ledger.rules.splits import proportional
from core.ledger.rules.validation import MAX_REFERENCE, text_problems, whole
from core.ledger.store import log as log_store
from core.ledger.store import transactions as transaction_store
from core.ledger.store.transactions import TransactionRow

BATCH_PREFIX = "bulk_"
BATCHES = (BATCH_PREFIX, RUN_PREFIX)
"""What an id begins with that names many transactions: a bulk, or a run of a funding job."""
MAX_SETTLED = 10_000
"""Transactions of one batch that one request settles or refunds. A bulk never has more."""

_TERMS_OF_REFUND = msgspec.json.encode(Terms(refund=True)).decode()

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def is_batch(transaction_id: str) -> bool:
    """Whether this is the id of a bulk, or of a run of a funding job, which names all that is in it."""
    return any(key_of(transaction_id, prefix) is not None for prefix in BATCHES)


def draft_settlements(conn: Connection, transaction_id: str, request: SettleRequest) -> list[Draft]:
    """Commits or voids of a hold, or of every hold that is not settled of a split or batch.

    A partial amount of several is shared in proportion to what is left of each.

    Raises:
        InvalidRequest, NotFound, Conflict: with Blnk's codes and texts.
    """
    commit = request.status == "commit"
    if not commit and request.status != "void":
        raise InvalidRequest(
            [("", "status not supported. use either commit or void")], code="TXN_INVALID_STATUS_ACTION"
        )
    precise = _precise_amount(request)
    _check_reference(request.reference)
    row, legs = _family(conn, transaction_id)
    every = [leg for leg in legs if leg.kind == Kind.HOLD and leg.seq]  # What is scheduled holds nothing yet.
    holds = [hold for hold in every if hold.status is not Status.REJECTED]
    if not holds:
        raise InvalidRequest([("", "transaction is not in inflight status")], code="TXN_NOT_INFLIGHT")
    amount = _amount(request, precise, holds) if commit else 0
    kind = Kind.COMMIT_INFLIGHT if commit else Kind.VOID_INFLIGHT
    references = _references(request.reference, every, alone=[row] == every)
    # A repeated reference is answered with the first settlement, which the hold's state may show already.
    if request.reference is not None and (first := log_store.find_references(conn, references.values())):
        return _repeated(request.reference, list(first.values()), kind, amount, every)
    _check_settleable(holds, amount)
    if not request.skip_queue and transaction_store.undecided_settlements(conn, [hold.seq for hold in holds]):
        raise Conflict("GEN_CONFLICT", "a commit or void is already queued for this transaction")
    # The legs of an atomic split stay together; others, and what is in a batch, have nothing to do with each other.
    together = row is not None and row.kind == Kind.SPLIT and row.group_first is not None
    return [
        replace(settlement(hold, kind, share, references[hold.seq]), atomic=together)
        for hold, share in zip(holds, _shares(amount, list(map(_left, holds))), strict=True)
        if _left(hold) and (share or not amount)
    ]


def _repeated(
    reference: str, first: Sequence[LogRow], kind: Kind, amount: int, holds: Sequence[TransactionRow]
) -> list[Draft]:
    """What was accepted under a reference, if it was the same."""
    same = {prior.hold_seq for prior in first} <= {hold.seq for hold in holds}
    for field, differs in (
        ("transaction", not same),
        ("status", any(prior.kind != kind for prior in first)),
        ("amount", sum(prior.amount for prior in first) != amount),
    ):
        if differs:
            raise ReferenceConflict(reference, field, first[0].transaction_id)
    return [_draft_again(prior) for prior in first]


def _draft_again(row: LogRow) -> Draft:
    """A draft that repeats what was accepted before, which is its answer."""
    return Draft(row=row, route=0)


def _shares(amount: int, of: Sequence[int]) -> list[int]:
    """What to ask of each; 0 is all that is left, which is meant when there is no amount."""
    return proportional(amount, of) if amount else [0] * len(of)


def settlement(hold: TransactionRow, kind: Kind, amount: int, reference: str | None) -> Draft:
    """One commit or void. An amount of 0 is all that is left."""
    settlement_id = new_id("")
    action = "commit" if kind == Kind.COMMIT_INFLIGHT else "void"
    row = LogRow(
        id=settlement_id,
        reference=reference or f"{hold.transaction_id}_{action}_{settlement_id}",
        kind=kind,
        source=hold.source_key,
        destination=hold.destination_key,
        amount=amount,
        currency=hold.currency,
        precision=hold.precision,
        description=hold.description,
        hold_seq=hold.seq,
        parent=hold.transaction_id,
        meta_data=hold.meta_data,
    )
    return Draft(row=row, route=route_of(f"bln_{hold.source}"))


def due_settlements(conn: Connection, transaction_id: str, kind: Kind) -> list[Draft]:
    """Commits or voids of what is left of a hold, or of the holds of a split, whose date has come."""
    _, legs = _family(conn, transaction_id)
    name = "committed_when_due" if kind == Kind.COMMIT_INFLIGHT else "expired"
    return [
        settlement(leg, kind, 0, f"{leg.transaction_id}_{name}")
        for leg in legs
        if leg.hold is not None and leg.hold.remaining
    ]


def draft_refund(conn: Connection, transaction_id: str, request: RefundRequest) -> Draft:
    """A refund of what a transaction moved: the other way round, and never more than it moved, together.

    What moved money in several postings, as a split does, a batch, or a hold committed in parts, is refunded by a split,
    all or nothing, a partial amount in proportion.

    Raises:
        InvalidRequest: the amount is wrong, or more than is left (TXN_INVALID_AMOUNT).
        NotFound: there is nothing to refund.
        Conflict: all of it has been refunded (TXN_ALREADY_REFUNDED).
    """
    precise = _precise_amount(request)
    problems = text_problems("description", request.description, 10**6) if request.description else []
    problems += meta_data_problems(bytes(request.meta_data)) if request.meta_data else []
    if problems:
        raise InvalidRequest(problems)
    _check_reference(request.reference)
    row, legs = _family(conn, transaction_id, missing="no transaction to refund")
    moved = [each for leg in legs for each in _movements(conn, leg)]
    if not moved:
        raise NotFound("TXN_NOT_FOUND", "no transaction to refund")
    if len({(each.currency, each.precision) for each in moved}) > 1:
        raise InvalidRequest([("", "the batch has several currencies; refund its transactions one by one")])
    amount = _amount(request, precise, moved)
    whole_reference = f"{transaction_id}_refund"
    if request.reference and (prior := log_store.find_references(conn, [request.reference]).get(request.reference)):
        return _repeated_refund(prior, transaction_id, amount)
    left = transaction_store.unrefunded(conn, [each.seq for each in moved])
    whole = transaction_store.find_reference(conn, whole_reference)
    _check_refundable(whole, transaction_id, moved[0], amount, sum(left.values()))
    reference = request.reference or (f"{whole_reference}_{new_id('')}" if amount or whole else whole_reference)
    meta_data = _merged(row.meta_data if row is not None else None, request)
    alone = len(moved) == 1 and (row is None or row.kind != Kind.SPLIT)
    # Legs have their amounts, for a split is what they add up to. Alone, all that is left is known when its turn comes.
    shares = [amount] if alone else proportional(amount or sum(left.values()), [left[each.seq] for each in moved])
    drafts = [
        _refund(each, share, reference, transaction_id, request.description or each.description, meta_data)
        for each, share in zip(moved, shares, strict=True)
        if share or alone
    ]
    return drafts[0] if alone else _refund_of_many(drafts, sum(shares))


def _repeated_refund(first: LogRow, transaction_id: str, amount: int) -> Draft:
    """What was accepted under a reference, if it was the same."""
    # A split has the sum of its legs, whether that was asked for or was all there was.
    whole_split = first.kind == Kind.SPLIT and not amount
    for field, differs in (
        ("transaction", first.parent != transaction_id),
        ("amount", not whole_split and amount != first.amount),
    ):
        if differs:
            raise ReferenceConflict(first.reference, field, first.transaction_id)
    return _draft_again(first)


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
    """The refunds as legs of a split."""
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


def _family(
    conn: Connection, transaction_id: str, missing: str | None = None
) -> tuple[TransactionRow | None, list[TransactionRow]]:
    """What an id stands for: itself, or the legs of a split, or what is in a batch. A batch has no row of its own.

    A split that waits for its date stands for itself: its legs are not there yet.
    """
    row = transaction_store.find(conn, transaction_id)
    if row is not None and (row.kind != Kind.SPLIT or not row.seq):
        return row, [row]
    known = row is not None or is_batch(transaction_id)
    if transaction_id.startswith(RUN_PREFIX):
        _check_size(conn, transaction_id)
    legs = transaction_store.legs_of(conn, transaction_id) if known else []
    # All that is in a batch may still wait for its date.
    if not legs and not (known and transaction_store.batch(conn, transaction_id)):
        raise NotFound("TXN_NOT_FOUND", missing or f"Transaction with ID '{transaction_id}' not found")
    return row, legs


def _check_size(conn: Connection, run_id: str) -> None:
    run = funding_store.find_run(conn, run_id)
    if run is not None and run.posted > MAX_SETTLED:
        text = f"{run.posted} transactions are too many for one request; {MAX_SETTLED} are allowed, so do it one by one"
        raise InvalidRequest([("", text)])


def _movements(conn: Connection, row: TransactionRow) -> list[TransactionRow]:
    """The postings that moved the money of a transaction, if all of it has its final state."""
    if row.status is not Status.APPLIED:
        return []
    if row.kind != Kind.HOLD:
        return [row]
    return [each for each in transaction_store.settlements_of(conn, row.seq) if each.kind == Kind.COMMIT_INFLIGHT]


def _check_refundable(
    whole: TransactionRow | None, transaction_id: str, priced: TransactionRow, amount: int, left: int
) -> None:
    """``whole`` is what has the reference of a whole refund: one that waits, is done or was rejected, or a stranger."""
    is_refund = whole is not None and whole.kind in (Kind.REFUND, Kind.SPLIT) and whole.parent == transaction_id
    if whole is not None and (not is_refund or whole.status is Status.REJECTED):
        whole = None
    if whole is not None or left == 0:
        details = {"refund_transaction_id": whole.transaction_id} if whole is not None else None
        text = f"transaction {transaction_id} has already been refunded"
        raise Conflict("TXN_ALREADY_REFUNDED", text, details)
    if amount > left:
        text = (
            "cannot refund more than the remaining amount. "
            f"Available: {major(left, priced)}, Requested: {major(amount, priced)}"
        )
        raise InvalidRequest([("", text)], code="TXN_INVALID_AMOUNT")


def _merged(meta_data: str | None, request: RefundRequest) -> str | None:
    """The original's metadata with the caller's over it."""
    own = meta_data_text(bytes(request.meta_data))
    if meta_data is None or own is None:
        return own or meta_data
    return msgspec.json.encode({**_members(meta_data), **_members(own)}).decode()


def _references(reference: str | None, holds: Sequence[TransactionRow], *, alone: bool) -> dict[int, str | None]:
    """A reference for each of several settlements that were asked for under one, by the seq of the hold.

    They are numbered by the place of the hold among all there ever were, so that a repeated request finds them: a leg may
    have been rejected since, and a batch may have grown.
    """
    if reference is None or alone:
        return {hold.seq: reference for hold in holds}
    return {hold.seq: f"{reference}_{number}" for number, hold in enumerate(holds, 1)}


def _check_reference(reference: str | None) -> None:
    if reference is not None and (problems := text_problems("reference", reference, MAX_REFERENCE)):
        raise InvalidRequest(problems)


def _precise_amount(request: SettleRequest | RefundRequest) -> int | None:
    """The checks that Blnk makes before it looks for the hold, also for a void."""
    precise = whole(request.precise_amount) if request.precise_amount is not None else None
    if request.precise_amount is not None and (precise is None or precise <= 0):
        raise InvalidRequest([("", "precise_amount must be positive")], code="TXN_INVALID_AMOUNT")
    if request.amount is not None and (request.amount.is_nan() or request.amount < 0):
        word = "commit" if isinstance(request, SettleRequest) else "refund"
        raise InvalidRequest([("", f"{word} amount cannot be negative")], code="GEN_BAD_REQUEST")
    return precise


def _amount(request: SettleRequest | RefundRequest, precise: int | None, of: Sequence[TransactionRow]) -> int:
    """Minor units that were asked for; 0 is all that is left."""
    if (precise or request.amount) and len({(each.currency, each.precision) for each in of}) > 1:
        raise InvalidRequest([("amount", "has no meaning for a batch of several currencies; leave it out")])
    if precise is not None:
        return precise
    try:
        return to_minor(request.amount, of[0].precision) if request.amount else 0
    except InexactAmount as error:
        raise InvalidRequest([("amount", str(error))], code="TXN_INVALID_AMOUNT") from None


def _left(hold: TransactionRow) -> int:
    return hold.requested if hold.hold is None else hold.hold.remaining


def _check_settleable(holds: Sequence[TransactionRow], amount: int) -> None:
    remaining, original = sum(map(_left, holds)), sum(hold.requested for hold in holds)
    if remaining == 0 and any(hold.hold is not None and hold.hold.voided for hold in holds):
        raise Conflict("TXN_ALREADY_VOIDED", "transaction has already been voided")
    if remaining == 0:
        raise Conflict("TXN_ALREADY_COMMITTED", "cannot commit. Transaction already committed")
    if amount > original:
        limit = f"original transaction amount. Original: {major(original, holds[0])}"
    elif amount > remaining:
        limit = f"remaining amount. Available: {major(remaining, holds[0])}"
    else:
        return
    text = f"cannot commit more than the {limit}, Requested: {major(amount, holds[0])}"
    raise InvalidRequest([("", text)], code="TXN_COMMIT_AMOUNT_EXCEEDED")
