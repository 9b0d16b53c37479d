"""Draft rows of the log from priced transactions. Every new row of the log is made here.

The transactions of a request come from ``intake.py``. Rows of funding runs, refunds, and commits and voids of holds begin
here, because their balances and minor units are known.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from core.base.ids import new_id
from core.ledger.rules.columns import DraftColumns
from core.ledger.rules.log_row import LogRow
from core.ledger.rules.model import Draft, Kind
from core.ledger.rules.requests import Terms


class Part(Struct, frozen=True, gc=False):
    """The own values of one row among several that agree in all else."""

    source: int | None
    destination: int | None
    route: int
    amount: int
    description: str | None = None
    """None for the one that all share."""
    meta_data: str | None = None
    """None for the one that all share."""
    refund_of: int | None = None


class Priced(Struct, frozen=True, gc=False):
    """A transaction in minor units, between balances that are known.

    It has every value of its row of the log but the position.
    """

    reference: str
    kind: int
    """A ``Kind``; in a split, the kind of its legs."""
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
    """The legs of a split; empty in any other transaction."""


def draft(priced: Priced) -> Draft:
    """Draft one transaction. A split gets its legs."""
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


def draft_alike(common: Priced, parts: Iterable[tuple[str, int, int, str | None, str | None]]) -> Sequence[Draft]:
    """Draft transactions of one source that agree in all but their parts.

    A part is a reference, a destination, an amount, and a description and metadata, which are None where the common ones count.
    """
    assert common.source is not None
    references, destinations, amounts, descriptions, datas = zip(*parts, strict=True)
    row, texts = _row(common), list(zip(descriptions, datas, strict=True))
    templates = {
        (text, data): replace(row, description=text or row.description, meta_data=data or row.meta_data)
        for text, data in set(texts)
    }
    drafts = DraftColumns(
        [new_id("") for _ in texts],
        references,
        balances=([common.source] * len(texts), destinations, [common.route] * len(texts)),
        amounts=amounts,
        templates=list(map(templates.__getitem__, texts)),
    )
    if common.terms is None and common.overdraft_limit is None:
        return drafts
    settled = () if common.terms is None else settle_at(common.terms)
    return [replace(each, settle_at=settled) for each in drafts]


def repeated(row: LogRow) -> Draft:
    """Draft a row that is in the log already. ``append`` answers it with that row."""
    return Draft(row, 0)


def settle_at(terms: Terms) -> tuple[tuple[int, datetime], ...]:
    """Return the times at which a hold is voided or committed by itself, as pairs of kind and time."""
    dates = ((Kind.VOID_INFLIGHT, terms.inflight_expiry_date), (Kind.COMMIT_INFLIGHT, terms.inflight_commit_date))
    return tuple((int(kind), at) for kind, at in dates if at is not None)


def _of_part(row: LogRow, reference: str, part: Part) -> Draft:
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
    return Draft(own, part.route)


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
