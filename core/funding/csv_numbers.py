"""Says what is wrong with a number in a CSV, and which number was probably meant, as spreadsheets write them."""

import re
import unicodedata
from decimal import Decimal, InvalidOperation

from core.base.money import MAX_DIGITS
from core.base.names import escaped

_PLAIN = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
_FORMULA = re.compile(r"""=?["'\u2018\u2019]*(.*?)["'\u2018\u2019]*""")


def number_problem(text: str, what: str) -> str:
    """Say that a text is no number, and which one was probably meant. ``what`` names what would be right."""
    if len(text) > MAX_DIGITS:
        return f"must be {what} of at most {MAX_DIGITS} digits, not {escaped(text[:50])}"
    meant = _meant(text)
    if text.startswith("(") and text.endswith(")"):
        return f"must be {what}, not {escaped(text)}, which is negative; an amount is greater than zero"
    return f"must be {what}, not {escaped(text)}" + (f"; did you mean {meant}?" if meant is not None else "")


def _meant(text: str) -> str | None:
    """Guess the number in a text without its formula, currency, blanks and separators of thousands."""
    found = _FORMULA.fullmatch(unicodedata.normalize("NFKC", text).strip())
    inner = found.group(1) if found is not None else ""
    inner = "".join(
        each for each in inner if unicodedata.category(each) not in ("Sc", "Zs", "Cf") and each not in "'_\u2019"
    )
    inner = re.sub(r"^[A-Za-z]{3}(?=[-0-9])|(?<=[0-9])[A-Za-z]{3}$", "", inner).removeprefix("+")
    if re.fullmatch(r"-?[0-9.]+[eE][+-]?[0-9]{1,2}", inner):
        try:
            inner = f"{Decimal(inner):f}"
        except InvalidOperation:
            return None
    inner = "".join(str(unicodedata.digit(each)) if each.isdigit() else each for each in inner)
    decimal = max(inner.rfind(","), inner.rfind("."))
    if decimal >= 0:
        separator, places = inner[decimal], len(inner) - decimal - 1
        if inner.count(separator) > 1 and not re.fullmatch(rf"-?[0-9]{{1,3}}([{separator}][0-9]{{3}})+", inner):
            return None
        is_thousands = inner.count(separator) > 1 or (separator == "," and places == 3)
        whole = re.sub("[,.]", "", inner[:decimal])
        inner = whole + inner[decimal + 1 :] if is_thousands else f"{whole}.{inner[decimal + 1 :]}"
    if inner.endswith(".") or (inner.count(".") == 1 and not inner.rpartition(".")[2].strip("0")):
        inner = inner.partition(".")[0]
    return inner if _PLAIN.fullmatch(inner) and inner != text else None
