"""Writes the rows of a list that cannot be paid as a CSV that says why, ready to be mended and sent.

The columns are those of the list, behind two more: the number of the row, and why it is refused. Both are left out when the
file is read as a list. The cells stand there as they came.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from core.base.errors import ErrorCode, InvalidRequest
from core.base.formulas import inert
from core.funding.files.cells import NumberCell
from core.funding.files.columns import ROW, WHY
from core.funding.files.reader import FileReader
from core.funding.files.rows import Given

MAX_REJECTS = 100_000
"""The largest number of problems with which a list is answered in this way."""
MAX_BYTES = 64 * 1024 * 1024
"""The largest answer."""

_LIST_COLUMNS = ("destination", "amount", "precise_amount", "description")


class Rejects:
    """The rows of a list that cannot be paid."""

    def __init__(self, error: InvalidRequest) -> None:
        """Take the rows from the error of a list.

        Raises:
            InvalidRequest: the error is about the list as a whole, or there are too many problems to list.
        """
        details = error.details or {}
        listed: Sequence[Mapping[str, Any]] = details.get("problems", ())
        if error.code != ErrorCode.FND_INVALID_RECIPIENTS or not all("row" in each for each in listed) or not listed:
            raise error
        if details["problem_count"] > len(listed):
            text = f"have {details['problem_count']} problems; at most {MAX_REJECTS} are written row by row"
            raise InvalidRequest([("recipients", text)], ErrorCode.FND_INVALID_RECIPIENTS)
        self.fine: int = details["rows_fine"]
        self._why: dict[int, list[str]] = {}
        for each in listed:
            what = f"{each['field']} {each['message']}" if each["field"] else each["message"]
            self._why.setdefault(each["row"], []).append(what)

    def csv(self, rows: FileReader | Iterable[Given]) -> bytes:
        """Write the rows, which are read a second time.

        Raises:
            InvalidRequest: they are too large for one answer.
        """
        text = io.StringIO()
        text.write("\ufeff")  # Excel takes a CSV without this mark for Windows-1252.
        lines: Any = None
        for given in rows:
            why = self._why.get(given.row)
            if why is None:
                continue
            separator, mark = (rows.separator, rows.mark) if isinstance(rows, FileReader) else (",", ".")
            if lines is None:
                lines = csv.writer(text, delimiter=separator, lineterminator="\n")
                lines.writerow([ROW, WHY, *_names(given)])
            lines.writerow([given.row, inert("; ".join(why)), *_cells(given, mark)])
            if text.tell() > MAX_BYTES:
                raise InvalidRequest(
                    [("recipients", "have too many wrong rows to answer them all")], ErrorCode.FND_INVALID_RECIPIENTS
                )
        return text.getvalue().encode()


def _names(given: Given) -> Iterator[str]:
    header = given.header
    if header is None:
        yield from _LIST_COLUMNS
    else:
        yield from (inert(text) for place, text in enumerate(header.texts) if place not in header.said)


def _cells(given: Given, mark: str) -> Iterator[str]:
    header = given.header
    if header is None:
        for name in _LIST_COLUMNS:
            value = getattr(given, name)
            yield "" if value is None else inert(str(value))
        return
    for place, cell in enumerate(given.cells):
        if place not in header.said:
            # A number of a sheet has a dot. Where the text of the list has decimal commas, it must have one too.
            text = cell.replace(".", mark) if isinstance(cell, NumberCell) else " ".join(str(cell).splitlines())
            yield inert(text)
