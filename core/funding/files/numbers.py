"""Reads numbers as people and programs write them, and says what is wrong with a text that is none.

A text is read only when it can be read in one way. Separators of thousands and the decimal comma need a decimal mark that
somebody has stated.
"""

import re
import unicodedata
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from math import isfinite
from typing import NamedTuple

from core.base.money import MAX_DIGITS
from core.base.names import escaped

MARKS = (".", ",")
"""The decimal marks that there are."""

_PLAIN = re.compile(r"-?[0-9]+(\.[0-9]*)?", re.ASCII)
_PLAIN_MEANT = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
_FORMULA = re.compile(r"""=?["'\u2018\u2019]*(.*?)["'\u2018\u2019]*""")
_SPACES = " \u00a0\u2009\u202f'\u2019"
_GROUPED = {
    mark: re.compile(
        rf"(-?)([0-9]+|[0-9]{{1,3}}([{other}{_SPACES}])[0-9]{{3}}(?:\3[0-9]{{3}})*)(?:[{mark}]([0-9]*))?", re.ASCII
    )
    for mark, other in ((".", ","), (",", "."))
}
"""Numbers with this decimal mark, whose thousands may be set apart by the other mark, a space or an apostrophe."""
_ONLY_THOUSANDS = re.compile(r"-?[0-9]{1,3}(\.[0-9]{3})+", re.ASCII)
_COMMA = re.compile(r"-?(?:[0-9]+|[0-9]{1,3}(?:[.\u00a0\u202f' ][0-9]{3})+),(?:[0-9]{1,2}|[0-9]{4,})", re.ASCII)
_EXPONENT = re.compile(r"[0-9](?:[.,][0-9]+)?[eE]\+?[0-9]{1,3}", re.ASCII)

_SEEN_DIGITS = 12
"""A number that a person types into a sheet has at most so many digits. A longer one nearby comes of computing."""
_DUST = Decimal("3e-14")
"""The largest share of a number that computing with binary fractions adds to it, or takes from it."""
KEPT_DIGITS = 15
"""The number of digits that a spreadsheet keeps."""


def read_amount(text: str, mark: str) -> Decimal | None:
    """Read an amount. ``mark`` is the stated decimal mark, or empty. Returns None when the text is no such number."""
    if len(text) > MAX_DIGITS:
        return None
    if not mark:
        return Decimal(text) if _PLAIN.fullmatch(text) else None
    found = _GROUPED[mark].fullmatch(text)
    if found is None:
        return None
    sign, whole, _, fraction = found.groups()
    return Decimal(f"{sign}{re.sub('[^0-9]', '', whole)}.{fraction or 0}")


def is_ambiguous(text: str) -> bool:
    """Say whether a number such as 1.000 is one or one thousand, as long as nobody says what the dot is."""
    return _ONLY_THOUSANDS.fullmatch(text) is not None


def shows_decimal_comma(text: str) -> bool:
    """Say whether a text is a number whose comma can only be a decimal one."""
    return _COMMA.fullmatch(text) is not None


def is_shortened(text: str) -> bool:
    """Say whether a text is a number that a spreadsheet has shortened, such as 1.23E+15."""
    return _EXPONENT.fullmatch(text) is not None


class Number(NamedTuple):
    """A number of a spreadsheet, which computes with binary fractions: 0.1+0.2 is stored as 0.30000000000000004."""

    exact: Decimal
    """The number, with all digits that the file has."""
    seen: Decimal | None
    """The short number nearby that a person sees, without the dust of computing; None when there is none."""

    @property
    def value(self) -> Decimal | None:
        """The number that it stands for. It is None when that cannot be said exactly."""
        return self.exact if _digits(self.exact) <= KEPT_DIGITS else self.seen


def number_of(text: str) -> Number | None:
    """Read a number as a spreadsheet stores it. Returns None when it is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    if not isfinite(value):
        return None
    number = Decimal(repr(value))
    seen = Decimal(f"{value:.{_SEEN_DIGITS}g}")
    is_near = seen != number and abs(seen - number) <= abs(number) * _DUST
    return Number(number, seen if is_near else None)


def rounded(number: Decimal, places: int) -> Decimal:
    """Round a number as spreadsheets show it, a half away from zero."""
    return number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


def plain(number: Decimal) -> str:
    """Write a number without an exponent and without zeros at its end."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _digits(number: Decimal) -> int:
    """Count the digits of a number from its first to its last that is not zero."""
    return len(number.normalize().as_tuple().digits)


def number_problem(text: str, what: str) -> str:
    """Say that a text is no number, and which one was probably meant. ``what`` names what would be right."""
    if len(text) > MAX_DIGITS:
        return f"must be {what} of at most {MAX_DIGITS} digits, not {escaped(text[:50])}"
    if text.startswith("(") and text.endswith(")"):
        return f"must be {what}, not {escaped(text)}, which is negative; an amount is greater than zero"
    meant, without = _meant(text)
    if meant is None:
        return f"must be {what}, not {escaped(text)}"
    extra = f" without {' and '.join(without)}" if without else ""
    return f"must be {what}{extra}, not {escaped(text)}; did you mean {meant}?"


def _meant(text: str) -> tuple[str | None, list[str]]:
    """Guess the number in a text without its formula, currency, blanks and separators of thousands.

    Returns the number, or None, and what it had too much.
    """
    without: list[str] = []
    found = _FORMULA.fullmatch(unicodedata.normalize("NFKC", text).strip())
    inner = found.group(1) if found is not None else ""
    if text.startswith("="):
        without.append("a formula")
    bare = "".join(each for each in inner if unicodedata.category(each) != "Sc")
    bare = re.sub(r"^[A-Za-z]{3}(?=\s*[-0-9])|(?<=[0-9])(\s*)[A-Za-z]{3}$", "", bare.strip())
    if bare != inner.strip():
        without.append("a currency")
    inner = "".join(
        each for each in bare if unicodedata.category(each) not in ("Zs", "Cf") and each not in "'_\u2019"
    ).removeprefix("+")
    if re.fullmatch(r"-?[0-9.]+[eE][+-]?[0-9]{1,2}", inner):
        try:
            inner = f"{Decimal(inner):f}"
        except InvalidOperation:
            return None, []
    inner = "".join(str(unicodedata.digit(each)) if each.isdigit() else each for each in inner)
    is_thousands = re.search(r"[0-9][ \u00a0\u202f'\u2019_][0-9]", bare) is not None
    decimal = max(inner.rfind(","), inner.rfind("."))
    if decimal >= 0:
        separator, places = inner[decimal], len(inner) - decimal - 1
        if inner.count(separator) > 1 and not re.fullmatch(rf"-?[0-9]{{1,3}}([{separator}][0-9]{{3}})+", inner):
            return None, []
        whole_too = inner.count(separator) > 1 or (separator == "," and places == 3)
        whole = re.sub("[,.]", "", inner[:decimal])
        is_thousands = is_thousands or whole_too or whole != inner[:decimal]
        inner = whole + inner[decimal + 1 :] if whole_too else f"{whole}.{inner[decimal + 1 :]}"
    if is_thousands:
        without.append("separators of thousands")
    if inner.endswith(".") or (inner.count(".") == 1 and not inner.rpartition(".")[2].strip("0")):
        inner = inner.partition(".")[0]
    return (inner, without) if _PLAIN_MEANT.fullmatch(inner) and inner != text else (None, [])
