"""The cells and lines that every format is read into, and what a spreadsheet's number is worth as one of them."""

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple, Protocol

from core.funding.files.numbers import KEPT_DIGITS, number_of, plain


class NumberCell(str):
    """A cell of a spreadsheet that holds a number. As text it is the plain decimal, with a dot."""

    exact: Decimal
    """The number, with all digits that the file has."""
    seen: Decimal | None
    """The number without the dust of computing, as a person sees it; None when it has none."""


class OddCell(str):
    """A cell of a spreadsheet that has no value which could be meant. As text it is what a person sees."""

    problem: str
    """The problem with it."""
    is_text: bool
    """True when it is right as a text, and wrong as an amount or as a name only."""


class Line(NamedTuple):
    """A line of a text, or a row of a sheet: its cells, or what is wrong with it."""

    number: int
    """Its number in the file, from 1."""
    cells: list[str]
    problem: str


class SheetRow(NamedTuple):
    """A row of a sheet that is not blank."""

    line: Line
    is_hidden: bool


class Sheet(NamedTuple):
    """A sheet of a book."""

    name: str
    is_hidden: bool
    place: str
    """Where the book has it."""


class Book(Protocol):
    """A spreadsheet file."""

    sheets: list[Sheet]

    def rows(self, sheet: Sheet) -> Iterator[SheetRow]:
        """Yield the rows of a sheet that are not blank."""


def odd(text: str, problem: str, *, is_text: bool = False) -> OddCell:
    """Make a cell that is refused where its column is read."""
    cell = OddCell(text)
    cell.problem, cell.is_text = problem, is_text
    return cell


def error_cell(text: str) -> OddCell:
    """Make the cell of a formula that failed."""
    return odd(text, f"has the error {text[:40]} in place of a value; mend its formula, or write the value")


def date_cell(text: str) -> OddCell:
    """Make the cell of a date or time."""
    problem = f"is the date {text}: a spreadsheet takes a number such as 12.05 for a day; format it as a number, and type it anew"
    return odd(text, problem, is_text=True)


def percent_cell(text: str) -> OddCell:
    """Make the cell of a percentage."""
    return odd(text, f"is a percentage, {text}, and no amount; write the amount", is_text=True)


def number_cell(text: str, shown: Decimal | None = None) -> str:
    """Make the cell of a number as a spreadsheet stores it. ``shown`` is the rounded number that the sheet shows, if known.

    What a person cannot have seen or typed is refused: digits beyond the fifteen that a spreadsheet keeps, and decimals that
    the sheet rounds away.
    """
    number = number_of(text)
    if number is None:
        return odd(text[:100], f"holds {text[:40]}, which is no number")
    if number.exact.adjusted() >= KEPT_DIGITS:
        problem = (
            f"is a number of {number.exact.adjusted() + 1} digits, shown as {number.exact:.5E}: a spreadsheet keeps "
            f"{KEPT_DIGITS} digits, so the others are lost; format the column as text, and paste the value anew"
        )
        return odd(plain(number.exact), problem)
    value = number.value
    holds = f"holds {plain(number.exact)}{f', and shows {plain(shown)}' if shown is not None and shown != number.exact else ''}"
    if value is None:
        problem = f"{holds}, which comes of computing and is not exact: round it in the sheet, as in =ROUND(A1, 2)"
        return odd(plain(number.exact), problem)
    if shown is not None and value != shown:
        if number.seen != shown:
            problem = f"{holds}: round it in the sheet, or let the sheet show all its digits"
            return odd(plain(shown), problem, is_text=True)
        value = shown
    cell = NumberCell(plain(value))
    cell.exact, cell.seen = number.exact, number.seen
    return cell
