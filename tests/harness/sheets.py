"""Writes tables as the files that people send: text in any form, .xlsx by a well-known library, and .ods by hand."""

import io
import zipfile
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple
from xml.sax.saxutils import escape, quoteattr

import openpyxl
from openpyxl.cell import Cell

Value = Any
"""A text, an int or float, a date, a bool, None, or one of the values below."""


class Formula(NamedTuple):
    """A formula whose value was never computed."""

    text: str


class Error(NamedTuple):
    """An error such as #REF!."""

    text: str


class Shown(NamedTuple):
    """A number with a format and with what the sheet shows of it."""

    number: float
    format: str
    text: str


XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ODS_TYPE = "application/vnd.oasis.opendocument.spreadsheet"


def csv_of(
    rows: Sequence[Sequence[Value]],
    *,
    separator: str = ",",
    mark: str = ".",
    encoding: str = "utf-8",
    end: str = "\r\n",
) -> bytes:
    """Write a table as text. Numbers have this decimal mark, and a cell that needs quotes has them."""
    lines = (separator.join(_cell_text(value, separator, mark) for value in row) for row in rows)
    return "".join(line + end for line in lines).encode(encoding)


def _cell_text(value: Value, separator: str, mark: str) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).upper()
        case float():
            text = f"{value:.15g}".replace(".", mark)
        case Shown():
            text = value.text
        case Formula() | Error():
            text = value.text
        case _:
            text = str(value)
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if separator in text or '"' in text else text


def xlsx_of(
    *sheets: Sequence[Sequence[Value]],
    hidden: Sequence[int] = (),
    merged: Sequence[str] = (),
    names: Sequence[str] = (),
    hidden_sheets: Sequence[int] = (),
) -> bytes:
    """Write tables as the sheets of a book. ``hidden`` and ``merged`` are rows and ranges of the first sheet."""
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for number, rows in enumerate(sheets):
        sheet = book.create_sheet(names[number] if names else f"Sheet{number + 1}")
        for row_number, row in enumerate(rows, 1):
            for column, value in enumerate(row, 1):
                if value is not None and value != "":
                    _put(sheet.cell(row_number, column), value)
        if number in hidden_sheets:
            sheet.sheet_state = "hidden"
    first = book.worksheets[0]
    for row_number in hidden:
        first.row_dimensions[row_number].hidden = True
    for place in merged:
        first.merge_cells(place)
    data = io.BytesIO()
    book.save(data)
    return data.getvalue()


def _put(cell: Cell, value: Value) -> None:
    match value:
        case Shown():
            cell.value, cell.number_format = value.number, value.format
        case Error():
            cell.value, cell.data_type = value.text, "e"
        case Formula():
            cell.value = value.text
        case str():
            cell.value = value
            cell.data_type = "s"  # A text that begins with = is no formula here.
        case _:
            cell.value = value


_NAMES = (
    'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" '
    'xmlns:calcext="urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0"'
)


def ods_of(*sheets: Sequence[Sequence[Value]], hidden: Sequence[int] = (), names: Sequence[str] = ()) -> bytes:
    """Write tables as the sheets of a book. ``hidden`` are rows of the first sheet."""
    tables = []
    for number, rows in enumerate(sheets):
        inner = "".join(
            f"<table:table-row{' table:visibility=' + quoteattr('filter') if not number and at in hidden else ''}>"
            f"{''.join(map(_ods_cell, row))}</table:table-row>"
            for at, row in enumerate(rows, 1)
        )
        name = quoteattr(names[number] if names else f"Sheet{number + 1}")
        tables.append(f"<table:table table:name={name}>{inner}</table:table>")
    return ods_of_xml("".join(tables))


def ods_of_xml(tables: str) -> bytes:
    """Write the XML of tables as a book."""
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {_NAMES}><office:body><office:spreadsheet>'
        f"{tables}</office:spreadsheet></office:body></office:document-content>"
    )
    manifest = (
        '<?xml version="1.0"?><manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
        f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{ODS_TYPE}"/></manifest:manifest>'
    )
    return zipped({"mimetype": ODS_TYPE, "content.xml": content, "META-INF/manifest.xml": manifest})


def zipped(parts: dict[str, str | bytes]) -> bytes:
    """Write parts as an archive."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part, zipfile.ZIP_STORED if name == "mimetype" else None)
    return data.getvalue()


def _ods_cell(value: Value) -> str:
    match value:
        case None | "":
            return "<table:table-cell/>"
        case bool():
            kind, text = f'"boolean" office:boolean-value="{str(value).lower()}"', str(value).upper()
        case int() | float():
            kind, text = f'"float" office:value="{value!r}"', repr(value).removesuffix(".0")
        case Shown():
            is_percent = "%" in value.format
            kind, text = f'"{"percentage" if is_percent else "float"}" office:value="{value.number!r}"', value.text
        case datetime() | date():
            kind, text = f'"date" office:date-value="{value.isoformat()}"', f"{value:%d.%m.%y}"
        case Error():
            kind, text = '"string" office:string-value="" calcext:value-type="error"', value.text
        case Formula():
            return f"<table:table-cell table:formula={quoteattr('of:' + value.text)}/>"
        case _:
            kind, text = '"string"', str(value)
    spaced = escape(text).replace("  ", '<text:s text:c="2"/>').replace("\n", "</text:p><text:p>")
    return f"<table:table-cell office:value-type={kind}><text:p>{spaced}</text:p></table:table-cell>"
