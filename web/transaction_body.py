"""The transaction object of Blnk, with what Pacioli adds at its end."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from core.base.db import reading
from core.base.money import to_text
from core.ledger.explain import WIRE_NAMES, blnk_text, sum_text
from core.ledger.rules.model import Accepted, Draft, Kind, Status
from core.ledger.rules.requests import Leg, Terms, TransactionRequest, terms_of
from core.ledger.rules.validation import ZERO_TIME
from core.ledger.store import transactions as transaction_store
from core.ledger.store.transactions import TransactionRow
from web.service import Service

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read_body(ledger: Service, row: TransactionRow) -> dict[str, Any]:
    """The body of one transaction: with its place in line while it has no outcome, and the legs of a split."""
    body = body_of(row)
    if row.kind == Kind.SPLIT and row.seq:
        with reading(ledger.engine) as conn:
            legs = transaction_store.legs_of(conn, row.transaction_id)
        body["legs"] = [_leg_body(leg) for leg in legs]
        _name_legs(body, legs)
    elif row.status is Status.QUEUED:
        body["queue"] = _queue_body(ledger, row)
    return body


def body_of(row: TransactionRow) -> dict[str, Any]:
    """The body of a transaction, from its row alone."""
    terms = terms_of(row.terms)
    body = _body(
        transaction_id=row.transaction_id,
        amount=row.amount,
        precision=row.precision,
        overdraft_limit=row.overdraft_limit,
        parent=row.parent,
        source=id_of(row.source) if row.source is not None else "",
        destination=id_of(row.destination) if row.destination is not None else "",
        reference=row.reference,
        currency=row.currency,
        description=row.description,
        status=row.status,
        allow_overdraft=row.allow_overdraft,
        inflight=row.inflight or terms.inflight,
        digest=row.digest,
        atomic=row.group_first is not None or terms.atomic,
        accepted_at=row.accepted_at,
        effective_date=row.effective_date,
        terms=terms,
        meta_data=row.meta_data,
        sequence=row.seq,
    )
    if row.rejection is not None:
        body["rejection"] = rejection_body(row)
        meta_data = _members(row.meta_data) if row.meta_data else {}
        body["meta_data"] = {**meta_data, "blnk_rejection_reason": blnk_text(row.rejection, row)}
    hold = row.hold
    if hold is not None:
        body["inflight_amounts"] = {"committed": hold.committed, "voided": hold.voided, "remaining": hold.remaining}
    body["timeline"] = [{"status": status, "at": at} for status, at in row.timeline]
    return body


def accepted_body(draft: Draft, accepted: Accepted, asked: TransactionRequest) -> dict[str, Any]:
    """The answer to a fresh submission, made without reading it back. Names stay as they were sent, as in Blnk."""
    terms = terms_of(draft.terms)
    status = Status.QUEUED if accepted.seq else Status.SCHEDULED
    body = _body(
        transaction_id=accepted.transaction_id,
        amount=draft.amount,
        precision=draft.precision,
        overdraft_limit=draft.overdraft_limit,
        parent=draft.parent,
        source=asked.source or "",
        destination=asked.destination or "",
        reference=draft.reference,
        currency=draft.currency,
        description=draft.description,
        status=status,
        allow_overdraft=draft.allow_overdraft,
        inflight=draft.kind == Kind.HOLD or terms.inflight,
        digest=accepted.digest,
        atomic=bool(asked.atomic),
        accepted_at=accepted.accepted_at,
        effective_date=draft.effective_date,
        terms=terms,
        meta_data=draft.meta_data,
        sequence=accepted.seq,
    )
    if draft.legs:
        body["legs"] = [
            {"transaction_id": leg.transaction_id, "reference": leg.reference, "precise_amount": leg.amount}
            for leg in draft.legs
        ]
    body["timeline"] = [{"status": status, "at": accepted.accepted_at}]
    return body


def rejection_body(row: TransactionRow) -> dict[str, Any]:
    """The sum that did not work out, in minor units."""
    rejection = row.rejection
    assert rejection is not None
    return {
        "reason": WIRE_NAMES[rejection.reason],
        "message": sum_text(rejection, row),
        "available": rejection.available,
        "requested": rejection.requested,
        "held": rejection.held,
        "overdraft_limit": rejection.overdraft_limit,
        "short_by": rejection.short_by,
    }


def id_of(key: object) -> str:
    """The public id of a balance."""
    return f"bln_{key}"


def _leg_body(leg: TransactionRow) -> dict[str, Any]:
    body = {
        "transaction_id": leg.transaction_id,
        "reference": leg.reference,
        "source": id_of(leg.source),
        "destination": id_of(leg.destination),
        "precise_amount": leg.amount,
        "status": leg.status,
    }
    return body if leg.rejection is None else {**body, "rejection": rejection_body(leg)}


def _name_legs(body: dict[str, Any], legs: Sequence[TransactionRow]) -> None:
    """The transaction of each source or destination that has one of its own, as Blnk gives it."""
    for side in ("sources", "destinations"):
        named = body.get(side) or []
        if len(named) == len(legs):
            for one, leg in zip(named, legs, strict=True):
                one["transaction_id"] = leg.transaction_id


def _queue_body(ledger: Service, row: TransactionRow) -> dict[str, Any]:
    with reading(ledger.engine) as conn:
        line = transaction_store.line_of(conn, row)
    if line.ahead:
        waiting_for = f"the {line.ahead} ahead of it in queue {line.queue}"
    elif line.waits_for_queues:
        waiting_for = f"earlier credits to its source in queue {', '.join(map(str, line.waits_for_queues))}"
    else:
        waiting_for = "a worker"
    return {
        "number": line.queue,
        "position": line.ahead + 1,
        "ahead": line.ahead,
        "oldest_age_s": round(line.oldest_age_s, 3),
        "waiting_for": waiting_for,
    }


def _body(
    *,
    transaction_id: str,
    amount: int,
    precision: int,
    overdraft_limit: int | None,
    parent: str | None,
    source: str,
    destination: str,
    reference: str,
    currency: str,
    description: str,
    status: Status,
    allow_overdraft: bool,
    inflight: bool,
    digest: bytes | None,
    atomic: bool,
    accepted_at: datetime,
    effective_date: datetime | None,
    terms: Terms,
    meta_data: str | None,
    sequence: int,
) -> dict[str, Any]:
    text = to_text(amount, precision)
    body: dict[str, Any] = {
        "precise_amount": amount,
        "amount": msgspec.Raw(text.encode()),
        "amount_string": text,
        "precision": precision,
        "overdraft_limit": None
        if overdraft_limit is None
        else msgspec.Raw(to_text(overdraft_limit, precision).encode()),
        "transaction_id": transaction_id,
        "parent_transaction": parent or "",
        "source": source,
        "destination": destination,
        "reference": reference,
        "currency": currency,
        "description": description,
        "status": status,
        "hash": digest.hex() if digest is not None else "",
        "allow_overdraft": allow_overdraft,
        "inflight": inflight,
        "skip_queue": False,
        "atomic": atomic,
        "created_at": accepted_at,
        "effective_date": effective_date or accepted_at,
        "scheduled_for": terms.scheduled_for or ZERO_TIME,
        "inflight_expiry_date": terms.inflight_expiry_date or ZERO_TIME,
        "inflight_commit_date": terms.inflight_commit_date or ZERO_TIME,
    }
    for side, legs in (("sources", terms.sources), ("destinations", terms.destinations)):
        if legs:
            body[side] = [_share_body(leg) for leg in legs]
    if meta_data is not None:
        body["meta_data"] = msgspec.Raw(meta_data.encode())
    body["sequence"] = sequence
    return body


def _share_body(leg: Leg) -> dict[str, Any]:
    return {name: value for name in leg.__struct_fields__ if (value := getattr(leg, name)) is not None}
