"""Shows the problems of a file of recipients in its own rows: the cells as they stand, with those that are wrong marked."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

MAX_READ = 4 * 1024 * 1024
_AROUND = 1
"""So many rows before and after each one that is wrong are shown with it."""
_SEPARATORS = ",;\t|"
_CELL = 200
"""A longer cell is cut."""


class Row(Struct, frozen=True):
    """A row of the file. ``problems`` are those of it, and ``wrong`` the numbers of the cells that they are about."""

    number: int
    cells: Sequence[str]
    problems: Sequence[Mapping[str, Any]] = ()
    wrong: frozenset[int] = frozenset()
    after_gap: bool = False
    """Whether rows before it are left out."""


class Table(Struct, frozen=True):
    """The header and the rows to show."""

    header: Sequence[str]
    rows: Sequence[Row]


def read(content: bytes, problems: Sequence[Mapping[str, Any]]) -> Table | None:
    """Find the rows of a CSV that problems are about, by line. Returns None for a file that is no such text."""
    numbers = {number for each in problems if isinstance(number := each.get("row"), int)}
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    if not numbers or "\0" in text:
        return None
    separator = max(_SEPARATORS, key=text.partition("\n")[0].count)
    lines: dict[int, list[str]] = {}
    wanted = {near for number in numbers for near in range(number - _AROUND, number + _AROUND + 1)} | {1}
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    first = 1
    try:
        for cells in reader:
            if first in wanted:
                lines[first] = [cell if len(cell) <= _CELL else f"{cell[:_CELL]}…" for cell in cells]
            first = reader.line_num + 1
    except csv.Error:
        return None
    if not numbers <= lines.keys():
        return None
    header = lines.pop(1, [])
    names = [name.strip().lower().replace(" ", "_") for name in header]
    rows, before = [], 1
    for number, cells in sorted(lines.items()):
        of_row = [each for each in problems if each.get("row") == number]
        wrong = frozenset(names.index(each["field"]) for each in of_row if each.get("field") in names)
        rows.append(Row(number, cells, of_row, wrong, number != before + 1))
        before = number
    return Table(header, rows)
