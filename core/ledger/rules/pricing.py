"""Amounts of requests in minor units, and the legs of splits."""

from decimal import Decimal

from core.base.errors import ErrorCode, InvalidRequest
from core.base.money import InexactAmount, to_minor
from core.ledger.rules import splits
from core.ledger.rules.requests import Leg, TransactionRequest


def minor_of(field: str, amount: Decimal, precision: int) -> int:
    """Convert an amount to minor units, exactly.

    Raises:
        InvalidRequest: the amount of this field does not come out whole (TXN_INVALID_AMOUNT).
    """
    try:
        return to_minor(amount, precision)
    except InexactAmount as error:
        raise InvalidRequest([(field, str(error))], ErrorCode.TXN_INVALID_AMOUNT) from None


def check_precision(currency: str, *, asked: int | None, fixed: int | None) -> None:
    """Compare the precision of a request with that of its currency.

    Raises:
        InvalidRequest: they differ (TXN_PRECISION_MISMATCH).
    """
    if asked is not None and asked != fixed:
        text = f"is {asked}, but {currency} has precision {fixed}"
        raise InvalidRequest([("precision", text)], ErrorCode.TXN_PRECISION_MISMATCH, {"precision": fixed})


def amount_of(request: TransactionRequest, minor: int | None, precision: int) -> int:
    """Return the minor units that a request moves in all. ``minor`` is the amount, if it was sent in minor units.

    Raises:
        InvalidRequest: the amount is zero, or does not come out whole (TXN_INVALID_AMOUNT).
    """
    amount = minor
    if amount is None:
        amount = minor_of("amount", request.amount or Decimal(0), precision)
    if amount == 0:
        text = "transaction precise amount must be positive"
        raise InvalidRequest([("amount", text)], ErrorCode.TXN_INVALID_AMOUNT)
    return amount


def legs_of(request: TransactionRequest, amount: int, precision: int) -> list[tuple[int, int, int]]:
    """Return the legs of a split: position of the source, position of the destination, and amount.

    Raises:
        InvalidRequest: a distribution is no good, or they do not add up (TXN_INVALID_DISTRIBUTION).
    """
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
        text = f"failed to split transaction: {error}"
        raise InvalidRequest([(field, text)], ErrorCode.TXN_INVALID_DISTRIBUTION) from None
