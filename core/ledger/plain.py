"""Drafts plain transfers and holds in one pass, where the steps of ``intake.py`` could find nothing wrong and nothing to create.

It has no rules of its own, and refuses nothing. Each test here is at least as strict as the rules of the steps. Requests that
do not pass all of them go through the steps, which say what is wrong, if anything is. A property test compares the two.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from itertools import repeat
from operator import eq, itemgetter
from types import NoneType
from typing import Any

from msgspec import DecodeError, Raw, Struct, json
from msgspec.structs import astuple, replace

from core.base.actors import Right, current, reach_of_request
from core.base.ids import new_id
from core.base.metadata import meta_data_problems, meta_data_text
from core.base.money import InexactAmount, to_minor
from core.base.names import unclear
from core.base.sizes import description_problem
from core.base.unreadable import has_nul
from core.ledger.directory import Names
from core.ledger.rules.columns import DraftColumns
from core.ledger.rules.log_row import LogRow
from core.ledger.rules.model import HOLD, TRANSFER, Draft
from core.ledger.rules.requests import NO_META_DATA, TransactionRequest
from core.ledger.rules.validation import MAX_REFERENCE, indicator_problems, used_currency_problems, whole

_SHARED = (
    "currency",
    "precision",
    "description",
    "allow_overdraft",
    "apply_overdraft",
    "inflight",
    "meta_data",
)
"""The fields in which many transfers of a bulk agree."""

_READ = ("amount", "precise_amount", "reference", "source", "destination", *_SHARED)
"""The fields that a plain transfer may have."""


_WITHOUT_EFFECT = ("skip_queue", "atomic", "dry_run", "balance_id")
"""The fields that change no draft of a transfer that has none of the others."""

_FIELDS = TransactionRequest.__struct_fields__
_others = [name for name in _FIELDS if name not in _READ and name not in _WITHOUT_EFFECT]
_read = itemgetter(*map(_FIELDS.index, _READ))
_rest = itemgetter(*map(_FIELDS.index, _others))
_ABSENT = (None,) * len(_others)

_NUMBERS = frozenset({int, Decimal, NoneType})

_Row = tuple[Any, ...]
"""The fields of ``_READ``."""
_Column = tuple[Any, ...]


class PlainTransfer(Struct, forbid_unknown_fields=True, gc=False):
    """An item of a bulk that has no other fields than ``_READ``, in its order, and whose numbers are written plainly."""

    amount: Any = None
    """A number. ``_minor_units`` leaves everything else to the steps, a text too."""
    precise_amount: int | None = None
    reference: str | None = None
    source: str | None = None
    destination: str | None = None
    currency: str | None = None
    precision: int | None = None
    description: str | None = None
    allow_overdraft: bool | None = None
    apply_overdraft: bool | None = None
    inflight: bool | None = None
    meta_data: Raw = NO_META_DATA


class PlainBulk(Struct, forbid_unknown_fields=True):
    """A bulk of such items. It is decoded in two thirds of the time of a ``BulkRequest``."""

    transactions: list[PlainTransfer]
    inflight: bool | None = None
    atomic: bool | None = None
    run_async: bool | None = None
    skip_queue: bool | None = None


_decode = json.Decoder(PlainBulk, float_hook=Decimal).decode


def read_plain(data: bytes) -> PlainBulk | None:
    """Decode the body of a bulk. Returns None if it may be anything else than JSON of a plain bulk."""
    try:
        bulk = _decode(data)
    except (DecodeError, UnicodeDecodeError, RecursionError, InvalidOperation):
        return None
    return None if has_nul(data) else bulk


def draft_bulk(bulk: PlainBulk, directory: Names, parent: str) -> DraftColumns | None:
    """Draft the transactions of a bulk, as ``draft_plain`` does."""
    if bulk.inflight is not None:
        for transfer in bulk.transactions:
            transfer.inflight = bulk.inflight
    return _draft(list(map(astuple, bulk.transactions)), directory, parent)


def draft_plain(requests: Sequence[TransactionRequest | None], directory: Names, parent: str) -> DraftColumns | None:
    """Draft the requests of a batch, in their order. Returns None if one may be anything else than plain, right and allowed.

    ``parent`` is the batch.
    """
    rows: list[_Row] = []
    for request in requests:
        if request is None or _rest(values := astuple(request)) != _ABSENT:
            return None
        rows.append(_read(values))
    return _draft(rows, directory, parent)


def draft_one(request: TransactionRequest, directory: Names) -> Draft | None:
    """Draft a request that came alone, as ``draft_plain`` does, without columns: they cost more than one row is worth."""
    values = astuple(request)
    if _rest(values) != _ABSENT or not _may_pass(directory):
        return None
    amount, minor, reference, source, destination, *texts, data = _read(values)
    template = _template((*texts, bytes(data) if data else b""), directory, None)
    if template is None or not _are_clear((reference,)) or not _are_named((source, destination)):
        return None
    debited_name, credited_name = (
        (name, template.currency) if name[0] == "@" else name for name in (source, destination)
    )
    known = directory.know((debited_name, credited_name))
    debited, credited = known.get(debited_name), known.get(credited_name)
    units = _units(amount, minor, template.precision)
    if units is None or debited is None or credited is None or debited.key == credited.key:
        return None
    if debited.currency != template.currency or credited.currency != template.currency:
        return None
    own = {
        "id": new_id(""),
        "reference": reference,
        "source": debited.key,
        "destination": credited.key,
        "amount": units,
    }
    return Draft(replace(template, **own), debited.route)


def _may_pass(directory: Names) -> bool:
    """Tell whether the settings and the key bound nothing that a plain transfer has."""
    reach = reach_of_request()
    return directory.check_precision and not reach.bounds_balances and not reach.bounds_money


def _draft(rows: Sequence[_Row], directory: Names, parent: str) -> DraftColumns | None:
    if not rows or not _may_pass(directory):
        return None
    amounts, minors, references, sources, destinations, *others = zip(*rows, strict=True)
    templates = _templates(others, directory, parent)
    if templates is None or not _are_clear(references) or not _are_named({*sources, *destinations}):
        return None
    balances = _balances(sources, destinations, [template.currency for template in templates], directory)
    units = _minor_units(amounts, minors, templates)
    if balances is None or units is None:
        return None
    ids = [new_id("") for _ in rows]
    return DraftColumns(ids, references, balances=balances, amounts=units, templates=templates)


def _templates(others: Sequence[_Column], directory: Names, parent: str) -> list[LogRow] | None:
    """Make the row that each request shares with those that agree with it in all fields of ``_SHARED``."""
    *texts, datas = others
    columns = *texts, [bytes(data) if data else b"" for data in datas] if any(datas) else repeat(b"")
    found: dict[tuple[Any, ...], LogRow] = {}
    try:
        distinct = set(zip(*columns, strict=False))
    except TypeError:  # A signaling NaN has no hash.
        return None
    for shared in distinct:
        template = _template(shared, directory, parent)
        if template is None:
            return None
        found[shared] = template
    if len(distinct) == 1:
        return [*found.values()] * len(datas)
    return list(map(found.__getitem__, zip(*columns, strict=False)))


def _template(shared: tuple[Any, ...], directory: Names, parent: str | None) -> LogRow | None:
    currency, precision, description, allow, apply, hold, data = shared
    fixed = None if currency is None or used_currency_problems(currency) else directory.precision(currency)
    if isinstance(precision, Decimal) and not precision.is_finite():
        return None
    if fixed is None or (precision is not None and precision != fixed):
        return None
    if not description or description_problem(description) is not None or (data and meta_data_problems(data)):
        return None
    overdraft = bool(allow or apply)
    if overdraft and not current().may(Right.TRANSACTIONS_POST_OVERDRAFT):
        return None
    return LogRow(
        id="",
        reference="",
        kind=HOLD if hold else TRANSFER,
        source=None,
        destination=None,
        amount=0,
        currency=currency,
        precision=fixed,
        description=description,
        allow_overdraft=overdraft,
        parent=parent,
        meta_data=meta_data_text(data) if data else None,
    )


def _balances(
    sources: _Column, destinations: _Column, currencies: Sequence[str], directory: Names
) -> tuple[Sequence[int], Sequence[int], Sequence[int]] | None:
    """Find the keys of the sources and destinations, and the routes of the sources."""
    names = {*sources, *destinations}
    if any(name[0] == "@" for name in names):
        sources, destinations = (
            tuple((name, currency) if name[0] == "@" else name for name, currency in zip(side, currencies, strict=True))
            for side in (sources, destinations)
        )
        names = {*sources, *destinations}
    known = directory.know(names)
    if len(known) < len(names):
        return None
    debited, _, debited_in, _, routes, *_ = zip(*map(known.__getitem__, sources), strict=True)
    credited, _, credited_in, *_ = zip(*map(known.__getitem__, destinations), strict=True)
    if [*debited_in] != currencies or [*credited_in] != currencies or any(map(eq, debited, credited)):
        return None
    return debited, credited, routes


def _minor_units(amounts: _Column, minors: _Column, templates: Sequence[LogRow]) -> Sequence[int] | None:
    """Return the amounts in minor units, or None if one of them may be wrong."""
    if not _NUMBERS.issuperset(map(type, amounts)):
        return None
    if set(map(type, minors)) == {int} and not any(amounts) and min(minors) > 0 and max(minors) < 1 << 63:
        return minors
    found = []
    for amount, minor, template in zip(amounts, minors, templates, strict=True):
        units = _units(amount, minor, template.precision)
        if units is None:
            return None
        found.append(units)
    return found


def _units(amount: Decimal | int | None, minor: Any, precision: int) -> int | None:
    """Return an amount in minor units, or None if it may be wrong."""
    if amount and minor is not None:
        return None
    try:
        if minor is not None:
            units = whole(minor)
        elif isinstance(amount, Decimal):
            units = to_minor(amount, precision)
        else:
            units = None if amount is None or amount.bit_length() > 64 else amount * precision
    except InexactAmount:
        return None
    return units if units is not None and units > 0 else None


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


def _are_named(names: Iterable[str | None]) -> bool:
    """Tell whether all sides have a name that a balance may have."""
    return all(name and (name[0] != "@" or not indicator_problems("", name)) for name in names)
