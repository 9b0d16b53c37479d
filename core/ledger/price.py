"""Price requests whose balances are known: the precision of the currency, minor units, and the legs of a split."""

from collections.abc import Sequence

from core.base.actors import reach_of_request
from core.base.errors import ErrorCode, InvalidRequest
from core.base.metadata import meta_data_text
from core.ledger.directory import Names
from core.ledger.draft import Part, Priced
from core.ledger.failures import Failures
from core.ledger.resolve import Resolved
from core.ledger.rules.model import HOLD, TRANSFER
from core.ledger.rules.pricing import amount_of, check_precision, legs_of, minor_of


def price(
    rows: Sequence[Resolved], directory: Names, first_uses: dict[str, int], parent: str | None, failures: Failures
) -> dict[int, Priced]:
    """Price requests, by their index. ``parent`` is the batch that they belong to.

    A precision that is to be fixed, because its currency is used for the first time, is added to ``first_uses``.
    """
    priced: dict[int, Priced] = {}
    for row in rows:
        try:
            priced[row.checked.index] = _priced(row, _precision_of(row, directory, first_uses), parent)
        except InvalidRequest as error:
            failures.add_error(row.checked.index, error)
    return priced


def is_checked(directory: Names, currency: str) -> bool:
    """Tell whether a request must have the precision of its currency.

    Where that check is off, a key with a largest amount must all the same, for its bound would mean nothing otherwise.

    Raises:
        InvalidRequest: it must, and nothing has fixed the precision.
    """
    if directory.check_precision or not reach_of_request().bounds_money:
        return directory.check_precision
    if directory.precision(currency) is None:
        text = f"has no precision by which the largest amount of this key counts; fix it: pacioli currencies set {currency} 100"
        raise InvalidRequest([("currency", text)], ErrorCode.TXN_VALIDATION_ERROR)
    return True


def _precision_of(row: Resolved, directory: Names, first_uses: dict[str, int]) -> int:
    asked = int(row.checked.request.precision) if row.checked.request.precision else None
    if not is_checked(directory, row.currency):
        return asked or 1
    fixed = first_uses.get(row.currency) or directory.precision(row.currency)
    if fixed is None and asked is not None:
        fixed = first_uses[row.currency] = asked
    check_precision(row.currency, asked=asked, fixed=fixed)
    return fixed or 1


def _priced(row: Resolved, precision: int, parent: str | None) -> Priced:
    checked, request = row.checked, row.checked.request
    amount = amount_of(request, checked.minor, precision)
    limit, is_split = request.overdraft_limit, bool(request.sources or request.destinations)
    assert request.reference and request.description
    source, destination = row.sources[0], row.destinations[0]
    return Priced(
        request.reference,
        HOLD if request.inflight else TRANSFER,
        None if request.sources else source.key,
        None if request.destinations else destination.key,
        source.route,
        amount,
        row.currency,
        precision,
        request.description,
        bool(request.allow_overdraft or request.apply_overdraft),
        None if limit is None else minor_of("overdraft_limit", limit, precision),
        parent,
        checked.effective_date,
        meta_data_text(bytes(request.meta_data)) if request.meta_data else None,
        terms=checked.terms,
        atomic=is_split and bool(request.atomic),
        legs=_legs(row, amount, precision) if is_split else (),
    )


def _legs(row: Resolved, amount: int, precision: int) -> tuple[Part, ...]:
    return tuple(
        Part(row.sources[source].key, row.destinations[destination].key, row.sources[source].route, share)
        for source, destination, share in legs_of(row.checked.request, amount, precision)
    )
