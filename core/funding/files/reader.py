"""Reads the rows of a file, whatever its format. Memory does not grow with a text file.

The reader may be iterated more than once. What it has found out about the file is in ``found``, and is whole after the rows.
"""

import re
import shutil
from collections.abc import Iterator
from decimal import Decimal
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

import msgspec

from core.base.formulas import unmarked
from core.base.metadata import meta_data_problems
from core.base.money import MAX_DIGITS
from core.base.names import escaped
from core.base.problems import MAX_LISTED
from core.funding.files import lines as texts
from core.funding.files.archive import unreadable
from core.funding.files.cells import Line, NumberCell, OddCell
from core.funding.files.columns import LOOKED_AT, META_DATA, Header, NoHeader, header_of, is_header
from core.funding.files.found import FileRead, Finds
from core.funding.files.numbers import (
    Number,
    is_ambiguous,
    is_shortened,
    number_problem,
    read_amount,
    shows_decimal_comma,
)
from core.funding.files.rows import Given
from core.funding.files.sheets import chosen, open_book
from core.funding.requests import FileTerms
from core.ledger.rules.validation import whole

IN_MEMORY = 256 * 1024
"""A file that cannot be read twice is copied, on disk if it has more bytes than this."""

_BLANKS = " \t"
"""The characters that may stand around a cell. Any other blank is part of it, and refused in a name or number."""
_TOTALS = re.compile(
    "(grand |sub-?)?totals?|total amount|sum|summe|gesamt(summe|betrag)?|zwischensumme|somme|totaal|suma|totale|合計",
    re.IGNORECASE,
)
"""The words that stand in a row of totals."""
_EXACT = ("destination", "amount", "precise_amount")
"""The columns that take no text of a date or a percentage."""
_PAID = ("REJECTED", "UNPOSTED", "")
"""The statuses of rows that may be paid, in the CSV of a run's rows."""
_NO_TEXT = {
    b"\xd0\xcf\x11\xe0": "an old Excel file (.xls), or one with a password",
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"{\\rtf": "a document",
    b"\x1f\x8b": "compressed",
}
"""The beginnings of files that are no lists."""


