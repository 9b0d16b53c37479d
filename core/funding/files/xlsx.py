"""Reads the sheets of an .xlsx file: values, what their formats show, hidden rows and merged cells."""

import posixpath
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from core.funding.files.archive import MAX_BYTES, MAX_ROW, MAX_ROWS, MAX_SHEETS, Archive, Walk, local, unreadable
from core.funding.files.cells import (
    Line,
    Sheet,
    SheetRow,
    date_cell,
    error_cell,
    number_cell,
    odd,
    percent_cell,
)
from core.funding.files.numbers import number_of, plain, rounded
from core.funding.files.terms import MAX_COLUMNS

_MAX_TEXT = MAX_BYTES // 8
"""The largest number of characters of all texts of a book, which stand in memory."""
_MAX_MERGED = 10_000
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\b[^>]*?\bref="([A-Z]{1,3})([0-9]{1,7}):([A-Z]{1,3})([0-9]{1,7})"')
_REF = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")
_ESCAPED = re.compile("_x000([9AaDd])_")
_PLACES = {1: 0, 2: 2, 3: 0, 4: 2, 5: 0, 6: 0, 7: 2, 8: 2, 37: 0, 38: 0, 39: 2, 40: 2, 41: 0, 42: 0, 43: 2, 44: 2}
"""The decimal places that the formats without a code of their own show."""
_DATES = frozenset((*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)))
_PERCENTS = frozenset((9, 10))
_UNSHOWN = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?![hms]+\])[^\]]*\]', re.IGNORECASE)
"""The parts of a format that stand for themselves."""


class _Format(NamedTuple):
    """The effect of a format on a number."""

    kind: str = ""
    """``date``, ``percent``, ``thousands`` for one that leaves thousands out, or empty."""
    places: int | None = None
    """The decimal places that it shows; None when it shows what there is."""


class XlsxBook:
    """An .xlsx file."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        root = _relations(archive, "", "_rels/.rels")
        book = next((each.target for each in root.values() if each.kind == "officeDocument"), "xl/workbook.xml")
        folder, name = posixpath.split(book)
        relations = _relations(archive, folder, f"{folder}/_rels/{name}.rels")
        walk = _BookWalk()
        for _ in walk.through(archive.pieces(book)):
            pass
        self._starts_1904 = walk.starts_1904
        self.sheets = [
            Sheet(name, is_hidden, relations[relation].target)
            for name, is_hidden, relation in walk.sheets
            if relation in relations and relations[relation].kind == "worksheet"
        ]
        self._texts: list[str] | None = None
        self._formats: list[_Format] = []
        self._parts = {each.kind: each.target for each in relations.values()}

    def rows(self, sheet: Sheet) -> Iterator[SheetRow]:
        """Yield the rows of a sheet that are not blank."""
        if self._texts is None:
            self._texts = self._read(_TextsWalk(), "sharedStrings")
            self._formats = self._read(_StylesWalk(), "styles")
        merged = _Merged(self._archive.pieces(sheet.place))
        walk = _SheetWalk(self._texts, self._formats, starts_1904=self._starts_1904)
        count = 0
        for row in walk.through(self._archive.pieces(sheet.place)):
            cells = merged.marked(row.line)
            if any(cells):
                count += 1
                if count > MAX_ROWS:
                    raise unreadable(
                        f"the sheet has more than {MAX_ROWS} rows; send the list as CSV, which may have more"
                    )
                yield SheetRow(row.line._replace(cells=cells), row.is_hidden)

    def _read(self, walk: Walk[Any], kind: str) -> list[Any]:
        part = self._parts.get(kind)
        if part is None or part not in self._archive.names:
            return []
        return list(walk.through(self._archive.pieces(part)))


class _Relation(NamedTuple):
    kind: str
    target: str


def _relations(archive: Archive, folder: str, name: str) -> dict[str, _Relation]:
    if name not in archive.names:
        return {}
    found: dict[str, _Relation] = {}
    for id, kind, target in _RelationsWalk().through(archive.pieces(name)):
        path = target[1:] if target.startswith("/") else posixpath.normpath(posixpath.join(folder, target))
        found[id] = _Relation(kind.rpartition("/")[2], path)
    return found


class _RelationsWalk(Walk[tuple[str, str, str]]):
    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "Relationship" and len(self.ready) < MAX_SHEETS * 4:
            self.ready.append((attributes.get("Id", ""), attributes.get("Type", ""), attributes.get("Target", "")))


class _BookWalk(Walk[None]):
    def __init__(self) -> None:
        super().__init__()
        self.starts_1904 = False
        self.sheets: list[tuple[str, bool, str]] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "workbookPr":
            self.starts_1904 = attributes.get("date1904") in ("1", "true")
        elif name == "sheet":
            if len(self.sheets) >= MAX_SHEETS:
                raise unreadable(f"the spreadsheet has more than {MAX_SHEETS} sheets")
            is_hidden = attributes.get("state", "visible") != "visible"
            self.sheets.append((attributes.get("name", ""), is_hidden, local(attributes, "id") or ""))


class _TextsWalk(Walk[str]):
    """The texts that cells refer to by number. A text may have several runs of letters, and hints at how to say them."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[str] = []
        self._is_hint = False
        self._room = _MAX_TEXT

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "si":
            self._parts = []
        elif name == "rPh":
            self._is_hint = True
        elif name == "t" and not self._is_hint:
            self.text = []

    def end(self, name: str) -> None:
        if name == "t" and self.text is not None:
            self._parts += self.text
            self.text = None
        elif name == "rPh":
            self._is_hint = False
        elif name == "si":
            text = _unescaped("".join(self._parts))
            self._room -= len(text) + 50
            if self._room < 0:
                raise unreadable("the spreadsheet has too much text; send the list as CSV")
            self.ready.append(text)


