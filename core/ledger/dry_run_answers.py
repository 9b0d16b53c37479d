"""Makes the answers of dry runs, in Blnk's form. A dry run writes nothing, and uses no reference up.

``dry_run.py`` decides. Here is one function for each kind of request.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Literal, cast
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct, UnsetType
from sqlalchemy import Connection, Engine

from core.base.answers import Major, major
from core.base.db import snapshot
from core.base.errors import ErrorCode, LedgerError
from core.ledger import batches, dry_run, holds
from core.ledger.answers import Warning, balance_id
from core.ledger.dry_run import DryRun, Imagined
from core.ledger.explain import CODES, WIRE_NAMES, RejectionName, blnk_text
from core.ledger.rules.model import Balance, Draft, Kind, RejectReason, Status
from core.ledger.rules.requests import BulkSettlement, RefundRequest, SettleRequest
from core.ledger.store import balances as balance_store

FORBIDDEN_NOW = frozenset(
    {
        ErrorCode.TXN_NOT_INFLIGHT,
        ErrorCode.TXN_ALREADY_COMMITTED,
        ErrorCode.TXN_ALREADY_VOIDED,
        ErrorCode.TXN_COMMIT_AMOUNT_EXCEEDED,
        ErrorCode.TXN_ALREADY_REFUNDED,
        ErrorCode.TXN_DUPLICATE_REFERENCE,
        ErrorCode.GEN_CONFLICT,
    }
)
"""The codes of refusals by the present state. A dry run of a commit, void or refund answers them with 200."""

_REASONS: dict[RejectReason, Literal["insufficient_funds", "overdraft_limit"]] = {
    RejectReason.INSUFFICIENT_FUNDS: "insufficient_funds",
    RejectReason.OVERDRAFT_LIMIT: "overdraft_limit",
}
"""The reasons that Blnk tells apart. Any other reason is ``other``."""


class WouldBeRejected(Struct, frozen=True, kw_only=True):
    """Why a request would be rejected."""

    code: str
    reason: Literal["insufficient_funds", "overdraft_limit", "other"]
    message: str
    check: RejectionName | UnsetType = UNSET


class Projection(Struct, frozen=True, kw_only=True):
    """A balance as it is and as it would be, in minor units as strings."""

    balance_id: str
    role: Literal["source", "destination"]
    currency: str
    virtual: bool | UnsetType = UNSET
    """true means that the balance does not exist yet, and would be created."""
    current_balance: str
    current_available: str
    current_credit_balance: str
    current_debit_balance: str
    current_inflight_debit_balance: str
    current_inflight_credit_balance: str
    resulting_balance: str
    resulting_available: str
    resulting_credit_balance: str
    resulting_debit_balance: str
    resulting_inflight_debit_balance: str
    resulting_inflight_credit_balance: str


class LegProjection(Struct, frozen=True, kw_only=True):
    """A leg of a split, or one of the holds of a split or batch."""

    identifier: str
    role: Literal["source", "destination", "hold"]
    amount: Major
    precise_amount: str


class DryRunAnswer(Struct, frozen=True, kw_only=True):
    """The result that one request would have."""

    transaction_id: str | UnsetType = UNSET
    """The ID of the hold, in a commit or void of a batch."""
    dry_run: bool = True
    would_apply: bool
    rejection: WouldBeRejected | UnsetType = UNSET
    """Why it would be rejected."""
    operation: Literal["commit", "void"] | UnsetType = UNSET
    """The operation on a hold."""
    status: Status | UnsetType = UNSET
    """The status that it would get."""
    reference: str | UnsetType = UNSET
    currency: str
    amount: Major
    """The amount in major units."""
    precise_amount: str
    precision: int
    balances: list[Projection]
    """Each balance as it is (current_) and as it would be (resulting_)."""
    legs: list[LegProjection] | UnsetType = UNSET
    notes: list[str] | UnsetType = UNSET
    warnings: list[Warning] | UnsetType = UNSET
    """The fields of the request that would have no effect."""


class FirstFailure(Struct, frozen=True, kw_only=True):
    """The first transaction of a batch that would fail."""

    index: int
    reference: str
    rejection: WouldBeRejected


class BulkDryRun(Struct, frozen=True, kw_only=True):
    """The results that a batch would have."""

    dry_run: bool = True
    would_apply: bool
    cumulative: bool
    """Whether each transaction is decided over what the ones before it would leave."""
    atomic: bool | UnsetType = UNSET
    results: list[DryRunAnswer]
    """One result for each transaction."""
    balances: list[Projection] | UnsetType = UNSET
    """Each balance once, from before the first transaction to after the last."""
    first_failure: FirstFailure | UnsetType = UNSET
    notes: list[str] | UnsetType = UNSET
    warnings: list[Warning] | UnsetType = UNSET
    """The fields of the requests that would have no effect, a hundred at most."""


def transaction(engine: Engine, draft: Draft, imagined: Imagined) -> DryRunAnswer:
    """Dry-run one transaction, which was drafted with the balances in ``imagined``."""
    with snapshot(engine) as conn:
        (one,) = dry_run.decide_drafts(conn, [draft])
        answer = _answer(one, _Balances(conn, [one], imagined))
    if draft.due_at is None:
        return answer
    return msgspec.structs.replace(answer, notes=["it is scheduled; this is what it would come to now"])


def bulk(engine: Engine, drafts: Sequence[Draft], imagined: Imagined, *, atomic: bool) -> BulkDryRun:
    """Dry-run a batch: each transaction over what the ones before it would leave, as the ledger decides them."""
    with snapshot(engine) as conn:
        found = dry_run.decide_drafts(conn, drafts, atomic=atomic)
        balances = _Balances(conn, found, imagined)
        results = [_answer(one, balances) for one in found]
        return BulkDryRun(
            would_apply=all(result.would_apply for result in results),
            cumulative=True,
            atomic=atomic,
            results=results,
            balances=_in_total(found, balances),
            first_failure=_first_failure(found, results),
            notes=["atomic: all are applied, or none"] if atomic else UNSET,
        )


def settlement(engine: Engine, asked: SettleRequest, drafts: Sequence[Draft]) -> DryRunAnswer:
    """Dry-run a commit_inflight or void_inflight of one hold, or of several."""
    with snapshot(engine) as conn:
        found = dry_run.decide_drafts(conn, drafts, atomic=drafts[0].atomic)
        return _settlement(_Balances(conn, found), asked, found)


def settlements(engine: Engine, items: Sequence[tuple[BulkSettlement, str]], *, skip_queue: bool) -> BulkDryRun:
    """Dry-run the settlements of several holds, each over the ledger as it is, because each is settled by itself."""
    results: list[DryRunAnswer] = []
    seen: dict[str, BulkSettlement] = {}
    notes: list[str] = []
    with snapshot(engine) as conn:
        for item, status in items:
            id = item.transaction_id
            asked = SettleRequest(
                status=status, amount=item.amount, precise_amount=item.precise_amount, skip_queue=skip_queue
            )
            try:
                try:
                    if (first := seen.get(id)) is not None:
                        raise holds.named_twice(first, item, skip_queue=skip_queue)
                    drafts = holds.draft_settlements(conn, id, asked)
                except holds.AlreadyQueued as error:
                    if not error.does_it:
                        raise
                    notes.append(f"{id}: {error.message}; only the first one counts")
                    drafts = holds.draft_settlements(conn, id, msgspec.structs.replace(asked, skip_queue=True))
            except LedgerError as error:
                result = refused(conn, id, asked, error)
            else:
                seen.setdefault(id, item)
                found = dry_run.decide_drafts(conn, drafts)
                result = _settlement(_Balances(conn, found), asked, found)
            results.append(msgspec.structs.replace(result, transaction_id=id))
    return BulkDryRun(
        would_apply=all(result.would_apply for result in results),
        cumulative=False,
        results=results,
        notes=notes or UNSET,
    )


def refund(engine: Engine, draft: Draft) -> DryRunAnswer:
    """Dry-run a refund."""
    with snapshot(engine) as conn:
        (one,) = dry_run.decide_drafts(conn, [draft])
        return _answer(one, _Balances(conn, [one]))


def refused(
    conn: Connection, transaction_id: str, asked: SettleRequest | RefundRequest, error: LedgerError
) -> DryRunAnswer:
    """Make the answer of a commit, void or refund that the present state forbids. The amount is the one asked for, or 0."""
    currency, precision, amount = "", 1, 0
    with suppress(LedgerError):
        _, of = batches.find_members(conn, transaction_id)
        if len({(each.currency, each.precision) for each in of}) == 1:
            currency, precision, amount = of[0].currency, of[0].precision, batches.amount_of(asked, of)
    return DryRunAnswer(
        would_apply=False,
        rejection=WouldBeRejected(code=error.code, reason="other", message=error.message),
        operation=_operation(asked.status) if isinstance(asked, SettleRequest) else UNSET,
        currency=currency,
        amount=major(amount, precision),
        precise_amount=str(amount),
        precision=precision,
        balances=[],
    )


def _operation(status: str | None) -> Literal["commit", "void"]:
    return "void" if status == "void" else "commit"


class _Balances:
    """Knows the names of the balances that a dry run touches."""

    def __init__(self, conn: Connection, found: Sequence[DryRun], imagined: Imagined | None = None) -> None:
        keys = {key for one in found for key in one.before}
        self._ids: Mapping[int, UUID] = balance_store.public_ids(conn, [key for key in keys if key > 0])
        self._imagined = {} if imagined is None else {ref.key: ref.balance_id for ref in imagined.balances.values()}

    def name(self, key: int) -> str:
        """Return the ID of a balance, or the ``@Name`` of one that does not exist yet."""
        return self._imagined[key] if key < 0 else balance_id(self._ids[key])

    def projections(self, one: DryRun) -> list[Projection]:
        """List each balance of a draft as it is and as it would be, sources first."""
        sources = {posting.source for posting in one.postings}
        keys = dict.fromkeys([p.destination for p in one.postings] + [p.source for p in one.postings])
        return [
            Projection(
                balance_id=self.name(key),
                role="source" if key in sources else "destination",
                currency=one.draft.row.currency,
                virtual=True if key < 0 else UNSET,
                **_sums("current", one.before[key]),
                **_sums("resulting", one.after[key]),
            )
            for key in sorted(keys, key=lambda key: key not in sources)
        ]


def _sums(when: str, balance: Balance) -> dict[str, str]:
    return {
        f"{when}_balance": str(balance.balance),
        f"{when}_available": str(balance.balance - balance.inflight_debit),
        f"{when}_credit_balance": str(balance.credit),
        f"{when}_debit_balance": str(balance.debit),
        f"{when}_inflight_debit_balance": str(balance.inflight_debit),
        f"{when}_inflight_credit_balance": str(balance.inflight_credit),
    }


def _answer(one: DryRun, balances: _Balances) -> DryRunAnswer:
    """Make the answer of one draft."""
    draft, row = one.draft, one.draft.row
    amount = row.amount if draft.legs else one.outcomes[0].amount or row.amount
    rejection = _rejection_of(one)
    held = any(outcome.status is Status.INFLIGHT for outcome in one.outcomes)
    status = Status.INFLIGHT if held else one.outcomes[0].status
    return DryRunAnswer(
        would_apply=rejection is None,
        rejection=UNSET if rejection is None else rejection,
        status=status if rejection is None else UNSET,
        reference=row.reference,
        currency=row.currency,
        amount=major(amount, row.precision),
        precise_amount=str(amount),
        precision=row.precision,
        balances=balances.projections(one),
        legs=_legs(one, balances) if draft.legs else UNSET,
    )


def _legs(one: DryRun, balances: _Balances) -> list[LegProjection]:
    """List the legs of each side that has several balances."""
    sources = [(posting.source, "source", posting.amount) for posting in one.postings]
    destinations = [(posting.destination, "destination", posting.amount) for posting in one.postings]
    sides = [side for side in (sources, destinations) if len({key for key, _, _ in side}) > 1] or [destinations]
    precision = one.draft.row.precision
    return [
        LegProjection(
            identifier=balances.name(key),
            role="source" if role == "source" else "destination",
            amount=major(amount, precision),
            precise_amount=str(amount),
        )
        for side in sides
        for key, role, amount in side
    ]


def _settlement(balances: _Balances, asked: SettleRequest, found: Sequence[DryRun]) -> DryRunAnswer:
    one = next((each for each in found if each.rejected), found[0])
    ignored = asked.status == "void" and (asked.amount or asked.precise_amount is not None)
    answer = msgspec.structs.replace(
        _answer(one, balances),
        operation=_operation(asked.status),
        reference=UNSET,
        notes=["amount is ignored when voiding; a void always releases the full remaining hold"] if ignored else UNSET,
    )
    if len(found) == 1:
        return answer
    total = sum(outcome.amount for each in found for outcome in each.outcomes)
    legs = [
        LegProjection(
            identifier=each.draft.row.parent or "",
            role="hold",
            amount=major(each.outcomes[0].amount, each.draft.row.precision),
            precise_amount=str(each.outcomes[0].amount),
        )
        for each in found
    ]
    return msgspec.structs.replace(
        answer,
        amount=major(total, found[0].draft.row.precision),
        precise_amount=str(total),
        balances=_in_total(found, balances),
        legs=legs,
    )


def _in_total(found: Sequence[DryRun], balances: _Balances) -> list[Projection]:
    """List each balance once, from before the first draft to after the last."""
    total: dict[str, Projection] = {}
    for one in found:
        for projection in balances.projections(one):
            first = total.setdefault(projection.balance_id, projection)
            resulting = {name: getattr(projection, name) for name in _RESULTING}
            total[projection.balance_id] = msgspec.structs.replace(first, **resulting)
    return list(total.values())


_RESULTING = [name for name in Projection.__struct_fields__ if name.startswith("resulting_")]


def _first_failure(found: Sequence[DryRun], results: Sequence[DryRunAnswer]) -> FirstFailure | UnsetType:
    """Find the first draft that fails for a reason of its own, instead of that of another in an atomic batch."""
    for index, (one, result) in enumerate(zip(found, results, strict=True)):
        if one.taken_by or _fails_by_itself(one):
            rejection, reference = cast(WouldBeRejected, result.rejection), cast(str, result.reference)
            return FirstFailure(index=index, reference=reference, rejection=rejection)
    return UNSET


def _fails_by_itself(one: DryRun) -> bool:
    outcome = one.rejected
    return outcome is not None and outcome.rejection is not None and outcome.rejection.culprit is None


def _rejection_of(one: DryRun) -> WouldBeRejected | None:
    """Explain why a draft would be rejected. Returns None when it would be applied."""
    row = one.draft.row
    if one.taken_by is not None:
        text = f"transaction validation failed: reference {row.reference} has already been used"
        return WouldBeRejected(code=ErrorCode.TXN_DUPLICATE_REFERENCE, reason="other", message=text)
    outcome = one.rejected
    if outcome is None or outcome.rejection is None:
        return None
    reason = outcome.rejection.reason
    text = blnk_text(outcome.rejection, row)
    if row.kind in (Kind.TRANSFER, Kind.HOLD, Kind.SPLIT):
        text = f"failed to apply transaction to balances: {text}"
    return WouldBeRejected(
        code=CODES[reason], reason=_REASONS.get(reason, "other"), message=text, check=WIRE_NAMES[reason]
    )
