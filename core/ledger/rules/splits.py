"""Splits an amount between several sources or destinations, exactly to the minor unit. It is pure.

A share is fixed, a percentage of the total, or ``left``, which is all that the others leave. Percentages are cut to whole
minor units. The remainder goes to ``left``, or to the last percentage if there is no ``left``, and never to a fixed share.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from core.base.money import MAX_DIGITS, InexactAmount, to_minor

LEFT = "left"

_PERCENT = re.compile(r"[0-9]{1,3}(\.[0-9]{1,50})?%")
_DECIMAL = re.compile(r"[0-9]{1,500}(\.[0-9]{1,500})?")
_DIGITS = re.compile(rf"[0-9]{{1,{MAX_DIGITS}}}")


class BadSplit(ValueError):
    """The shares cannot be read, or do not add up to the total."""


class Share(NamedTuple):
    """The share of one leg. One of the fields is set, or none for ``left``."""

    fixed: int | None = None
    """An amount in minor units."""
    percent: Fraction | None = None
    """A part of the total, where 1 is all of it."""


def share_of(distribution: str | None, precise_distribution: int | str | None, precision: int) -> Share:
    """Read the share of a leg. ``precise_distribution`` is in minor units, and wins.

    Raises:
        BadSplit: it says what would be right.
    """
    if precise_distribution is not None:
        text = str(precise_distribution)
        if text == LEFT:
            return Share()
        if not _DIGITS.fullmatch(text):
            raise BadSplit("invalid precise_distribution format: must be an integer value in minor units")
        share = Share(fixed=int(text))
    elif not distribution:
        raise BadSplit('distribution must be a percentage such as "10%", an amount such as "12.50", or "left"')
    elif distribution == LEFT:
        return Share()
    elif distribution.endswith("%"):
        if not _PERCENT.fullmatch(distribution):
            raise BadSplit("invalid percentage format")
        share = Share(percent=Fraction(distribution[:-1]) / 100)
    elif not _DECIMAL.fullmatch(distribution):
        raise BadSplit("invalid fixed amount format")
    else:
        try:
            share = Share(fixed=to_minor(Decimal(distribution), precision))
        except InexactAmount as error:
            raise BadSplit(f"invalid fixed amount format: {distribution} {error}") from None
    if not share.fixed and not share.percent:
        raise BadSplit("a leg's share must be more than zero")
    return share


def amounts(total: int, shares: Sequence[Share]) -> list[int]:
    """Compute the minor units of each share, which add up to ``total``. A ``left`` share may get 0.

    Raises:
        BadSplit: the shares are more or less than the total, or more than one is ``left``.
    """
    left = [position for position, share in enumerate(shares) if share == Share()]
    percentages = [position for position, share in enumerate(shares) if share.percent is not None]
    if len(left) > 1:
        raise BadSplit("multiple identifiers with 'left' distribution")
    asked = sum((share.fixed or 0) + (share.percent or 0) * total for share in shares)
    if asked > total:
        raise BadSplit("total distributions exceed 100% or total amount")
    if asked < total and not left:
        raise BadSplit("distributions are less than the total amount; let one of them be left")
    split = [share.fixed or int((share.percent or 0) * total) for share in shares]
    if remainder := total - sum(split):
        split[(left or percentages)[-1]] += remainder
    return split


def pairs(sources: Sequence[int], destinations: Sequence[int]) -> list[tuple[int, int, int]]:
    """Pair the amounts of sources and destinations into legs: position of the source, of the destination, and amount.

    Both sides must add up to the same. Each source pays the destinations in turn until it has paid its own amount, so
    both keep their order. Amounts of 0 take no part.
    """
    legs: list[tuple[int, int, int]] = []
    owing = [(position, amount) for position, amount in enumerate(destinations) if amount]
    for source, amount in enumerate(sources):
        while amount:
            destination, open_amount = owing[0]
            moved = min(amount, open_amount)
            legs.append((source, destination, moved))
            amount -= moved
            owing[0] = (destination, open_amount - moved)
            if moved == open_amount:
                del owing[0]
    assert not owing, "the sides of a split differ"
    return legs


def proportional(amount: int, of: Sequence[int]) -> list[int]:
    """Share ``amount`` in proportion to ``of``. The shares add up exactly, and none is more than its part. Some may be 0."""
    total, before = sum(of), 0
    assert 0 <= amount <= total
    shares = []
    for part in of:
        shares.append(amount * (before + part) // total - amount * before // total if total else 0)
        before += part
    return shares