class _StylesWalk(Walk[_Format]):
    """The formats of cells, by the number of their style."""

    def __init__(self) -> None:
        super().__init__()
        self._codes: dict[int, str] = {}
        self._is_within = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "numFmt":
            self._codes[int(attributes.get("numFmtId", "0"))] = attributes.get("formatCode", "")
        elif name == "cellXfs":
            self._is_within = True
        elif name == "xf" and self._is_within and len(self.ready) < 100_000:
            number = int(attributes.get("numFmtId", "0"))
            self.ready.append(_format_of(number, self._codes.get(number)))

    def end(self, name: str) -> None:
        if name == "cellXfs":
            self._is_within = False


class _SheetWalk(Walk[SheetRow]):
    """The rows of a sheet."""

    def __init__(self, texts: list[str], formats: list[_Format], *, starts_1904: bool) -> None:
        super().__init__()
        self._texts, self._formats = texts, formats
        self._epoch = datetime(1904, 1, 1) if starts_1904 else datetime(1899, 12, 30)
        self._row = self._column = 0
        self._is_hidden = self._is_hint = self._has_formula = False
        self._cells: list[str] = []
        self._problem = ""
        self._type = ""
        self._format = _Format()
        self._value: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "c":
            found = _REF.match(attributes.get("r", ""))
            self._column = _column(found.group(1)) if found else self._column + 1
            self._type = attributes.get("t", "n")
            style = int(attributes.get("s", "0"))
            self._format = self._formats[style] if 0 <= style < len(self._formats) else _Format()
            self._value, self._has_formula = [], False
        elif name == "v" or (name == "t" and not self._is_hint):
            self.text = []
        elif name == "f":
            self._has_formula = True
        elif name == "row":
            row = int(attributes.get("r", self._row + 1))
            if not self._row < row <= MAX_ROW:
                raise unreadable(f"the spreadsheet is damaged: row {row} follows row {self._row}")
            self._row, self._column, self._cells, self._problem = row, 0, [], ""
            self._is_hidden = attributes.get("hidden") in ("1", "true")
        elif name == "rPh":
            self._is_hint = True

    def end(self, name: str) -> None:
        if name in ("v", "t"):
            if self.text is not None:
                self._value += self.text
            self.text = None
        elif name == "c":
            if cell := self._cell("".join(self._value)):
                self._put(cell)
        elif name == "row":
            self.ready.append(SheetRow(Line(self._row, self._cells, self._problem), self._is_hidden))
        elif name == "rPh":
            self._is_hint = False
        elif name == "sheetData":
            self.is_done = True

    def _put(self, cell: str) -> None:
        if self._column > MAX_COLUMNS:
            self._problem = f"has a value in column {self._column}; a sheet may have {MAX_COLUMNS} columns"
            return
        if len(self._cells) < self._column:
            self._cells += [""] * (self._column - len(self._cells))
        self._cells[self._column - 1] = cell

    def _cell(self, value: str) -> str:
        if not value:
            text = "has a formula that was never computed; open the file in a spreadsheet program, and save it"
            return odd("?", text) if self._has_formula and self._type != "str" else ""
        match self._type:
            case "s":
                number = int(value)
                if not 0 <= number < len(self._texts):
                    raise unreadable(f"the spreadsheet is damaged: it has no text {number}")
                return self._texts[number]
            case "str" | "inlineStr":
                return _unescaped(value)
            case "b":
                return "TRUE" if value == "1" else "FALSE"
            case "e":
                return error_cell(value)
            case "d":
                return date_cell(value[:40])
        return self._number(value)

    def _number(self, value: str) -> str:
        kind, places = self._format
        number = number_of(value)
        if number is None or not kind:
            shown = None
            if number is not None and places is not None and number.exact.adjusted() < 15 and places < 11:
                shown = rounded(number.exact, places)
            return number_cell(value, shown)
        if kind == "percent":
            return percent_cell(f"{plain(rounded(number.exact * 100, 10))}%")
        if kind == "thousands":
            return odd(
                plain(number.exact),
                f"holds {plain(number.exact)}, and its format shows it in thousands; show it in full",
            )
        try:
            return date_cell(_date(self._epoch, number.exact))
        except OverflowError:
            return odd(value, f"is formatted as a date, and holds {value[:40]}, which is none", is_text=True)


