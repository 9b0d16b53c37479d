"""The cells and lines that every format is read into."""

from decimal import Decimal
from typing import NamedTuple


class NumberCell(str):
    """A cell of a spreadsheet that holds a number. As text it is the plain decimal, with a dot."""

    exact: Decimal
    """The number, with all digits that the file has."""
    seen: Decimal | None
    """The number without the dust of computing, as a person sees it; None when it has none."""


class OddCell(str):
    """A cell of a spreadsheet that has no value which could be meant. As text it is what a person sees."""

    problem: str
    """What is wrong with it."""


def odd(text: str, problem: str) -> OddCell:
    """Make a cell that is refused where its column is read."""
    cell = OddCell(text)
    cell.problem = problem
    return cell


class Line(NamedTuple):
    """A line of a text, or a row of a sheet: its cells, or what is wrong with it."""

    number: int
    """Its number in the file, from 1."""
    cells: list[str]
    problem: str
