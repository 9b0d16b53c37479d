"""Reads the sheets of an .ods file: values, what the sheet shows of them, hidden rows and merged cells."""

import re
from collections.abc import Iterator

from core.funding.files.archive import MAX_ROW, MAX_ROWS, MAX_SHEETS, Archive, Walk, local, unreadable
from core.funding.files.cells import Line, Sheet, SheetRow, date_cell, error_cell, number_cell, odd, percent_cell
from core.funding.files.numbers import number_of, plain, rounded
from core.funding.files.terms import MAX_COLUMNS

_ERROR = re.compile(r"#(REF!|NAME\?|VALUE!|DIV/0!|N/A|NUM!|NULL!)|Err:[0-9]{3}")
_CONTENT = "content.xml"
_MANIFEST = "META-INF/manifest.xml"
_MAX_CELL = 65_536
_SHOWN_PLACES = 17
_MAX_DIGITS = 26
"""Decimal rounds numbers of no more digits than this exactly."""


class OdsBook:
    """An .ods file."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        if _MANIFEST in archive.names and any(b"encryption-data" in piece for piece in archive.pieces(_MANIFEST)):
            raise unreadable("the spreadsheet has a password; save it without one")
        walk = _NamesWalk()
        for _ in walk.through(archive.pieces(_CONTENT)):
            pass
        self.sheets = [
            Sheet(name, style in walk.hidden_styles, str(place)) for place, (name, style) in enumerate(walk.tables)
        ]

    def rows(self, sheet: Sheet) -> Iterator[SheetRow]:
        """Yield the rows of a sheet that are not blank."""
        count = 0
        for row, times in _SheetWalk(int(sheet.place)).through(self._archive.pieces(_CONTENT)):
            for number in range(row.line.number, row.line.number + times):
                count += 1
                if count > MAX_ROWS:
                    raise unreadable(
                        f"the sheet has more than {MAX_ROWS} rows; send the list as CSV, which may have more"
                    )
                yield row._replace(line=row.line._replace(number=number))


class _NamesWalk(Walk[None]):
    """The names of the sheets, and the styles that hide them."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[tuple[str, str]] = []
        self.hidden_styles: set[str] = set()
        self._style = ""
        self._level = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "style":
            self._style = local(attributes, "name") or ""
        elif name == "table-properties" and local(attributes, "display") == "false":
            self.hidden_styles.add(self._style)
        elif name == "table":
            if not self._level:
                self.tables.append((local(attributes, "name") or "", local(attributes, "style-name") or ""))
                if len(self.tables) > MAX_SHEETS:
                    raise unreadable(f"the spreadsheet has more than {MAX_SHEETS} sheets")
            self._level += 1

    def end(self, name: str) -> None:
        if name == "table":
            self._level -= 1