class FileReader:
    """The rows of a file."""

    def __init__(self, stream: BinaryIO, terms: FileTerms | None = None, *, max_listed: int = MAX_LISTED) -> None:
        self._copy = None if stream.seekable() else _copied(stream)
        self._stream = self._copy or stream
        self._terms = terms or FileTerms()
        self.max_listed = max_listed
        """The largest number of problems that are listed."""
        self.finds = Finds()

    def close(self) -> None:
        """Close the copy of a file that could not be read twice. The file itself stays open."""
        if self._copy is not None:
            self._copy.close()

    @property
    def separator(self) -> str:
        """The separator of a text; a comma for a spreadsheet."""
        return self.finds.separator or ","

    @property
    def mark(self) -> str:
        """The decimal mark that is stated, or else a dot."""
        return self._terms.decimal or "."

    @property
    def found(self) -> FileRead:
        """The findings about the file by now."""
        return self.finds.read()

    def __iter__(self) -> Iterator[Given]:
        """Yield the rows of the file. Blank rows are left out. Every other row has its values, or what is wrong with it.

        Raises:
            InvalidRequest: the file cannot be read, its header is missing or not right, or a sheet must be chosen.
        """
        self.finds = finds = Finds()
        lines = self._lines()
        first: list[Line] = []
        for line in lines:
            if line.problem or any(line.cells):
                first.append(line)
            if len(first) >= LOOKED_AT or (first and not line.problem and is_header(line.cells, self._terms)):
                break
        try:
            header = header_of(first, self._terms)
        except NoHeader as error:
            finds.propose(error.proposal)
            raise
        finds.header = header
        rows = _Rows(header, self._terms, finds)
        for line in chain((each for each in first if each.number > header.number), lines):
            if line.problem or any(line.cells):
                given = rows.row(line)
                if given is not None:
                    yield given

    def _lines(self) -> Iterator[Line]:
        self._stream.seek(0)
        head = self._stream.read(8)
        for mark, what in _NO_TEXT.items():
            if head.startswith(mark):
                raise unreadable(f"the file is {what}; save it as .xlsx, .ods or CSV")
        yield from self._sheet_lines() if head.startswith(b"PK") else self._text_lines()

    def _sheet_lines(self) -> Iterator[Line]:
        """Yield the rows of the sheet that is meant."""
        book = open_book(self._stream, self.finds)
        sheet = chosen(book, self._terms, self.finds)
        self.finds.sheet = sheet.name
        if sheet.is_hidden:
            self.finds.notes.append(f"the sheet {escaped(sheet.name)} is hidden")
        for row in book.rows(sheet):
            if row.is_hidden:
                self.finds.hidden(row.line.number)
            yield row.line

    def _text_lines(self) -> Iterator[Line]:
        """Split the lines of a text by the separator of its header."""
        encoding = texts.encoding_of(self._stream)
        found = texts.text_lines(self._stream, encoding)
        first: list[texts.TextLine] = []
        separator = None
        for line in found:
            if line.number == 1 and (separator := texts.separator_line(line.text)):
                continue
            first.append(line)
            if sum(bool(each.text.strip()) for each in first) >= LOOKED_AT:
                break
        separator = separator or self._separator(first)
        self.finds.text(separator, encoding, first)
        for line in chain(first, found):
            if line.number == encoding.guessed_at:
                self.finds.guessed(line)
            yield texts.split(line, separator)

    def _separator(self, first: list[texts.TextLine]) -> str:
        """Return the separator with which there is a header, or else the one that the first lines have most often."""
        for separator in texts.SEPARATORS:
            for line in first:
                if not line.problem and is_header(texts.split(line, separator).cells, self._terms):
                    return separator
        return max(texts.SEPARATORS, key=lambda each: max((line.text.count(each) for line in first), default=0))


