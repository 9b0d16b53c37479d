"""Opens a spreadsheet and chooses the sheet that is read."""

from itertools import islice
from typing import BinaryIO

from core.base.names import escaped
from core.funding.files.archive import Archive, unreadable
from core.funding.files.cells import Book, Sheet
from core.funding.files.columns import LOOKED_AT, is_header
from core.funding.files.found import Finds
from core.funding.files.ods import OdsBook
from core.funding.files.xlsx import XlsxBook
from core.funding.requests import FileTerms

_NAMED = 10
"""The number of sheets that an error names."""


def open_book(stream: BinaryIO, finds: Finds) -> Book:
    """Open a spreadsheet.

    Raises:
        InvalidRequest: it is none, or is damaged.
    """
    archive = Archive(stream)
    if "content.xml" in archive.names:
        finds.format = "ods"
        return OdsBook(archive)
    if any(name.endswith("workbook.bin") for name in archive.names):
        raise unreadable("the file is a binary Excel file (.xlsb); save it as .xlsx, .ods or CSV")
    if not any(name.endswith("workbook.xml") for name in archive.names):
        raise unreadable("the file is an archive, and no spreadsheet; send an .xlsx, .ods or CSV file")
    finds.format = "xlsx"
    return XlsxBook(archive)


def chosen(book: Book, terms: FileTerms, finds: Finds) -> Sheet:
    """Return the sheet that the request names, or else the only one that has a header.

    Raises:
        InvalidRequest: there is no such sheet, or several could be meant.
    """
    if not book.sheets:
        raise unreadable("the spreadsheet has no sheet")
    if terms.sheet is not None:
        return _named(book, terms.sheet)
    visible = [sheet for sheet in book.sheets if not sheet.is_hidden] or book.sheets
    if len(visible) == 1:
        return visible[0]
    with_header = [sheet for sheet in visible if _has_header(book, sheet, terms)]
    meant = with_header or [sheet for sheet in visible if next(book.rows(sheet), None) is not None]
    if len(meant) == 1:
        finds.notes.append(f"of {len(visible)} sheets, {escaped(meant[0].name)} was read")
        return meant[0]
    if not meant:
        return visible[0]
    names = ", ".join(escaped(sheet.name) for sheet in meant[:_NAMED]) + (", ..." if len(meant) > _NAMED else "")
    finds.propose((f"Shall the sheet {escaped(meant[0].name)} be read? There are {names}.", {"sheet": meant[0].name}))
    raise unreadable(f"the spreadsheet has {len(meant)} sheets that may be meant: say which one of {names}")


def _named(book: Book, asked: str) -> Sheet:
    name = asked.strip()
    for sheet in book.sheets:
        if sheet.name == asked:
            return sheet
    same = [sheet for sheet in book.sheets if sheet.name.strip().casefold() == name.casefold()]
    if len(same) == 1:
        return same[0]
    if name.isascii() and name.isdigit() and len(name) < 5 and 0 < int(name) <= len(book.sheets):
        return book.sheets[int(name) - 1]
    names = ", ".join(escaped(sheet.name) for sheet in book.sheets[:_NAMED])
    raise unreadable(f"there is no sheet {escaped(asked)}; there are {names}")


def _has_header(book: Book, sheet: Sheet, terms: FileTerms) -> bool:
    rows = islice(book.rows(sheet), LOOKED_AT)
    return any(is_header(row.line.cells, terms) for row in rows)