class _SheetWalk(Walk[tuple[SheetRow, int]]):
    """The rows of one sheet that are not blank, each with how often it is repeated."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self._place, self._table, self._level = place, -1, 0
        self._row = 1
        self._row_times = self._column_times = 1
        self._cells: list[str] = []
        self._column = 0
        self._problem = ""
        self._is_hidden = self._is_covered = False
        self._attributes: dict[str, str] | None = None
        """The attributes of the cell that is being read; None outside of cells."""
        self._paragraphs: list[str] = []
        self._annotation = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "table":
            self._level += 1
            self._table += self._level == 1
        if self._table != self._place or self._level != 1:
            return
        match name:
            case "table-row":
                self._cells, self._column, self._problem = [], 0, ""
                self._row_times = _times(attributes, "number-rows-repeated")
                self._is_hidden = local(attributes, "visibility") in ("collapse", "filter")
            case "table-cell" | "covered-table-cell":
                self._attributes, self._paragraphs = attributes, []
                self._is_covered = name == "covered-table-cell"
                self._column_times = _times(attributes, "number-columns-repeated")
            case "annotation":
                self._annotation += 1
            case "p" if self._attributes is not None and not self._annotation:
                self.text = []
            case "s" if self.text is not None:
                self.text.append(" " * min(_times(attributes, "c"), _MAX_CELL))
            case "tab" if self.text is not None:
                self.text.append("\t")
            case "line-break" if self.text is not None:
                self.text.append("\n")

    def end(self, name: str) -> None:
        if name == "table":
            self.is_done = self._level == 1 and self._table == self._place
            self._level -= 1
            return
        if self._table != self._place or self._level != 1:
            return
        match name:
            case "p" if self.text is not None:
                self._paragraphs.append("".join(self.text))
                self.text = None
            case "annotation":
                self._annotation -= 1
            case "table-cell" | "covered-table-cell":
                self._put()
                self._attributes = None
            case "table-row":
                self._end_row()

    def _put(self) -> None:
        cell = self._cell()
        if self._is_covered:
            text = "is part of merged cells; undo the merge, so that each row has its own value"
            cell = odd("", text, is_text=True)
        if (cell or self._is_covered) and self._column < MAX_COLUMNS:
            last = min(self._column + self._column_times, MAX_COLUMNS)
            self._cells += [""] * (self._column - len(self._cells))
            self._cells += [cell] * (last - len(self._cells))
        self._column += self._column_times
        if cell and self._column > MAX_COLUMNS:
            self._problem = f"has a value in column {self._column}; a sheet may have {MAX_COLUMNS} columns"

    def _end_row(self) -> None:
        if any(self._cells) or self._problem:
            if self._row + self._row_times - 1 > MAX_ROW:
                raise unreadable(f"the sheet has a row beyond the last that a sheet can have, {MAX_ROW}")
            line = Line(self._row, self._cells, self._problem)
            self.ready.append((SheetRow(line, self._is_hidden), self._row_times))
        self._row += self._row_times

    def _cell(self) -> str:
        attributes = self._attributes or {}
        text = "\n".join(self._paragraphs)
        kinds = [value for key, value in attributes.items() if key.endswith(":value-type")]
        if "error" in kinds or (local(attributes, "formula") and _ERROR.fullmatch(text)):
            return error_cell(text)
        value = next((value for key, value in attributes.items() if key.endswith("office:value")), None) or ""
        match kinds[0] if kinds else "":
            case "percentage":
                return percent_cell(text or value)
            case "float" | "currency":
                return _number_cell(value, text)
            case "date":
                return date_cell((local(attributes, "date-value") or text).removesuffix("T00:00:00")[:40])
            case "time":
                return date_cell(text or (local(attributes, "time-value") or "")[:40])
            case "boolean":
                return (local(attributes, "boolean-value") or text).upper()
            case "":
                if local(attributes, "formula") and not text:
                    return odd(
                        "?",
                        "has a formula that was never computed; open the file in a spreadsheet program, and save it",
                    )
        return text or local(attributes, "string-value") or ""


def _times(attributes: dict[str, str], name: str) -> int:
    """Return how often something is repeated."""
    return max(int(local(attributes, name) or "1"), 1)


def _number_cell(value: str, text: str) -> str:
    """Make the cell of a number. ``text`` is what the sheet shows, whatever its currency and separators."""
    number = number_of(value)
    digits = re.sub("[^0-9]", "", text)
    if number is None or not digits or number.exact.adjusted() > 14 or re.search("[eE/]", text):
        return number_cell(value)
    for places in range(min(_SHOWN_PLACES, _MAX_DIGITS - max(number.exact.adjusted(), 0)) + 1):
        found = rounded(number.exact, places)
        if re.sub("[^0-9]", "", f"{found:f}").lstrip("0") == digits.lstrip("0") and _has_places(text, places):
            return number_cell(value, found)
    return odd(
        text, f"holds {plain(number.exact)}, and shows {text[:40]}; let the sheet show the number in full", is_text=True
    )


def _has_places(text: str, places: int) -> bool:
    """Say whether a text may show so many decimal places."""
    last = re.search(r"[0-9](?:[.,]([0-9]+))?[^0-9]*$", text)
    return last is not None and (len(last.group(1) or "") == places or (not places and len(last.group(1) or "") == 3))