class _Rows:
    """Makes the rows of the lines under a header."""

    def __init__(self, header: Header, terms: FileTerms, finds: Finds) -> None:
        self._header, self._finds = header, finds
        self._mark = terms.decimal or ""
        self._without = frozenset(terms.without_rows or ())
        self._destination = header.places["destination"]
        self._extras = {name: place for name, place in header.places.items() if name.startswith(META_DATA)}
        self._read = sorted(header.places.values())
        self._total = Decimal(0)
        self._count = 0

    def row(self, line: Line) -> Given | None:
        """Make the row of a line. Returns None when the row is to be left out."""
        if line.number in self._without:
            self._finds.left_out += 1
            return None
        header, cells = self._header, line.cells
        if line.problem:
            return self._wrong(line, line.problem)
        if len(cells) != len(header.names):
            if self._finds.is_sheet and len(cells) < len(header.names):
                cells = [*cells, *[""] * (len(header.names) - len(cells))]
            elif len(cells) > len(header.names) and not any(cells[len(header.names) :]):
                cells = cells[: len(header.names)]
            else:
                return self._wrong(line, texts.width_problem(cells, len(header.names), self._finds.separator))
        problems: list[tuple[str, str]] = []
        values: dict[str, str] = {}
        for name, place in header.places.items():
            cell = cells[place]
            values[name] = cell if type(cell) is NumberCell else cell.strip(_BLANKS)
            if type(cell) is OddCell and not (cell.is_text and name not in _EXACT):
                problems.append((name, cell.problem))
                values[name] = ""
        for place in header.unnamed:
            if cells[place]:
                problems.append(
                    ("", f"has {escaped(cells[place])} in column {place + 1}, which has no name in the header")
                )
        given = self._given(line, values, problems)
        return given._replace(cells=cells)

    def _wrong(self, line: Line, problem: str) -> Given:
        return Given(line.number, "", None, None, None, None, [("", problem)], line.cells, self._header)

    def _given(self, line: Line, values: dict[str, str], problems: list[tuple[str, str]]) -> Given:
        header = self._header
        destination = self._unmarked(values["destination"])
        named = {name for name, _ in problems}
        amount = precise = seen = None
        if (text := values.get("amount", "")) and "amount" not in named:
            amount, seen = self._amount(line.number, text, problems)
        if (text := values.get("precise_amount", "")) and "precise_amount" not in named:
            precise = self._precise(text, problems)
        if "destination" not in named:
            number = seen or amount if amount is not None else None if precise is None else Decimal(precise)
            if problem := self._total_problem(destination, number, line.cells):
                problems.append(("destination", problem))
            elif is_shortened(destination):
                text = "is a number that a spreadsheet has shortened, so the other digits are lost; write it as text"
                problems.append(("destination", f"{escaped(destination)} {text}"))
            if number is not None and number.is_finite():
                self._total += number
                self._count += 1
        if header.status is not None and (status := line.cells[header.status].strip(_BLANKS)) not in _PAID:
            problems.append(("", f"is {status}: this row of the run is not to be paid again"))
        meta_data = self._meta_data(values, problems) if self._extras else None
        description = self._unmarked(values.get("description", "")) or None
        currency = values.get("currency", "")
        return Given(
            line.number, destination, amount, precise, description, meta_data, problems, (), header, currency, seen
        )

    def _amount(self, row: int, text: str, problems: list[tuple[str, str]]) -> tuple[Decimal | None, Decimal | None]:
        """Read an amount: the number, and the number that a person sees where that is another one."""
        if isinstance(text, NumberCell):
            number = Number(text.exact, text.seen)
            if number.value is not text.exact:
                self._finds.dust(row, text.exact, text.seen)
                return number.value, None
            return text.exact, text.seen
        if not self._mark and self._finds.separator != "," and is_ambiguous(text):
            self._finds.unclear(row, text)
            what = f"{escaped(text)} is {text.replace('.', '')} with a decimal comma, and {text} with a decimal dot"
            problems.append(("amount", f"{what}; say which one the file has"))
            return None, None
        amount = read_amount(text, self._mark)
        if amount is None:
            problems.append(("amount", number_problem(text, "a number such as 12.50")))
            if not self._mark and shows_decimal_comma(text):
                self._finds.comma(row, text)
        elif "." in text:
            self._finds.dots += 1
        return amount, None

    def _precise(self, text: str, problems: list[tuple[str, str]]) -> int | None:
        precise = whole(text)
        if precise is None and self._mark and (number := read_amount(text, self._mark)) is not None:
            precise = int(number) if number == int(number) and len(text) <= MAX_DIGITS else None
        if precise is None:
            problems.append(("precise_amount", number_problem(text, "a whole number of minor units")))
        return precise

    def _total_problem(self, destination: str, number: Decimal | None, cells: list[str]) -> str:
        """Say that a row looks like the total of the rows above it. Returns an empty text for any other row."""
        said = any(_TOTALS.fullmatch(cell.strip(" \t:=")) for cell in ([destination] if destination else cells))
        is_sum = number is not None and self._count > 1 and number == self._total
        if said or (not destination and is_sum):
            sums = "; its amount is the sum of the rows above" if is_sum else ""
            return f"looks like a total row, which is nobody to pay{sums}: take it out"
        return ""

    def _meta_data(self, values: dict[str, str], problems: list[tuple[str, str]]) -> str | None:
        kept = {name.removeprefix(META_DATA): str(values[name]) for name in self._extras if values[name]}
        if not kept:
            return None
        text = msgspec.json.encode(kept)
        if found := meta_data_problems(text):
            problems += found
            return None
        return text.decode()

    def _unmarked(self, text: str) -> str:
        """Take away the mark that Pacioli writes before a text that a spreadsheet would run as a formula."""
        return unmarked(text) if self._header.is_ours else str(text)


def _copied(stream: BinaryIO) -> BinaryIO:
    copy = cast(BinaryIO, SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115
    shutil.copyfileobj(stream, copy)
    return copy
