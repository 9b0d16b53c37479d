"""Converts decimal amounts to minor units and back.

An *amount* is the decimal that a person wrote. *Minor units* are an ``int``. *Precision* is the number of minor units
in one major unit (100 for cents): any positive integer, not only powers of ten.
"""

from decimal import Decimal
from functools import lru_cache

MAX_DIGITS = 1000
"""The number of digits of the longest amount that is accepted. It bounds what a short request can cost."""

MAX_PRECISION = 10**18
"""The largest precision. The strictest client reads it into a signed 64-bit integer."""

DISPLAY_PLACES = 16
"""The decimal places shown for a precision without a finite decimal expansion, as Blnk shows them."""


class InexactAmount(ValueError):
    """The amount is not a whole number of minor units, or has too many digits."""


def to_minor(amount: Decimal, precision: int) -> int:
    """Convert a decimal amount to minor units, exactly.

    Raises:
        InexactAmount: the amount is not finite, has more than ``MAX_DIGITS`` digits, or is no whole number of minor units.
    """
    if not amount.is_finite():
        raise InexactAmount("must be a finite number")
    # The text is never shorter than the digits, and takes a fifth of the time.
    if abs(amount.adjusted()) > MAX_DIGITS or (
        len(str(amount)) > MAX_DIGITS and len(amount.as_tuple().digits) > MAX_DIGITS
    ):
        raise InexactAmount(f"has more than {MAX_DIGITS} digits")
    numerator, denominator = amount.as_integer_ratio()
    minor, rest = divmod(numerator * precision, denominator)
    if rest:
        raise InexactAmount(f"is not a whole number of minor units at precision {precision}")
    return minor


def to_text(minor: int, precision: int) -> str:
    """Write minor units as a decimal text of major units: 75023 at precision 100 is ``750.23``.

    The text has no trailing zeros and no exponent.
    """
    places = _decimal_places(precision)
    if places == 0 or minor == 0:
        return str(minor) if places == 0 else "0"
    if places is None:
        scaled, rest = divmod(abs(minor) * 10**DISPLAY_PLACES, precision)
        digits, places = scaled + (2 * rest >= precision), DISPLAY_PLACES
    else:
        digits = abs(minor) * (10**places // precision)
    text = str(digits).rjust(places + 1, "0")
    fraction = text[-places:].rstrip("0")
    sign = "-" if minor < 0 else ""
    return f"{sign}{text[:-places]}.{fraction}" if fraction else sign + text[:-places]


def grouped(minor: int, precision: int) -> str:
    """Write minor units as people read amounts: ``-1,234.50`` at precision 100. Cents stay, also those that are zero."""
    whole, point, fraction = to_text(minor, precision).partition(".")
    digits = str(precision)
    if digits == "1" + "0" * (len(digits) - 1) and len(digits) > 1:
        point, fraction = ".", fraction.ljust(len(digits) - 1, "0")
    sign = "-" if whole.startswith("-") else ""
    return f"{sign}{int(whole.removeprefix('-')):,}{point}{fraction}"


@lru_cache(maxsize=256)
def _decimal_places(precision: int) -> int | None:
    """Count the decimal places that show every multiple of 1/precision exactly. None means that no number does."""
    twos = fives = 0
    rest = precision
    while rest % 2 == 0:
        rest //= 2
        twos += 1
    while rest % 5 == 0:
        rest //= 5
        fives += 1
    return max(twos, fives) if rest == 1 else None
