"""Drafts the settlement of holds: commit_inflight or void_inflight of one, or of all holds of a split or batch.

A request that the present state forbids is refused here. The engine decides when the turn of the settlement comes.
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from core.base.actors import Right, require
from core.base.decoding import Unread
from core.base.errors import Conflict, ErrorCode, InvalidRequest, ReferenceConflict
from core.base.ids import new_id
from core.base.problems import refusal
from core.ledger.batches import amount_field, amount_of, find_members
from core.ledger.draft import Priced, draft, repeated
from core.ledger.explain import CANNOT_VOID, major
from core.ledger.reach import require_amount
from core.ledger.rules.log_row import LogRow
from core.ledger.rules.model import Draft, Kind, Status
from core.ledger.rules.requests import BulkSettlement, SettleRequest
from core.ledger.rules.routing import route_of
from core.ledger.rules.splits import proportional
from core.ledger.rules.validation import is_partial, reference_refusal, settlement_problems
from core.ledger.store import families as family_store
from core.ledger.store import log as log_store
from core.ledger.store.transaction_rows import TransactionRow

_EXPIRED = "expired"
"""The end of the reference of a void that the ledger makes when the date of a hold has come."""


class AlreadyQueued(Conflict):
    """Another settlement waits for the hold. ``does_it`` says whether it does all that was asked for."""

    def __init__(self, text: str = "a commit or void is already queued for this transaction", *, does_it: bool) -> None:
        super().__init__(ErrorCode.GEN_CONFLICT, text)
        self.does_it = does_it


def named_twice(first: BulkSettlement, again: BulkSettlement, *, skip_queue: bool) -> AlreadyQueued:
    """Make the error for a hold that a request names again. Only two of all that is left, in the queue, do the same."""
    text = "the transaction appears more than once in this request"
    return AlreadyQueued(text, does_it=not (skip_queue or is_partial(first) or is_partial(again)))


def draft_settlements(
    conn: Connection, transaction_id: str, request: SettleRequest, unread: Sequence[Unread] = ()
) -> list[Draft]:
    """Draft the settlements of a hold, or of every open hold of a split or batch.

    A partial amount is shared between several holds in proportion to what is left of each. ``unread`` has the fields of
    the request that could not be read.

    Raises:
        InvalidRequest, NotFound, Conflict: they have Blnk's codes and texts.
        Forbidden: the key may not do that to holds.
        BeyondKey: it commits more than is within reach of the key.
    """
    problems = settlement_problems(request)
    if problems or unread:
        raise refusal(unread, problems, ErrorCode.TXN_VALIDATION_ERROR)
    commit = request.status == "commit"
    require([Right.TRANSACTIONS_COMMIT if commit else Right.TRANSACTIONS_VOID])
    row, legs = find_members(conn, transaction_id)
    every = [leg for leg in legs if leg.kind == Kind.HOLD and leg.seq]  # A scheduled transaction holds nothing yet.
    holds = [hold for hold in every if hold.status is not Status.REJECTED]
    if not holds:
        raise InvalidRequest([("", "transaction is not in inflight status")], ErrorCode.TXN_NOT_INFLIGHT)
    amount = amount_of(request, holds) if commit else 0
    kind = Kind.COMMIT_INFLIGHT if commit else Kind.VOID_INFLIGHT
    references = _references(request.reference, every, alone=[row] == every)
    # A repeated reference gets the first settlement, which the hold's state may show already.
    if request.reference is not None and (first := log_store.find_references(conn, references.values())):
        return _repeated(request.reference, list(first.values()), kind, amount, every)
    if wrong := reference_refusal(request.reference):
        raise wrong
    _check_settleable(conn, holds, amount, amount_field(request), commit=commit)
    if not request.skip_queue and (waiting := family_store.undecided_settlements(conn, [hold.seq for hold in holds])):
        raise AlreadyQueued(does_it=not amount and waiting == {(kind, 0)})
    # The legs of an atomic split are settled together. Other legs, and those of a batch, are independent.
    together = _is_atomic_split(row)
    settled = [
        (hold, share)
        for hold, share in zip(holds, _shares(amount, list(map(_left, holds))), strict=True)
        if _left(hold) and (share or not amount)
    ]
    if commit:
        for hold, share in settled:
            require_amount(share or _left(hold), hold.currency, hold.precision)
    return [settlement(hold, kind, share, references[hold.seq], together=together) for hold, share in settled]


def due_settlements(conn: Connection, transaction_id: str, kind: Kind) -> list[Draft]:
    """Draft the settlements of all that is left of a hold, or of the holds of a split, when their date has come.

    Commits of the legs of an atomic split are decided together, as they are by hand. Voids move no money, and each is
    decided by itself, so that a leg that somebody has settled meanwhile keeps no other from its end.
    """
    row, legs = find_members(conn, transaction_id)
    together = kind == Kind.COMMIT_INFLIGHT and _is_atomic_split(row)
    name = "committed_when_due" if kind == Kind.COMMIT_INFLIGHT else _EXPIRED
    return [
        settlement(leg, kind, 0, f"{leg.transaction_id}_{name}", together=together)
        for leg in legs
        if leg.hold is not None and leg.hold.remaining
    ]


def settlement(
    hold: TransactionRow, kind: Kind, amount: int, reference: str | None, *, together: bool = False
) -> Draft:
    """Draft one settlement of a hold. An amount of 0 stands for all that is left.

    With ``together`` it is decided in one group with the other settlements of its request.
    """
    assert hold.source_key is not None and hold.destination_key is not None
    action = "commit" if kind == Kind.COMMIT_INFLIGHT else "void"
    return draft(
        Priced(
            reference=reference or f"{hold.transaction_id}_{action}_{new_id('')}",
            kind=kind,
            source=hold.source_key,
            destination=hold.destination_key,
            route=route_of(f"bln_{hold.source}"),
            amount=amount,
            currency=hold.currency,
            precision=hold.precision,
            description=hold.description,
            parent=hold.transaction_id,
            meta_data=hold.meta_data,
            hold_seq=hold.seq,
            atomic=together,
        )
    )


def _repeated(
    reference: str, first: Sequence[LogRow], kind: Kind, amount: int, holds: Sequence[TransactionRow]
) -> list[Draft]:
    """Return the settlements that were accepted under a reference, if their content is the same."""
    same = {prior.hold_seq for prior in first} <= {hold.seq for hold in holds}
    for field, differs in (
        ("transaction", not same),
        ("status", any(prior.kind != kind for prior in first)),
        ("amount", sum(prior.amount for prior in first) != amount),
    ):
        if differs:
            raise ReferenceConflict(reference, field, first[0].transaction_id)
    return [repeated(prior) for prior in first]


def _is_atomic_split(row: TransactionRow | None) -> bool:
    return row is not None and row.kind == Kind.SPLIT and row.group_first is not None


def _shares(amount: int, of: Sequence[int]) -> list[int]:
    """Share an amount between holds. No amount gives each 0, which stands for all that is left."""
    return proportional(amount, of) if amount else [0] * len(of)


def _references(reference: str | None, holds: Sequence[TransactionRow], *, alone: bool) -> dict[int, str | None]:
    """Make a reference for each settlement of one request, by the seq of the hold.

    The number in a reference is the position of the hold among all holds there ever were. So a repeated request finds the
    settlements, even if a leg has been rejected since, or a batch has grown.
    """
    if reference is None or alone:
        return {hold.seq: reference for hold in holds}
    return {hold.seq: f"{reference}_{number}" for number, hold in enumerate(holds, 1)}


def _left(hold: TransactionRow) -> int:
    """Return the minor units that are left of a hold. A hold that is not decided has all of them left."""
    return hold.requested if hold.hold is None else hold.hold.remaining


def _has_expired(conn: Connection, hold: TransactionRow) -> bool:
    expired = f"{hold.transaction_id}_{_EXPIRED}"
    return any(each.reference == expired for each in family_store.settlements_of(conn, hold.seq))


def _check_settleable(
    conn: Connection, holds: Sequence[TransactionRow], amount: int, field: str, *, commit: bool
) -> None:
    """Refuse a settlement that the present state of the holds forbids. ``field`` is the one that gives the amount."""
    remaining, original = sum(map(_left, holds)), sum(hold.requested for hold in holds)
    if remaining == 0 and any(hold.hold is not None and hold.hold.voided for hold in holds):
        how = ", because it expired" if all(_has_expired(conn, hold) for hold in holds) else ""
        raise Conflict(ErrorCode.TXN_ALREADY_VOIDED, f"transaction has already been voided{how}")
    if remaining == 0:
        text = "cannot commit. Transaction already committed" if commit else CANNOT_VOID
        raise Conflict(ErrorCode.TXN_ALREADY_COMMITTED, text)
    if amount > original:
        limit = f"original transaction amount. Original: {major(original, holds[0])}"
    elif amount > remaining:
        limit = f"remaining amount. Available: {major(remaining, holds[0])}"
    else:
        return
    text = f"cannot commit more than the {limit}, Requested: {major(amount, holds[0])}"
    raise InvalidRequest([(field, text)], ErrorCode.TXN_COMMIT_AMOUNT_EXCEEDED, message=text)
