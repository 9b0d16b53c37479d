"""Drafts plain transfers and holds in one pass, where the steps of ``intake.py`` could find nothing wrong and nothing to create.

It has no rules of its own, and refuses nothing. Each test here is at least as strict as the rules of the steps. Requests that
do not pass all of them go through the steps, which say what is wrong, if anything is. A property test compares the two.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from operator import itemgetter
from typing import Any

from msgspec.structs import astuple

from core.base.actors import Right, current, reach_of_request
from core.base.ids import new_id
from core.base.metadata import meta_data_problems, meta_data_text
from core.base.money import InexactAmount, to_minor
from core.base.names import unclear
from core.base.sizes import description_problem
from core.ledger.directory import Names
from core.ledger.rules.log_row import LogRow
from core.ledger.rules.model import Draft, Kind
from core.ledger.rules.requests import TransactionRequest
from core.ledger.rules.validation import MAX_REFERENCE, indicator_problems, used_currency_problems, whole

_TRANSFER, _HOLD = int(Kind.TRANSFER), int(Kind.HOLD)
"""Kinds as plain integers, because access to a member of an enum costs several times as much."""

_READ = (
    "amount",
    "precise_amount",
    "precision",
    "currency",
    "reference",
    "description",
    "source",
    "destination",
    "allow_overdraft",
    "apply_overdraft",
    "inflight",
    "meta_data",
)
"""The fields that a plain transfer may have."""

_WITHOUT_EFFECT = ("skip_queue", "atomic", "dry_run", "balance_id")
"""The fields that change no draft of a transfer that has none of the others."""

_FIELDS = TransactionRequest.__struct_fields__
_others = [name for name in _FIELDS if name not in _READ and name not in _WITHOUT_EFFECT]
_read = itemgetter(*map(_FIELDS.index, _READ))
_rest = itemgetter(*map(_FIELDS.index, _others))
_ABSENT = (None,) * len(_others)

_CURRENCY, _REFERENCE, _SOURCE, _DESTINATION = map(_READ.index, ("currency", "reference", "source", "destination"))

_Row = tuple[Any, ...]
"""The fields of ``_READ``."""


def draft_plain(
    requests: Sequence[TransactionRequest | None], directory: Names, parent: str | None
) -> list[Draft] | None:
    """Draft requests, in their order. Returns None if one of them may be anything else than plain, right and allowed.

    ``parent`` is the batch that they belong to.
    """
    reach, may_overdraft = reach_of_request(), current().may(Right.TRANSACTIONS_POST_OVERDRAFT)
    if not directory.check_precision or reach.bounds_balances or reach.bounds_money:
        return None
    rows: list[_Row] = []
    for request in requests:
        if request is None or _rest(values := astuple(request)) != _ABSENT:
            return None
        rows.append(_read(values))
    precisions = _precisions({row[_CURRENCY] for row in rows}, directory)
    if precisions is None or not _are_clear([row[_REFERENCE] for row in rows]) or not _are_named(rows):
        return None
    known = directory.know(
        [
            (name, row[_CURRENCY]) if name[0] == "@" else name
            for row in rows
            for name in (row[_SOURCE], row[_DESTINATION])
        ]
    )
    drafts = []
    for (
        amount,
        minor,
        precision,
        currency,
        reference,
        description,
        source,
        destination,
        allow,
        apply,
        hold,
        data,
    ) in rows:
        debited = known.get((source, currency) if source[0] == "@" else source)
        credited = known.get((destination, currency) if destination[0] == "@" else destination)
        if debited is None or credited is None or debited.key == credited.key:
            return None
        if debited.currency != currency or credited.currency != currency:
            return None
        fixed = precisions[currency]
        if precision is not None and not (precision.is_finite() and precision == fixed):
            return None
        if minor is None:
            minor = _minor_of(amount, fixed)
        elif amount:
            return None
        elif type(minor) is not int or minor >= 1 << 63:
            minor = whole(minor)
        if minor is None or minor <= 0 or not description or description_problem(description) is not None:
            return None
        overdraft = bool(allow or apply)
        if overdraft and not may_overdraft:
            return None
        if data:
            data = bytes(data)
            if meta_data_problems(data):
                return None
        row = LogRow(
            id=new_id(""),
            reference=reference,
            kind=_HOLD if hold else _TRANSFER,
            source=debited.key,
            destination=credited.key,
            amount=minor,
            currency=currency,
            precision=fixed,
            description=description,
            allow_overdraft=overdraft,
            parent=parent,
            meta_data=meta_data_text(data) if data else None,
        )
        drafts.append(Draft(row, debited.route))
    return drafts


def _precisions(currencies: Iterable[str | None], directory: Names) -> dict[str, int] | None:
    """Return the precision of each currency, or None if one has none yet or may be wrong."""
    found = {}
    for currency in currencies:
        fixed = None if currency is None or used_currency_problems(currency) else directory.precision(currency)
        if currency is None or fixed is None:
            return None
        found[currency] = fixed
    return found


def _are_clear(references: Sequence[str | None]) -> bool:
    """Tell whether all references are there, distinct, clear and not too long. None with a blank in it counts as clear."""
    texts = [reference for reference in references if reference]
    together = "".join(texts)
    return (
        len(set(texts)) == len(references)
        and " " not in together  # It hides at which end of a text it is.
        and unclear(together) is None
        and max(map(len, texts), default=0) <= MAX_REFERENCE
    )


def _are_named(rows: Iterable[_Row]) -> bool:
    """Tell whether all sides have a name that a balance may have."""
    names = {name for row in rows for name in (row[_SOURCE], row[_DESTINATION])}
    return all(name and (name[0] != "@" or not indicator_problems("", name)) for name in names)


def _minor_of(amount: Decimal | None, precision: int) -> int | None:
    try:
        return None if amount is None else to_minor(amount, precision)
    except InexactAmount:
        return None
