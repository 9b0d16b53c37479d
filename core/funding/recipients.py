"""Read the rows of a funding job one by one, from a JSON list or from a CSV.

Memory does not grow with the file. ``row_check.py`` checks and stores the rows.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import BinaryIO, NamedTuple

from core.base.errors import ErrorCode, InvalidRequest
from core.base.metadata import meta_data_problems, meta_data_text
from core.base.money import MAX_DIGITS
from core.funding.requests import Recipient
from core.ledger.rules.validation import whole

COLUMNS = ("destination", "amount", "precise_amount", "description")
"""The columns that a CSV may have."""
MAX_LINE = 65_536
"""The number of bytes that a line of a CSV may have."""

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

    Raises:
        InvalidRequest: the header is missing or not valid.
    """
    lines = _Lines(stream)
    reader = csv.reader(lines, strict=True)
    names: list[str] | None = None
    while True:
        first = lines.number + 1
        try:
            values = next(reader, None)
        except csv.Error as error:
            values = [""]
            lines.problem = lines.problem or f"is not CSV: {error}"
        if values is None:
            break
        if names is None:
            if lines.problem:
                raise _bad_header(f"line 1 {lines.problem}")
            if values:
                names = _header(values)
        elif lines.problem:
            yield Given(first, "", None, None, None, None, [("", lines.problem)])
        elif any(values):
            yield _of_line(first, names, values)
        lines.problem = ""
    if names is None:
        raise _bad_header("it is empty")


class _Lines:
    """An iterator over the text lines of a byte stream. A line that is too long or not UTF-8 sets ``problem``."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.number = 0
        self.problem = ""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._stream.readline(MAX_LINE + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > MAX_LINE:
            self.problem = f"is longer than {MAX_LINE} bytes"
            while line and not line.endswith(b"\n"):
                line = self._stream.readline(MAX_LINE)
            return "?\n"
        try:
            # Spreadsheets mark UTF-8 at the beginning of a file.
            return line.decode("utf-8-sig" if self.number == 1 else "utf-8").replace("\r\n", "\n")
        except UnicodeDecodeError:
            self.problem = "is not UTF-8; save the file as CSV UTF-8"
            return "?\n"


def _header(values: list[str]) -> list[str]:
    names = [name.strip().lower() for name in values]
    if unknown := [name for name in names if name not in COLUMNS]:
        hint = "; the columns must be separated by commas" if ";" in unknown[0] or "\t" in unknown[0] else ""
        raise _bad_header(f"there is no column {unknown[0][:100]!r}; there are {', '.join(COLUMNS)}{hint}")
    if len(set(names)) < len(names):
        raise _bad_header("a column is there twice")
    if "destination" not in names or ("amount" in names) == ("precise_amount" in names):
        raise _bad_header("it must have destination, and either amount or precise_amount")
    return names


def _bad_header(text: str) -> InvalidRequest:
    example = "the first line must be a header such as destination,amount,description"
    return InvalidRequest([("recipients", f"{text}: {example}")], ErrorCode.FND_INVALID_RECIPIENTS)


def _of_line(row: int, names: list[str], values: list[str]) -> Given:
    if len(values) != len(names):
        text = f"has {len(values)} columns, and the header has {len(names)}"
        return Given(row, "", None, None, None, None, [("", text)])
    given = dict(zip(names, map(str.strip, values), strict=True))
    problems, amount, precise = [], None, None
    if text := given.get("amount", ""):
        if _AMOUNT.fullmatch(text) and len(text) <= MAX_DIGITS:
            amount = Decimal(text)
        else:
            problems.append(("amount", f"must be a number such as 12.50, not {text[:50]!r}"))
    if text := given.get("precise_amount", ""):
        precise = whole(text)
        if precise is None:
            problems.append(("precise_amount", f"must be a whole number of minor units, not {text[:50]!r}"))
    return Given(row, given["destination"], amount, precise, given.get("description") or None, None, problems)
