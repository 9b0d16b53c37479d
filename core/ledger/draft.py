"""Drafts of rows of the log, out of what is priced. All that goes into the log comes through here.

A request gets here by ``intake.py``. A row of a funding run, a refund, and a commit or void of a hold begin here, for their
balances and minor units are known.
"""

from collections.abc import Iterable
from datetime import datetime

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from core.base.ids import new_id
from core.ledger.rules.log_row import LogRow
from core.ledger.rules.model import Draft, Kind
from core.ledger.rules.requests import Terms


class Part(Struct, frozen=True, gc=False):
    """What one of several rows has of its own, when they agree in all else."""

    source: int | None
    destination: int | None
    route: int
    amount: int
    description: str | None = None
    """None is that of all."""
    meta_data: str | None = None
    """None is that of all."""
    refund_of: int | None = None


class Priced(Struct, frozen=True, gc=False):
    """A transaction between balances that are known, in minor units: all that the log will say of it but its position."""

    reference: str
    kind: int
    """A ``Kind``. In a split it is that of the legs."""
    source: int | None
    """Key of the balance that is debited. None where a split has several."""
    destination: int | None
    """Key of the balance that is credited. None where a split has several."""
    route: int
    """The source's part in routing."""
    amount: int
    currency: str
    precision: int
    description: str
    allow_overdraft: bool = False
    overdraft_limit: int | None = None
    parent: str | None = None
    effective_date: datetime | None = None
    meta_data: str | None = None
    hold_seq: int | None = None
    refund_of: int | None = None
    terms: Terms | None = None
    atomic: bool = False
    legs: tuple[Part, ...] = ()
    """Of a split."""


def draft(priced: Priced) -> Draft:
    """The draft of one transaction, with the legs of a split."""
    row = _row(priced)
    if priced.terms is None and not priced.legs:
        return Draft(row, priced.route, (), priced.atomic)
    terms = priced.terms or Terms()
    due_at = terms.scheduled_for if terms.scheduled_at is not None else None
    legs: tuple[Draft, ...] = ()
    if priced.legs:
        leg_row = replace(row, terms=None, parent=row.transaction_id)
        legs = tuple(_of_part(leg_row, f"{row.reference}_{number}", leg) for number, leg in enumerate(priced.legs, 1))
        row = replace(row, kind=int(Kind.SPLIT))
    return Draft(row, priced.route, legs, priced.atomic, due_at, settle_at(terms))


def draft_alike(common: Priced, parts: Iterable[tuple[str, Part]]) -> list[Draft]:
    """The drafts of transactions that agree in all but their parts, each by its reference."""
    row, settled = _row(common), () if common.terms is None else settle_at(common.terms)
    return [_of_part(row, reference, part, settled) for reference, part in parts]


def repeated(row: LogRow) -> Draft:
    """A draft of what is in the log already, and is answered with that."""
    return Draft(row, 0)


def settle_at(terms: Terms) -> tuple[tuple[int, datetime], ...]:
    """When to void or commit a hold by itself: pairs of kind and time."""
    dates = ((Kind.VOID_INFLIGHT, terms.inflight_expiry_date), (Kind.COMMIT_INFLIGHT, terms.inflight_commit_date))
    return tuple((int(kind), at) for kind, at in dates if at is not None)


def _of_part(row: LogRow, reference: str, part: Part, settled: tuple[tuple[int, datetime], ...] = ()) -> Draft:
    own = replace(
        row,
        id=new_id(""),
        reference=reference,
        source=part.source,
        destination=part.destination,
        amount=part.amount,
        description=part.description or row.description,
        refund_of=part.refund_of,
        meta_data=part.meta_data or row.meta_data,
    )
    return Draft(own, part.route, (), False, None, settled)


def _row(priced: Priced) -> LogRow:
    return LogRow(
        id=new_id(""),
        reference=priced.reference,
        kind=priced.kind,
        source=priced.source,
        destination=priced.destination,
        amount=priced.amount,
        currency=priced.currency,
        precision=priced.precision,
        description=priced.description,
        allow_overdraft=priced.allow_overdraft,
        overdraft_limit=priced.overdraft_limit,
        hold_seq=priced.hold_seq,
        refund_of=priced.refund_of,
        parent=priced.parent,
        effective_date=priced.effective_date,
        meta_data=priced.meta_data,
        terms=None if priced.terms is None else msgspec.json.encode(priced.terms).decode(),
    )
