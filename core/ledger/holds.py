"""Settle holds: commit or void one, every one of a split, or every one of a batch.

What the present state already forbids is refused here. What happens until its turn comes, the engine decides.
"""

from collections.abc import Sequence

from msgspec.structs import replace
from sqlalchemy import Connection

from core.base.errors import Conflict, ErrorCode, InvalidRequest, ReferenceConflict
from core.base.ids import new_id
from core.ledger.batches import amount_of, check_reference, family, precise_amount_of
from core.ledger.explain import major
from core.ledger.rules.log_row import LogRow
from core.ledger.rules.model import Draft, Kind, Status
from core.ledger.rules.requests import SettleRequest
from core.ledger.rules.routing import route_of
from core.ledger.rules.splits import proportional
from core.ledger.store import log as log_store
from core.ledger.store import transactions as transaction_store
from core.ledger.store.transactions import TransactionRow


def draft_settlements(conn: Connection, transaction_id: str, request: SettleRequest) -> list[Draft]:
    """Commits or voids of a hold, or of every hold that is not settled of a split or batch.

    A partial amount of several is shared in proportion to what is left of each.

    Raises:
        InvalidRequest, NotFound, Conflict: with Blnk's codes and texts.
    """
    commit = request.status == "commit"
    if not commit and request.status != "void":
        raise InvalidRequest(
            [("", "status not supported. use either commit or void")], code=ErrorCode.TXN_INVALID_STATUS_ACTION
        )
    precise = precise_amount_of(request)
    check_reference(request.reference)
    row, legs = family(conn, transaction_id)
    every = [leg for leg in legs if leg.kind == Kind.HOLD and leg.seq]  # What is scheduled holds nothing yet.
    holds = [hold for hold in every if hold.status is not Status.REJECTED]
    if not holds:
        raise InvalidRequest([("", "transaction is not in inflight status")], code=ErrorCode.TXN_NOT_INFLIGHT)
    amount = amount_of(request, precise, holds) if commit else 0
    kind = Kind.COMMIT_INFLIGHT if commit else Kind.VOID_INFLIGHT
    references = _references(request.reference, every, alone=[row] == every)
    # A repeated reference is answered with the first settlement, which the hold's state may show already.
    if request.reference is not None and (first := log_store.find_references(conn, references.values())):
        return _repeated(request.reference, list(first.values()), kind, amount, every)
    _check_settleable(holds, amount)
    if not request.skip_queue and transaction_store.undecided_settlements(conn, [hold.seq for hold in holds]):
        raise Conflict(ErrorCode.GEN_CONFLICT, "a commit or void is already queued for this transaction")
    # The legs of an atomic split stay together; others, and what is in a batch, have nothing to do with each other.
    together = row is not None and row.kind == Kind.SPLIT and row.group_first is not None
    return [
        replace(settlement(hold, kind, share, references[hold.seq]), atomic=together)
        for hold, share in zip(holds, _shares(amount, list(map(_left, holds))), strict=True)
        if _left(hold) and (share or not amount)
    ]


def due_settlements(conn: Connection, transaction_id: str, kind: Kind) -> list[Draft]:
    """Commits or voids of what is left of a hold, or of the holds of a split, whose date has come."""
    _, legs = family(conn, transaction_id)
    name = "committed_when_due" if kind == Kind.COMMIT_INFLIGHT else "expired"
    return [
        settlement(leg, kind, 0, f"{leg.transaction_id}_{name}")
        for leg in legs
        if leg.hold is not None and leg.hold.remaining
    ]


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
    return [Draft(row=prior, route=0) for prior in first]


def _shares(amount: int, of: Sequence[int]) -> list[int]:
    """What to ask of each; 0 is all that is left, which is meant when there is no amount."""
    return proportional(amount, of) if amount else [0] * len(of)


def _references(reference: str | None, holds: Sequence[TransactionRow], *, alone: bool) -> dict[int, str | None]:
    """A reference for each of several settlements that were asked for under one, by the seq of the hold.

    They are numbered by the place of the hold among all there ever were, so that a repeated request finds them: a leg may
    have been rejected since, and a batch may have grown.
    """
    if reference is None or alone:
        return {hold.seq: reference for hold in holds}
    return {hold.seq: f"{reference}_{number}" for number, hold in enumerate(holds, 1)}


def _left(hold: TransactionRow) -> int:
    return hold.requested if hold.hold is None else hold.hold.remaining


def _check_settleable(holds: Sequence[TransactionRow], amount: int) -> None:
    remaining, original = sum(map(_left, holds)), sum(hold.requested for hold in holds)
    if remaining == 0 and any(hold.hold is not None and hold.hold.voided for hold in holds):
        raise Conflict(ErrorCode.TXN_ALREADY_VOIDED, "transaction has already been voided")
    if remaining == 0:
        raise Conflict(ErrorCode.TXN_ALREADY_COMMITTED, "cannot commit. Transaction already committed")
    if amount > original:
        limit = f"original transaction amount. Original: {major(original, holds[0])}"
    elif amount > remaining:
        limit = f"remaining amount. Available: {major(remaining, holds[0])}"
    else:
        return
    text = f"cannot commit more than the {limit}, Requested: {major(amount, holds[0])}"
    raise InvalidRequest([("", text)], code=ErrorCode.TXN_COMMIT_AMOUNT_EXCEEDED)
