"""Turns requests into drafts of rows of the log, in five steps. Each step makes its value from the one before.

    decoded    ``TransactionRequest``: JSON with its types
    checked    ``Checked``: breaks no rule that can be checked from the request alone
    resolved   ``Resolved``: balances in place of names, and a currency
    priced     ``Priced``: minor units, and the legs of a split
    drafted    ``Draft``: a row of the log that has no position yet

A batch goes through each step whole. A request with a problem stays behind and the others go on, so that one answer names
all problems. Nothing is written until there are none. ``append.py`` takes the drafts from there.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from core.base.decoding import Unread
from core.base.errors import ErrorCode, InvalidRequest, LedgerError, NotFound
from core.base.ids import new_id
from core.base.metadata import meta_data_text
from core.base.money import InexactAmount, to_minor
from core.base.problems import Problems, refusal, refusal_of_batch
from core.ledger.directory import Directory, Name, Names
from core.ledger.rules import splits
from core.ledger.rules.log_row import LogRow
from core.ledger.rules.model import BalanceRef, Draft, Kind
from core.ledger.rules.requests import Leg, Terms, TransactionRequest
from core.ledger.rules.validation import Checked, check

MAX_BULK = 10_000

BAD = ErrorCode.TXN_VALIDATION_ERROR


class Batch(Struct, frozen=True):
    """Requests that were sent together and are accepted together."""

    id: str
    decided_at_once: bool = False
    """Whether it is decided together, or before the answer. Nothing in such a batch can wait for a date."""


class Resolved(Struct, frozen=True):
    """A request whose balances are known. None stands for an internal balance that is to be created."""

    checked: Checked
    currency: str
    sources: list[BalanceRef | None]
    destinations: list[BalanceRef | None]


class Priced(Struct, frozen=True):
    """A request whose amounts are minor units."""

    resolved: Resolved
    precision: int
    amount: int
    overdraft_limit: int | None
    legs: list[tuple[int, int, int]] | None
    """The legs of a split: position of the source, of the destination, and amount."""


def draft_all(
    requests: Sequence[TransactionRequest | None],
    directory: Names,
    *,
    batch: Batch | None = None,
    unread: Sequence[Unread] = (),
) -> list[Draft]:
    """Draft requests, in their order. New internal balances are created only when nothing is wrong.

    ``unread`` has the fields of the body that could not be read, with their paths in it. A batch may have None in place of
    a request.

    Raises:
        InvalidRequest: it lists every problem of the request, or of all requests of the batch. The message for a batch is
            that of the first wrong request, and ``details`` has its index and the other problems.
        NotFound: there is no balance of an ID (BAL_NOT_FOUND), and nothing is wrong with an earlier request.
    """
    failures = _Failures(batch)
    checked = _check(requests, unread, failures)
    resolved = _resolve(checked, directory, failures)
    first_uses: dict[str, int] = {}
    priced = _price(resolved, directory, first_uses, failures)
    if batch is not None:
        _check_references(priced, failures)
    failures.raise_any()
    for currency, precision in first_uses.items():
        check_precision(currency, precision, directory.fix_precision(currency, precision))
    parent = batch.id if batch is not None else None
    return [_draft(each, parent) for each in _create(priced, directory)]


class _Failures:
    """Collects the error of each request that has problems, by index."""

    def __init__(self, batch: Batch | None) -> None:
        self.batch = batch
        self.errors: dict[int, LedgerError] = {}

    def add(self, index: int, problems: Problems, code: ErrorCode = BAD, unread: Sequence[Unread] = ()) -> None:
        """Add the problems of a request, and its fields that cannot be read."""
        within = "" if self.batch is None or index < 0 else f"transactions[{index}]"
        self.errors[index] = refusal(unread, problems, code, within=within)

    def add_unknown(self, index: int, problems: Problems) -> None:
        """Add the error of a request that names unknown balances."""
        error = self.errors[index] = NotFound(ErrorCode.BAL_NOT_FOUND, problems[0][1])
        error.problems = list(problems)

    def raise_any(self) -> None:
        """Raise one error for all requests, if any has problems."""
        if self.errors:
            raise self.errors[min(self.errors)] if self.batch is None else refusal_of_batch(self.errors)


# Checked


def _check(
    requests: Sequence[TransactionRequest | None], unread: Sequence[Unread], failures: _Failures
) -> list[Checked]:
    batch, now = failures.batch, datetime.now(UTC)
    unread_of = _by_index(unread, batch)
    if batch is not None and -1 in unread_of:
        failures.add(-1, [], BAD, unread_of[-1])
    checked = []
    for index, request in enumerate(requests):
        problems: list[tuple[str, str]] = []
        if request is None:
            problems.append(("", "is required"))
        else:
            one = check(index, request, now, problems)
            if batch is not None and batch.decided_at_once and one.terms is not None and one.terms.scheduled_at:
                cannot_wait = Unread(f"transactions[{index}].scheduled_for", _CANNOT_WAIT, None)
                unread_of.setdefault(index, []).append(cannot_wait)
        if problems or (unread_of and index in unread_of):
            failures.add(index, problems, BAD, unread_of.get(index, ()))
        else:
            checked.append(one)
    return checked


_CANNOT_WAIT = "cannot wait for a date in a batch that is decided as one, or now; leave out atomic and skip_queue"
_ITEM = re.compile(r"transactions\[([0-9]+)\]")


def _by_index(unread: Sequence[Unread], batch: Batch | None) -> dict[int, list[Unread]]:
    """Group unreadable fields by the index of their request. The index -1 has those of the body around a batch."""
    found: dict[int, list[Unread]] = {}
    for each in unread:
        item = _ITEM.match(each.field)
        index = 0 if batch is None else int(item.group(1)) if item else -1
        found.setdefault(index, []).append(each)
    return found


# Resolved


def _resolve(rows: Sequence[Checked], directory: Names, failures: _Failures) -> list[Resolved]:
    """Find the balances that requests name, and the currency of each request."""
    ids = [name for row in rows for name in row.sources if name[0] != "@"]
    ids += [name for row in rows for name in row.destinations if name[0] != "@"]
    known = directory.know(ids)
    currencies = [_currency_of(row, known) for row in rows]
    sides = list(zip(rows, currencies, strict=True))
    indicators = [(name, currency) for row, currency in sides for name in row.sources if name[0] == "@"]
    indicators += [(name, currency) for row, currency in sides for name in row.destinations if name[0] == "@"]
    if indicators:
        known |= directory.know(indicators)
    resolved = []
    for row, currency in sides:
        one = Resolved(
            row,
            currency,
            [known.get((name, currency) if name[0] == "@" else name) for name in row.sources],
            [known.get((name, currency) if name[0] == "@" else name) for name in row.destinations],
        )
        if _check_balances(one, failures):
            resolved.append(one)
    return resolved


def _currency_of(row: Checked, known: dict[Name, BalanceRef]) -> str:
    """Return the currency of a request.

    A request without one has the currency of its balances, if exactly one side has balance IDs only. Otherwise it is
    blank, which ``_check_balances`` refuses.
    """
    if row.request.currency is not None:
        return row.request.currency
    concrete = [names for names in (row.sources, row.destinations) if all(name[0] != "@" for name in names)]
    ref = known.get(concrete[0][0]) if len(concrete) == 1 else None
    return ref.currency if ref is not None else ""


def _check_balances(row: Resolved, failures: _Failures) -> bool:
    """Check that all balances exist or can be created, have one currency, and that none is on both sides."""
    index, currency = row.checked.index, row.currency
    are_known = True
    for ref in row.sources + row.destinations:
        if ref is None or ref.currency != currency:
            are_known = False
    if not are_known and (unsuitable := _unsuitable(row)):
        unknown = [problem for problem in unsuitable if problem[0] != "currency"]
        if unknown:
            failures.add_unknown(index, [*unknown, *(problem for problem in unsuitable if problem not in unknown)])
        else:
            failures.add(index, unsuitable, ErrorCode.TXN_CURRENCY_MISMATCH)
    elif not currency:
        failures.add(index, [("currency", "cannot be blank")])
    elif _is_on_both_sides(row, are_known):
        failures.add(index, [("destination", "source and destination cannot be the same balance")])
    else:
        return True
    return False


def _is_on_both_sides(row: Resolved, are_known: bool) -> bool:
    """Tell whether a balance is a source and a destination, even under two names."""
    if are_known and len(row.sources) == len(row.destinations) == 1:
        return row.sources == row.destinations
    return not {ref.key for ref in row.sources if ref}.isdisjoint([ref.key for ref in row.destinations if ref])


def _unsuitable(row: Resolved) -> list[tuple[str, str]]:
    """List the IDs of unknown balances, and the first balance that has another currency."""
    problems: list[tuple[str, str]] = []
    other: dict[str, str] = {}
    checked, currency = row.checked, row.currency
    for side, names, refs in (
        ("source", checked.sources, row.sources),
        ("destination", checked.destinations, row.destinations),
    ):
        for name, ref in zip(names, refs, strict=True):
            if ref is None and name[0] != "@":
                problems.append((side, f"Balance with ID '{name}' not found"))
            elif ref is not None and ref.currency != currency and currency:
                other.setdefault("currency", f"is {currency}, but the {side} balance is in {ref.currency}")
    return [*problems, *other.items()]


def ref_of(name: str, currency: str, directory: Directory) -> BalanceRef | None:
    """Return the balance of an ID, or of an ``@Name`` in this currency, if ``directory.know`` has found it."""
    return directory.balance((name, currency) if name[0] == "@" else name)


# Priced


def _price(rows: Sequence[Resolved], directory: Names, first_uses: dict[str, int], failures: _Failures) -> list[Priced]:
    """Compute the minor units and legs of requests.

    ``first_uses`` gets the precision of each currency that is used for the first time.
    """
    priced = []
    for row in rows:
        try:
            priced.append(_priced(row, _precision_of(row, directory, first_uses)))
        except InvalidRequest as error:
            failures.add(row.checked.index, error.problems, error.code)
            if failures.batch is None:
                failures.errors[row.checked.index].details = error.details
    return priced


def _precision_of(row: Resolved, directory: Names, first_uses: dict[str, int]) -> int:
    """Return the precision of a request: its own, that of its currency, or 1."""
    asked = int(row.checked.request.precision) if row.checked.request.precision else None
    if not directory.check_precision:
        return asked or 1
    fixed = first_uses.get(row.currency) or directory.precision(row.currency)
    if fixed is None and asked is not None:
        fixed = first_uses[row.currency] = asked
    check_precision(row.currency, asked, fixed)
    return fixed or 1


def _priced(row: Resolved, precision: int) -> Priced:
    """Compute the minor units and legs of one request."""
    checked, request = row.checked, row.checked.request
    amount = checked.minor
    if amount is None:
        amount = minor_of("amount", request.amount or Decimal(0), precision)
    if amount == 0:
        raise InvalidRequest(
            [("amount", "transaction precise amount must be positive")], code=ErrorCode.TXN_INVALID_AMOUNT
        )
    limit = request.overdraft_limit
    limit_minor = None if limit is None else minor_of("overdraft_limit", limit, precision)
    split = request.sources or request.destinations
    return Priced(row, precision, amount, limit_minor, _legs_of(request, amount, precision) if split else None)


def _legs_of(request: TransactionRequest, amount: int, precision: int) -> list[tuple[int, int, int]]:
    """Split an amount into legs: position of the source, of the destination, and amount."""
    return splits.pairs(
        _shares_of("sources", request.sources, amount, precision),
        _shares_of("destinations", request.destinations, amount, precision),
    )


def _shares_of(side: str, legs: list[Leg] | None, amount: int, precision: int) -> list[int]:
    """Share an amount between the balances of one side."""
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
        raise InvalidRequest(
            [(field, f"failed to split transaction: {error}")], ErrorCode.TXN_INVALID_DISTRIBUTION
        ) from None


def check_precision(currency: str, asked: int | None, fixed: int | None) -> None:
    """Refuse a precision that is not that of the currency.

    Raises:
        InvalidRequest: the currency has another precision (TXN_PRECISION_MISMATCH).
    """
    if asked is not None and asked != fixed:
        text = f"is {asked}, but {currency} has precision {fixed}"
        raise InvalidRequest([("precision", text)], ErrorCode.TXN_PRECISION_MISMATCH, {"precision": fixed})


def minor_of(field: str, amount: Decimal, precision: int) -> int:
    """Convert the amount of a field to minor units.

    Raises:
        InvalidRequest: the field's amount is no whole number of minor units (TXN_INVALID_AMOUNT).
    """
    try:
        return to_minor(amount, precision)
    except InexactAmount as error:
        raise InvalidRequest([(field, str(error))], code=ErrorCode.TXN_INVALID_AMOUNT) from None


def _check_references(rows: Sequence[Priced], failures: _Failures) -> None:
    """Refuse a reference that two transactions of one batch have. A leg's reference is made from its split's."""
    seen: dict[str | None, int] = {}
    for row in rows:
        index, reference = row.resolved.checked.index, row.resolved.checked.request.reference
        legs = [f"{reference}_{number}" for number in range(1, len(row.legs) + 1)] if row.legs is not None else ()
        for one in (reference, *legs):
            if (first := seen.setdefault(one, index)) != index:
                text = f"reference {one} is used by transactions[{first}] too"
                failures.add(index, [("", text)], ErrorCode.TXN_DUPLICATE_REFERENCE)


# Drafted


def _create(rows: list[Priced], directory: Names) -> list[Priced]:
    """Create the internal balances that do not exist yet, and put them into the requests."""
    incomplete = [row.resolved for row in rows if None in row.resolved.sources or None in row.resolved.destinations]
    if not incomplete:
        return rows
    names = {
        (name, row.currency)
        for row in incomplete
        for name in row.checked.sources + row.checked.destinations
        if name[0] == "@"
    }
    created = directory.create(names)
    return [replace(row, resolved=_completed(row.resolved, created)) for row in rows]


def _completed(row: Resolved, created: dict[Name, BalanceRef]) -> Resolved:
    """Put created balances into a request."""
    sides = ((row.checked.sources, row.sources), (row.checked.destinations, row.destinations))
    completed: list[list[BalanceRef | None]] = [
        [ref or created[name, row.currency] for name, ref in zip(names, refs, strict=True)] for names, refs in sides
    ]
    return Resolved(row.checked, row.currency, *completed)


def _draft(priced: Priced, parent: str | None) -> Draft:
    """Draft the row of a request, and the legs of a split."""
    resolved = priced.resolved
    checked, request = resolved.checked, resolved.checked.request
    assert request.reference and request.description
    terms = checked.terms
    source, destination = resolved.sources[0], resolved.destinations[0]
    assert source is not None and destination is not None
    row = LogRow(
        id=new_id(""),
        reference=request.reference,
        kind=Kind.HOLD if request.inflight else Kind.TRANSFER,
        source=source.key,
        destination=destination.key,
        amount=priced.amount,
        currency=resolved.currency,
        precision=priced.precision,
        description=request.description,
        allow_overdraft=bool(request.allow_overdraft or request.apply_overdraft),
        overdraft_limit=priced.overdraft_limit,
        parent=parent,
        effective_date=checked.effective_date,
        meta_data=meta_data_text(bytes(request.meta_data)) if request.meta_data else None,
    )
    if terms is None:
        return Draft(row=row, route=source.route)
    head = Draft(
        row=replace(row, terms=msgspec.json.encode(terms).decode()),
        route=source.route,
        due_at=terms.scheduled_for if terms.scheduled_at is not None else None,
        settle_at=settle_at(terms),
    )
    if priced.legs is None:
        return head
    legs = tuple(
        _leg(row, number, (resolved.sources[s], resolved.destinations[d]), amount)
        for number, (s, d, amount) in enumerate(priced.legs, 1)
    )
    split = replace(
        head.row,
        kind=Kind.SPLIT,
        source=source.key if request.source else None,
        destination=destination.key if request.destination else None,
    )
    return replace(head, row=split, legs=legs, atomic=bool(request.atomic))


def _leg(split: LogRow, number: int, sides: tuple[BalanceRef | None, BalanceRef | None], amount: int) -> Draft:
    source, destination = sides
    assert source is not None and destination is not None
    row = replace(
        split,
        id=new_id(""),
        reference=f"{split.reference}_{number}",
        source=source.key,
        destination=destination.key,
        amount=amount,
        parent=split.transaction_id,
    )
    return Draft(row=row, route=source.route)


def settle_at(terms: Terms) -> tuple[tuple[int, datetime], ...]:
    """List when to settle a hold without a request, as pairs of kind and time."""
    dates = ((Kind.VOID_INFLIGHT, terms.inflight_expiry_date), (Kind.COMMIT_INFLIGHT, terms.inflight_commit_date))
    return tuple((int(kind), at) for kind, at in dates if at is not None)
