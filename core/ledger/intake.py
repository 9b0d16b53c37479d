"""Requests -> drafts of rows of the log: validate, and resolve names.

``draft_all`` says everything that is wrong at once and writes nothing until all is right. ``append.py`` takes it from there.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from core.base.errors import InvalidRequest, NotFound
from core.base.ids import new_id
from core.base.metadata import meta_data_text
from core.base.money import InexactAmount, to_minor
from core.ledger.directory import Directory
from core.ledger.rules import splits
from core.ledger.rules.log_row import LogRow
from core.ledger.rules.model import BalanceRef, Draft, Kind
from core.ledger.rules.requests import Leg, Terms, TransactionRequest
from core.ledger.rules.validation import names_of, problems_of, time_of, whole

MAX_BULK = 10_000

# Submitting


class Virtual(dict[tuple[str, str], BalanceRef]):
    """Stands in for the internal balances that a rehearsal would create. Their keys are negative."""

    def __missing__(self, name: tuple[str, str]) -> BalanceRef:
        indicator, currency = name
        ref = self[name] = BalanceRef(-1 - len(self), indicator, currency, indicator, 0)
        return ref


def draft_all(
    requests: Sequence[TransactionRequest],
    directory: Directory,
    *,
    parent: str | None = None,
    inflight: bool | None = None,
    virtual: Virtual | None = None,
) -> list[Draft]:
    """Validated drafts of some requests, in their order. Names are resolved, and created only when all else is right.

    ``inflight``, if given, is meant instead of each request's own. With ``virtual`` nothing is created or fixed, and
    balances that would be are taken from it.

    Raises:
        InvalidRequest: with every problem of the first request that has one; ``details`` holds its index.
        NotFound: a balance id is not known (BAL_NOT_FOUND).
    """
    for index, request in enumerate(requests):
        if problems := problems_of(request):
            raise _at(index, parent, problems)
    sides = [_sides(request) for request in requests]
    directory.know(name for side in sides for names in side for name in names if name[0] != "@")
    currencies = [_currency_of(request, side, directory) for request, side in zip(requests, sides, strict=True)]
    internal = {
        (name, currency)
        for side, currency in zip(sides, currencies, strict=True)
        for names in side
        for name in names
        if name[0] == "@"
    }
    directory.know(internal)

    sums = []
    precisions: dict[str, int] = {}
    for index, (request, side, currency) in enumerate(zip(requests, sides, currencies, strict=True)):
        try:
            if request.scheduled_for or request.inflight_expiry_date or request.inflight_commit_date:
                _check_terms(request, inflight)
            _check_balances(side, currency, directory)
            sums.append(_sums_of(request, currency, directory, precisions))
        except InvalidRequest as error:
            raise _at(index, parent, error.problems, error.code, error.details) from None
    if virtual is None:
        _fix_precisions(precisions, directory)
        directory.create(internal)
    return [
        _draft(request, side, currency, amounts, _Names(directory, currency, virtual), parent, inflight)
        for request, side, currency, amounts in zip(requests, sides, currencies, sums, strict=True)
    ]


def check_distinct_references(drafts: Sequence[Draft]) -> None:
    """Within one request, a reference may name one transaction only.

    Raises:
        InvalidRequest: naming the second use.
    """
    seen: dict[str, int] = {}
    for index, draft in enumerate(drafts):
        for one in (draft, *draft.legs):
            if (first := seen.setdefault(one.row.reference, index)) != index:
                text = f"reference {one.row.reference} is used by transactions[{first}] too"
                raise InvalidRequest([(f"transactions[{index}]", text)], "TXN_DUPLICATE_REFERENCE", {"index": index})


# What depends on balances and currencies


Sides = tuple[list[str], list[str]]
"""The balances that the two sides of a request name."""


def _sides(request: TransactionRequest) -> Sides:
    return names_of(request.source, request.sources), names_of(request.destination, request.destinations)


def _currency_of(request: TransactionRequest, sides: Sides, directory: Directory) -> str:
    """The request's currency, or, left out, that of the other side when exactly one side has balance ids only.

    Blank when there is none, which ``_check_balances`` refuses.
    """
    if request.currency is not None:
        return request.currency
    concrete = [names for names in sides if all(name[0] != "@" for name in names)]
    ref = directory.balance(concrete[0][0]) if len(concrete) == 1 else None
    return ref.currency if ref is not None else ""


def _check_balances(sides: Sides, currency: str, directory: Directory) -> None:
    """All balances are there, or are names to be created, in one currency, and none on both sides under two names.

    Raises:
        NotFound, InvalidRequest: saying which.
    """
    keys: list[set[int]] = []
    for side, names in zip(("source", "destination"), sides, strict=True):
        keys.append(set())
        for name in names:
            ref = ref_of(name, currency, directory)
            if ref is not None:
                keys[-1].add(ref.key)
                if ref.currency != currency and currency:
                    text = f"is {currency}, but the {side} balance is in {ref.currency}"
                    raise InvalidRequest([("currency", text)], "TXN_CURRENCY_MISMATCH")
            elif name[0] != "@":
                raise NotFound("BAL_NOT_FOUND", f"Balance with ID '{name}' not found")
    if not currency:
        raise InvalidRequest([("currency", "cannot be blank")])
    if keys[0] & keys[1]:
        raise InvalidRequest([("destination", "source and destination cannot be the same balance")])


def ref_of(name: str, currency: str, directory: Directory) -> BalanceRef | None:
    """The balance that an id, or an ``@Name`` in this currency, stands for, if ``directory.know`` has found it."""
    return directory.balance((name, currency) if name[0] == "@" else name)


class _Names(NamedTuple):
    """Names to balances that are known by now."""

    directory: Directory
    currency: str
    virtual: Virtual | None

    def __call__(self, name: str) -> BalanceRef:
        ref = ref_of(name, self.currency, self.directory)
        if ref is None:
            assert self.virtual is not None
            ref = self.virtual[name, self.currency]
        return ref


class _Sums(NamedTuple):
    """Minor units of one request."""

    precision: int
    amount: int
    overdraft_limit: int | None
    legs: list[tuple[int, int, int]] | None
    """Of a split: place of the source, of the destination, and amount."""


def _sums_of(request: TransactionRequest, currency: str, directory: Directory, precisions: dict[str, int]) -> _Sums:
    """Precisions to be fixed are added to ``precisions``."""
    asked = int(request.precision) if request.precision else None
    if directory.check_precision:
        fixed = precisions.get(currency) or directory.precision(currency)
        if fixed is None and asked is not None:
            fixed = precisions[currency] = asked
        check_precision(currency, asked, fixed)
        precision = fixed or 1
    else:
        precision = asked or 1
    if request.precise_amount is not None:
        amount = whole(request.precise_amount) or 0
    else:
        amount = minor_of("amount", request.amount or Decimal(0), precision)
    if amount == 0:
        raise InvalidRequest([("amount", "transaction precise amount must be positive")], code="TXN_INVALID_AMOUNT")
    limit = request.overdraft_limit
    limit_minor = None if limit is None else minor_of("overdraft_limit", limit, precision)
    split = request.sources or request.destinations
    return _Sums(precision, amount, limit_minor, _legs_of(request, amount, precision) if split else None)


def _legs_of(request: TransactionRequest, amount: int, precision: int) -> list[tuple[int, int, int]]:
    return splits.pairs(
        _shares_of("sources", request.sources, amount, precision),
        _shares_of("destinations", request.destinations, amount, precision),
    )


def _shares_of(side: str, legs: list[Leg] | None, amount: int, precision: int) -> list[int]:
    if not legs:
        return [amount]
    field = side
    try:
        shares = []
        for index, leg in enumerate(legs):
            field = f"{side}[{index}].{'distribution' if leg.precise_distribution is None else 'precise_distribution'}"
            shares.append(splits.share_of(leg.distribution, leg.precise_distribution, precision))
        field = side
        return splits.amounts(amount, shares)
    except splits.BadSplit as error:
        raise InvalidRequest([(field, f"failed to split transaction: {error}")], "TXN_INVALID_DISTRIBUTION") from None


def check_precision(currency: str, asked: int | None, fixed: int | None) -> None:
    """
    Raises:
        InvalidRequest: what is asked is not what the currency has (TXN_PRECISION_MISMATCH).
    """
    if asked is not None and asked != fixed:
        text = f"is {asked}, but {currency} has precision {fixed}"
        raise InvalidRequest([("precision", text)], "TXN_PRECISION_MISMATCH", {"precision": fixed})


def _fix_precisions(precisions: dict[str, int], directory: Directory) -> None:
    for currency, precision in precisions.items():
        check_precision(currency, precision, directory.fix_precision(currency, precision))


def minor_of(field: str, amount: Decimal, precision: int) -> int:
    """Minor units.

    Raises:
        InvalidRequest: naming the field; it does not come out whole (TXN_INVALID_AMOUNT).
    """
    try:
        return to_minor(amount, precision)
    except InexactAmount as error:
        raise InvalidRequest([(field, str(error))], code="TXN_INVALID_AMOUNT") from None


def _draft(
    request: TransactionRequest,
    sides: Sides,
    currency: str,
    sums: _Sums,
    name: _Names,
    parent: str | None,
    inflight: bool | None,
) -> Draft:
    assert request.reference and request.description
    hold = bool(request.inflight if inflight is None else inflight)
    sources, destinations = sides
    source, destination = name(sources[0]), name(destinations[0])
    row = LogRow(
        id=new_id(""),
        reference=request.reference,
        kind=Kind.HOLD if hold else Kind.TRANSFER,
        source=source.key,
        destination=destination.key,
        amount=sums.amount,
        currency=currency,
        precision=sums.precision,
        description=request.description,
        allow_overdraft=bool(request.allow_overdraft or request.apply_overdraft),
        overdraft_limit=sums.overdraft_limit,
        parent=parent,
        # Postgres knows offsets to 15:59.
        effective_date=request.effective_date.astimezone(UTC) if request.effective_date else None,
        meta_data=meta_data_text(bytes(request.meta_data)),
    )
    draft = Draft(row=row, route=source.route)
    if request.scheduled_for or request.inflight_expiry_date or request.inflight_commit_date or sums.legs is not None:
        draft = _with_terms(draft, request, hold)
    if sums.legs is None:
        return draft
    refs = [[name(each) for each in names] for names in sides]
    legs = tuple(
        Draft(
            row=replace(
                row,
                id=new_id(""),
                reference=f"{row.reference}_{number}",
                source=refs[0][s].key,
                destination=refs[1][d].key,
                amount=amount,
                parent=row.transaction_id,
            ),
            route=refs[0][s].route,
        )
        for number, (s, d, amount) in enumerate(sums.legs, 1)
    )
    split = replace(
        draft.row,
        kind=Kind.SPLIT,
        source=source.key if request.source else None,
        destination=destination.key if request.destination else None,
    )
    return replace(draft, row=split, legs=legs, atomic=bool(request.atomic))


def _check_terms(request: TransactionRequest, inflight: bool | None) -> None:
    problems = [
        (name, "needs inflight: true, for there is no hold otherwise")
        for name in ("inflight_expiry_date", "inflight_commit_date")
        if time_of(getattr(request, name)) is not None and not (request.inflight if inflight is None else inflight)
    ]
    scheduled_for = time_of(request.scheduled_for)
    if scheduled_for is not None and scheduled_for > datetime.now(UTC) and request.skip_queue:
        problems.append(("skip_queue", "cannot be answered now when scheduled_for is in the future; leave one out"))
    if problems:
        raise InvalidRequest(problems)


def _with_terms(draft: Draft, request: TransactionRequest, hold: bool) -> Draft:
    scheduled_for = time_of(request.scheduled_for)
    expiry, commit = time_of(request.inflight_expiry_date), time_of(request.inflight_commit_date)
    now = datetime.now(UTC)
    waits = scheduled_for is not None and scheduled_for > now
    terms = Terms(
        sources=request.sources or None,
        destinations=request.destinations or None,
        atomic=bool(request.atomic and (request.sources or request.destinations)),
        inflight=hold and bool(request.sources or request.destinations),
        scheduled_for=scheduled_for,
        scheduled_at=now if waits else None,
        inflight_expiry_date=expiry,
        inflight_commit_date=commit,
    )
    return replace(
        draft,
        row=replace(draft.row, terms=msgspec.json.encode(terms).decode() if terms != Terms() else None),
        due_at=scheduled_for if waits else None,
        settle_at=settle_at(terms),
    )


def settle_at(terms: Terms) -> tuple[tuple[int, datetime], ...]:
    """When to void or commit a hold by itself: pairs of kind and time."""
    dates = ((Kind.VOID_INFLIGHT, terms.inflight_expiry_date), (Kind.COMMIT_INFLIGHT, terms.inflight_commit_date))
    return tuple((int(kind), at) for kind, at in dates if at is not None)


def _at(
    index: int,
    batch: str | None,
    problems: Sequence[tuple[str, str]],
    code: str = "TXN_VALIDATION_ERROR",
    details: Any = None,
) -> InvalidRequest:
    """The problems of one request, named by its place when it is part of a batch."""
    if batch is None:
        return InvalidRequest(problems, code, details)
    joined = InvalidRequest(problems, code).message
    return InvalidRequest([(f"transactions[{index}]", joined.removesuffix("."))], code, {"index": index})