class _Merged:
    """The merged cells of a sheet. Only their first cell has the value."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._ranges: list[tuple[int, int, int, int, str]] = []
        before = b""
        for piece in pieces:
            text = before + piece
            end = 0
            for found in _MERGED.finditer(text):
                first, top, last, bottom = (each.decode() for each in found.groups())
                end = found.end()
                self._ranges.append(
                    (
                        int(top),
                        int(bottom),
                        _column(first),
                        min(_column(last), MAX_COLUMNS),
                        f"{first}{top}:{last}{bottom}",
                    )
                )
                if len(self._ranges) > _MAX_MERGED:
                    raise unreadable(f"the sheet has more than {_MAX_MERGED} merged cells; undo the merges")
            before = text[max(end, len(text) - 200) :]
        self._ranges.sort(reverse=True)
        self._open: list[tuple[int, int, int, int, str]] = []

    def marked(self, line: Line) -> list[str]:
        """Return the cells of a row, with the blank ones marked that are part of merged cells. Rows come in order."""
        if not self._ranges and not self._open:
            return line.cells
        while self._ranges and self._ranges[-1][0] <= line.number:
            self._open.append(self._ranges.pop())
        self._open = [each for each in self._open if each[1] >= line.number]
        cells = line.cells
        for top, _, first, last, name in self._open:
            for column in range(first, last + 1):
                if (top, first) == (line.number, column):
                    continue
                if len(cells) < column:
                    cells += [""] * (column - len(cells))
                if not cells[column - 1]:
                    text = f"is part of the merged cells {name}; undo the merge, so that each row has its own value"
                    cells[column - 1] = odd("", text, is_text=True)
        return cells


def _format_of(number: int, code: str | None) -> _Format:
    if code is None:
        kind = "date" if number in _DATES else "percent" if number in _PERCENTS else ""
        return _Format(kind, _PLACES.get(number))
    shown = _UNSHOWN.sub("", code.partition(";")[0] if '"' not in code else _UNSHOWN.sub("", code).partition(";")[0])
    if "%" in shown:
        return _Format("percent")
    if shown.strip().lower() != "general" and re.search("[ymdhs]", shown, re.IGNORECASE):
        return _Format("date")
    if re.search(r"[0#?],+\s*(\.|$)", shown):
        return _Format("thousands")
    if not re.search("[0#?]", shown) or re.search(r"[eE/]", shown):
        return _Format()
    fraction = re.search(r"\.([0#?]*)", shown)
    return _Format("", len(fraction.group(1)) if fraction else 0)


def _date(epoch: datetime, serial: Decimal) -> str:
    """Write the date that a spreadsheet counts as days. A number below one is a time."""
    moment = epoch + timedelta(seconds=round(float(serial) * 86_400))
    if 0 <= serial < 1:
        return moment.time().isoformat()
    return moment.date().isoformat() if serial == int(serial) else moment.isoformat(" ")


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number


def _unescaped(text: str) -> str:
    """Put tabs and line ends where Excel has written their numbers."""
    return _ESCAPED.sub(lambda found: chr(int(found.group(1), 16)), text) if "_x" in text else text
