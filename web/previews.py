"""``dry_run``: Blnk's preview of what a request would come to. Nothing is written, and no reference is used up."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from flask import Response
from sqlalchemy import Connection

from core.base.errors import LedgerError
from core.base.money import to_text
from core.ledger import dry_run as preview
from core.ledger import intake, settling
from core.ledger.answers import balance_id
from core.ledger.dry_run import Rehearsed
from core.ledger.explain import WIRE_NAMES, blnk_text
from core.ledger.intake import Virtual
from core.ledger.rules.model import Balance, Draft, Kind, RejectReason, Status
from core.ledger.rules.requests import BulkSettlement, SettleRequest, TransactionRequest
from core.verification import store as audit_store
from web.accept.outcomes import CODES
from web.http import wire
from web.service import Service

_REASONS = {
    RejectReason.INSUFFICIENT_FUNDS: "insufficient_funds",
    RejectReason.OVERDRAFT_LIMIT: "overdraft_limit",
}
"""The reasons that Blnk tells apart; all else is ``other``."""

FORBIDDEN_NOW = frozenset(
    {
        "TXN_NOT_INFLIGHT",
        "TXN_ALREADY_COMMITTED",
        "TXN_ALREADY_VOIDED",
        "TXN_COMMIT_AMOUNT_EXCEEDED",
        "TXN_ALREADY_REFUNDED",
        "TXN_DUPLICATE_REFERENCE",
        "GEN_CONFLICT",
    }
)
"""What the present state answers to a commit, void or refund that is well formed: a preview shows it, with 200."""


def create(ledger: Service, asked: TransactionRequest) -> Response:
    """The preview of one transaction."""
    virtual = Virtual()
    drafts = intake.draft_all([asked], ledger.directory, virtual=virtual)
    with audit_store.snapshot(ledger.engine) as conn:
        (one,) = preview.rehearse(conn, drafts)
        body = _preview(one, _Balances(conn, [one], virtual))
    if drafts[0].due_at is not None:
        body.setdefault("notes", []).append("it is scheduled; this is what it would come to now")
    return wire.answer(body)


def bulk(
    ledger: Service, requests: Sequence[TransactionRequest], *, inflight: bool | None, atomic: bool, batch_id: str
) -> Response:
    """The preview of a bulk: each transaction over what the ones before it would leave, as the ledger decides them."""
    virtual = Virtual()
    drafts = intake.draft_all(requests, ledger.directory, parent=batch_id, inflight=inflight, virtual=virtual)
    intake.check_distinct_references(drafts)
    with audit_store.snapshot(ledger.engine) as conn:
        rehearsed = preview.rehearse(conn, drafts, atomic=atomic)
        balances = _Balances(conn, rehearsed, virtual)
        notes = ["atomic: all are applied, or none"] if atomic else []
        return wire.answer(_bulk_preview(rehearsed, balances, atomic=atomic, notes=notes))


def settlement(ledger: Service, asked: SettleRequest, drafts: Sequence[Draft]) -> Response:
    """The preview of a commit or void, of one hold or of several."""
    with audit_store.snapshot(ledger.engine) as conn:
        rehearsed = preview.rehearse(conn, drafts, atomic=drafts[0].atomic)
        return wire.answer(_settlement(_Balances(conn, rehearsed, Virtual()), asked, rehearsed))


def refund(ledger: Service, draft: Draft) -> Response:
    """The preview of a refund."""
    with audit_store.snapshot(ledger.engine) as conn:
        (one,) = preview.rehearse(conn, [draft])
        return wire.answer(_preview(one, _Balances(conn, [one], Virtual())))


def bulk_settlement(ledger: Service, items: Sequence[tuple[BulkSettlement, str]]) -> Response:
    """The preview of a bulk commit or void. Each item is over the ledger as it is: they are settled each by itself."""
    results: list[dict[str, Any]] = []
    seen: set[str] = set()
    notes: list[str] = []
    with audit_store.snapshot(ledger.engine) as conn:
        for item, status in items:
            if item.transaction_id in seen:
                notes.append(f"{item.transaction_id} appears more than once; only its first place counts")
            seen.add(item.transaction_id)
            asked = SettleRequest(
                status=status, amount=item.amount, precise_amount=item.precise_amount, skip_queue=True
            )
            try:
                drafts = settling.draft_settlements(conn, item.transaction_id, asked)
            except LedgerError as error:
                results.append({"transaction_id": item.transaction_id, **refused(error, status)})
                continue
            rehearsed = preview.rehearse(conn, drafts)
            body = _settlement(_Balances(conn, rehearsed, Virtual()), asked, rehearsed)
            results.append({"transaction_id": item.transaction_id, **body})
    body = {
        "dry_run": True,
        "would_apply": all(result["would_apply"] for result in results),
        "cumulative": False,
        "results": results,
    }
    return wire.answer({**body, "notes": notes} if notes else body)


def refused(error: LedgerError, operation: str | None = None) -> dict[str, Any]:
    """The preview of what the present state forbids."""
    body: dict[str, Any] = {"dry_run": True, "would_apply": False, "rejection": _rejection(error.code, error.message)}
    if operation is not None:
        body["operation"] = operation
    return {**body, "currency": "", "amount": 0, "precise_amount": "0", "precision": 1, "balances": []}


class _Balances:
    """Names of the balances of a rehearsal."""

    def __init__(self, conn: Connection, rehearsed: Sequence[Rehearsed], virtual: Virtual) -> None:
        keys = {key for one in rehearsed for key in one.before}
        self._ids: Mapping[int, UUID] = audit_store.balance_ids(conn, [key for key in keys if key > 0])
        self._virtual = {ref.key: ref.balance_id for ref in virtual.values()}

    def name(self, key: int) -> str:
        return self._virtual[key] if key < 0 else balance_id(self._ids[key])

    def projections(self, one: Rehearsed) -> list[dict[str, Any]]:
        """Each balance as it is and as it would be, sources first."""
        roles = {posting.destination: "destination" for posting in one.postings}
        roles |= {posting.source: "source" for posting in one.postings}
        ordered = sorted(roles, key=lambda key: roles[key], reverse=True)
        return [
            {
                "balance_id": self.name(key),
                "role": roles[key],
                "currency": one.draft.row.currency,
                **({"virtual": True} if key < 0 else {}),
                **_sums("current", one.before[key]),
                **_sums("resulting", one.after[key]),
            }
            for key in ordered
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


def _preview(one: Rehearsed, balances: _Balances) -> dict[str, Any]:
    draft, row = one.draft, one.draft.row
    amount = row.amount if draft.legs else one.outcomes[0].amount or row.amount
    body: dict[str, Any] = {"dry_run": True, "would_apply": True}
    rejection = _rejection_of(one)
    if rejection is not None:
        body |= {"would_apply": False, "rejection": rejection}
    else:
        held = any(outcome.status is Status.INFLIGHT for outcome in one.outcomes)
        body["status"] = Status.INFLIGHT if held else one.outcomes[0].status
    body |= {"reference": row.reference, "currency": row.currency, **_amounts(amount, row.precision)}
    body["precision"] = row.precision
    body["balances"] = balances.projections(one)
    if draft.legs:
        sides = (("source", [p.source for p in one.postings]), ("destination", [p.destination for p in one.postings]))
        body["legs"] = [
            {"identifier": balances.name(key), "role": role, **_amounts(posting.amount, row.precision)}
            for role, keys in [side for side in sides if len(set(side[1])) > 1] or sides[1:]
            for key, posting in zip(keys, one.postings, strict=True)
        ]
    return body


def _settlement(balances: _Balances, asked: SettleRequest, rehearsed: Sequence[Rehearsed]) -> dict[str, Any]:
    first = rehearsed[0]
    one = next((each for each in rehearsed if each.rejected), first)
    body = {**_preview(one, balances), "operation": asked.status}
    del body["reference"]
    if len(rehearsed) > 1:
        total = sum(outcome.amount for each in rehearsed for outcome in each.outcomes)
        body |= _amounts(total, first.draft.row.precision)
        body["balances"] = _in_total(rehearsed, balances)
        body["legs"] = [
            {
                "identifier": each.draft.row.parent,
                "role": "hold",
                **_amounts(each.outcomes[0].amount, each.draft.row.precision),
            }
            for each in rehearsed
        ]
    if asked.status == "void" and (asked.amount or asked.precise_amount is not None):
        body["notes"] = ["amount is ignored when voiding; a void always releases the full remaining hold"]
    return body


def _bulk_preview(
    rehearsed: Sequence[Rehearsed], balances: _Balances, *, atomic: bool, notes: list[str]
) -> dict[str, Any]:
    results = [_preview(one, balances) for one in rehearsed]
    body: dict[str, Any] = {
        "dry_run": True,
        "would_apply": all(result["would_apply"] for result in results),
        "cumulative": True,
        "atomic": atomic,
        "results": results,
        "balances": _in_total(rehearsed, balances),
    }
    # Of an atomic batch the first to fail for a reason of its own, and not because of another.
    own = (place for place, one in enumerate(rehearsed) if one.taken_by or _fails_by_itself(one))
    if (place := next(own, None)) is not None:
        result = results[place]
        body["first_failure"] = {"index": place, "reference": result["reference"], "rejection": result["rejection"]}
    return {**body, "notes": notes} if notes else body


def _in_total(rehearsed: Sequence[Rehearsed], balances: _Balances) -> list[dict[str, Any]]:
    """Each balance once, from before the first to after the last."""
    total: dict[str, dict[str, Any]] = {}
    for one in rehearsed:
        for projection in balances.projections(one):
            first = total.setdefault(projection["balance_id"], projection)
            resulting = {name: value for name, value in projection.items() if name.startswith("resulting_")}
            total[projection["balance_id"]] = {**first, **resulting}
    return list(total.values())


def _fails_by_itself(one: Rehearsed) -> bool:
    outcome = one.rejected
    return outcome is not None and outcome.rejection is not None and outcome.rejection.culprit is None


def _rejection_of(one: Rehearsed) -> dict[str, str] | None:
    if one.taken_by is not None:
        text = f"transaction validation failed: reference {one.draft.row.reference} has already been used"
        return _rejection("TXN_DUPLICATE_REFERENCE", text)
    outcome = one.rejected
    if outcome is None or outcome.rejection is None:
        return None
    reason = outcome.rejection.reason
    text = blnk_text(outcome.rejection, one.draft.row)
    if one.draft.row.kind in (Kind.TRANSFER, Kind.HOLD, Kind.SPLIT):
        text = f"failed to apply transaction to balances: {text}"
    return {**_rejection(CODES[reason], text), "reason": _REASONS.get(reason, "other"), "check": WIRE_NAMES[reason]}


def _rejection(code: str, message: str) -> dict[str, str]:
    return {"code": code, "reason": "other", "message": message}


def _amounts(minor: int, precision: int) -> dict[str, Any]:
    return {"amount": msgspec.Raw(to_text(minor, precision).encode()), "precise_amount": str(minor)}
