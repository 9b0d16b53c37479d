"""Read the rows of a funding job one by one, from a JSON list or from a CSV.

Memory does not grow with the file. ``row_check.py`` checks and stores the rows.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from difflib import get_close_matches
from typing import BinaryIO, NamedTuple

from core.base.errors import ErrorCode, InvalidRequest
from core.base.metadata import meta_data_problems, meta_data_text
from core.base.money import MAX_DIGITS
from core.base.names import escaped
from core.funding.csv_lines import read_lines
from core.funding.csv_numbers import number_problem
from core.funding.requests import Recipient
from core.ledger.rules.validation import whole

COLUMNS = ("destination", "amount", "precise_amount", "description")
"""The columns that a CSV may have."""

_BLANKS = " \t"
"""The characters that may stand around a cell. Any other blank is part of it, and refused in a name or number."""
_AMOUNT = re.compile(r"-?[0-9]+(\.[0-9]*)?", re.ASCII)


class Given(NamedTuple):
    """A row as it was read, with the problems that reading it found."""

    row: int
    """The number of the row: the line of a CSV, whose header is line 1, or the position in a list, from 1."""
    destination: str
    amount: Decimal | None
    precise_amount: int | None
    description: str | None
    meta_data: str | None
    problems: Sequence[tuple[str, str]] = ()

    @property
    def is_read(self) -> bool:
        """True when the row could be split into columns. Otherwise nothing more of it can be checked."""
        return all(name for name, _ in self.problems)


def of_list(recipients: Iterable[Recipient]) -> Iterator[Given]:
    """Yield the rows of a JSON list."""
    for row, each in enumerate(recipients, 1):
        problems = list(meta_data_problems(bytes(each.meta_data))) if each.meta_data else []
        precise = None if each.precise_amount is None else whole(each.precise_amount)
        if each.precise_amount is not None and precise is None:
            problems.append(("precise_amount", f"must be an integer, or a string of at most {MAX_DIGITS} digits"))
        text = None if problems else meta_data_text(bytes(each.meta_data))
        yield Given(row, each.destination or "", each.amount, precise, each.description, text, problems)


def of_csv(stream: BinaryIO) -> Iterator[Given]:
    """Yield the rows of a CSV in UTF-8 with a header, as spreadsheets write it. Blank lines are left out.

    Every other line is a row: its values, or what is wrong with it.

    Raises:
        InvalidRequest: the header is missing or not valid.
    """
    names: list[str] | None = None
    for number, cells, problem in read_lines(stream):
        if names is None:
            if problem:
                raise _bad_header(f"line {number} {problem}")
            if any(cells):
                names = _header(cells)
        elif problem:
            yield Given(number, "", None, None, None, None, [("", problem)])
        elif any(cells):
            yield _of_line(number, names, cells)
    if names is None:
        raise _bad_header("it is empty")


def _header(values: list[str]) -> list[str]:
    names = [name.strip(_BLANKS).lower() for name in values]
    if unknown := [name for name in names if name not in COLUMNS]:
        near = get_close_matches(unknown[0], COLUMNS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        if ";" in unknown[0] or "\t" in unknown[0]:
            hint = "; the columns must be separated by commas"
        raise _bad_header(f"there is no column {escaped(unknown[0])}; there are {', '.join(COLUMNS)}{hint}")
    if twice := [name for name in COLUMNS if names.count(name) > 1]:
        raise _bad_header(f"the column {twice[0]} is there twice")
    if "destination" not in names or ("amount" in names) == ("precise_amount" in names):
        raise _bad_header("it must have destination, and either amount or precise_amount")
    return names


def _bad_header(text: str) -> InvalidRequest:
    example = "the first line must be a header such as destination,amount,description"
    return InvalidRequest([("recipients", f"{text}: {example}")], ErrorCode.FND_INVALID_RECIPIENTS)


def _of_line(row: int, names: list[str], values: list[str]) -> Given:
    if len(values) != len(names):
        text = f"has {len(values)} columns, and the header has {len(names)}"
        separator = next((each for each in (";", "\t") if any(each in value for value in values)), None)
        if separator is not None and len(values) < len(names):
            text += f"; the columns must be separated by commas, not {escaped(separator)}"
        elif len(values) > len(names):
            text += "; write a text or a number with a comma in quotes"
        return Given(row, "", None, None, None, None, [("", text)])
    given = dict(zip(names, (value.strip(_BLANKS) for value in values), strict=True))
    problems, amount, precise = [], None, None
    if text := given.get("amount", ""):
        if _AMOUNT.fullmatch(text) and len(text) <= MAX_DIGITS:
            amount = Decimal(text)
        else:
            problems.append(("amount", number_problem(text, "a number such as 12.50")))
    if text := given.get("precise_amount", ""):
        precise = whole(text)
        if precise is None:
            problems.append(("precise_amount", number_problem(text, "a whole number of minor units")))
    return Given(row, given["destination"], amount, precise, given.get("description") or None, None, problems)
