"""The findings of a read about its file, and the questions that it left."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct

from core.base.names import escaped
from core.funding.files.columns import LOOKED_AT, Header, first_few
from core.funding.files.lines import SEPARATORS, Encoding, TextLine

_LISTED = 10
"""The number of rows that a note lists."""


class FileRead(Struct, frozen=True, kw_only=True):
    """How a file was read."""

    format: Literal["csv", "xlsx", "ods"]
    encoding: str
    """The encoding of a CSV. It is empty for a spreadsheet."""
    separator: str
    """The separator of a CSV. It is empty for a spreadsheet."""
    sheet: str
    """The sheet that was read. It is empty for a CSV."""
    header_row: int
    """The row of the header, from 1. It is 0 when there is none."""
    columns: dict[str, str]
    """The meaning of each column as it was read, by its name in the file. It is empty for one that was left out."""
    notes: list[str]
    """Notes for whoever is about to move money, such as hidden rows that are paid too."""


class Proposal(Struct, frozen=True, kw_only=True):
    """The proposal of what the request may say of its file, so that it can be read."""

    question: str
    """A question to the person who knows the file. Yes means that the request may say ``file``."""
    file: dict[str, Any]
    """Members of ``file`` to send with the same request."""


@dataclass
class Finds:
    """Collects what reading finds out."""

    format: Literal["csv", "xlsx", "ods"] = "csv"
    encoding: str = ""
    separator: str = ""
    sheet: str = ""
    header: Header | None = None
    notes: list[str] = field(default_factory=list)
    left_out: int = 0
    """The number of rows that the request leaves out."""
    dots: int = 0
    """The number of amounts with a decimal dot."""
    above: int = 0
    """The number of lines above the header."""
    _hidden: list[int] = field(default_factory=list)
    _hidden_count: int = 0
    _proposal: Proposal | None = None
    _comma: str = ""
    _unclear: str = ""
    _dust: list[int] = field(default_factory=list)
    _dust_example: str = ""
    _dust_count: int = 0

    @property
    def is_sheet(self) -> bool:
        """True for a spreadsheet."""
        return self.format != "csv"

    def text(self, separator: str, encoding: Encoding, first: list[TextLine]) -> None:
        """Note the separator and the encoding of a text."""
        self.separator, self.encoding = separator, encoding.name
        if separator != ",":
            self.notes.append(f"the columns are separated by {SEPARATORS[separator].partition(' ')[2]}s")
        if encoding.name.startswith("utf-16") or encoding.name.startswith("utf-32"):
            self.notes.append(f"the file is in {encoding.name.upper()}")

    def guessed(self, line: TextLine) -> None:
        """Note that the encoding was guessed, with a line that shows whether the guess is right."""
        self.notes.append(
            f"the file is not UTF-8, and was read as Windows-1252, which is a guess: line {line.number} reads "
            f"{escaped(line.text)}"
        )

    def hidden(self, row: int) -> None:
        """Note a row that the sheet hides."""
        self._hidden_count += 1
        if len(self._hidden) < LOOKED_AT + _LISTED:
            self._hidden.append(row)

    def dust(self, row: int, exact: Decimal, seen: Decimal | None) -> None:
        """Note a number whose dust of computing was taken off."""
        if not self._dust_count:
            self._dust_example = f"{exact:f} is read as {seen:f}"
        self._dust_count += 1
        if len(self._dust) < _LISTED:
            self._dust.append(row)

    def comma(self, row: int, text: str) -> None:
        """Note an amount that shows a decimal comma."""
        self._comma = self._comma or f"Row {row} has the amount {text}. Does the file have decimal commas?"

    def unclear(self, row: int, text: str) -> None:
        """Note an amount that may have a decimal comma."""
        one = text.replace(".", "")
        self._unclear = self._unclear or f"Row {row} has the amount {text}. Is that {one}, with a decimal comma?"

    def propose(self, proposal: tuple[str, dict[str, Any]] | None) -> None:
        """Keep a proposal."""
        if proposal is not None:
            self._proposal = Proposal(question=proposal[0], file=proposal[1])

    def proposal(self) -> Proposal | None:
        """Return what the request may say so that more of the file can be read, if anything."""
        if self._proposal is None and not self.dots and (question := self._comma or self._unclear):
            return Proposal(question=question, file={"decimal": ","})
        return self._proposal

    def read(self) -> FileRead:
        """Return all that is known."""
        header = self.header
        pairs = [] if header is None else [*zip(header.texts, header.names, strict=True)]
        notes = list(self.notes)
        if header is not None and header.number > 1 + self.above:
            notes.append(f"the header is row {header.number}")
        left = [text for text, name in pairs if text and not name]
        if header is not None and left and not header.is_ours:
            notes.append(f"left out: {'the column' if len(left) == 1 else 'the columns'} {first_few(left)}")
        top = header.number if header is not None else 0
        below = [row for row in self._hidden if row > top]
        if below:
            count = self._hidden_count - len(self._hidden) + len(below)
            notes.append(f"{rows_said(count, below)} hidden in the sheet, and read like any other")
        if self._dust_count:
            rows = rows_said(self._dust_count, self._dust)
            notes.append(f"{rows} read without the dust of computing: {self._dust_example}")
        if self.left_out:
            notes.append(f"{self.left_out} rows are left out, as asked")
        columns = {text: name for text, name in pairs if text}
        return FileRead(
            format=self.format, encoding=self.encoding, separator=self.separator, sheet=self.sheet,
            header_row=header.number if header is not None else 0, columns=columns, notes=notes,
        )  # fmt: skip


def rows_said(count: int, listed: list[int]) -> str:
    """Name rows by their numbers, at most the first few, as the subject of a sentence."""
    rows = ", ".join(map(str, listed[:_LISTED])) + (", ..." if count > _LISTED else "")
    return f"row {rows} is" if count == 1 else f"{count} rows ({rows}) are"
