"""Files as people have them are read to the same rows, whatever their form, and hostile ones are refused in little memory."""

import io
import tracemalloc
import zipfile
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
import python_calamine
from hypothesis import given
from hypothesis import strategies as st

from core.base.errors import InvalidRequest
from core.funding.files import archive, columns, ods, xlsx
from core.funding.files.found import FileRead
from core.funding.files.reader import FileReader
from core.funding.files.rows import Given
from core.funding.requests import FileTerms
from tests.harness.searching import search
from tests.harness.sheets import Shown, csv_of, ods_of, ods_of_xml, xlsx_of, zipped

HEADER = ("destination", "amount", "description")
PLAIN = [HEADER, ("@A", 12.5, "lunch"), ("@B", 3, None)]


def read(data: bytes, **terms: Any) -> list[Given]:
    return [each._replace(cells=(), header=None) for each in FileReader(io.BytesIO(data), FileTerms(**terms))]


def found(data: bytes, **terms: Any) -> FileRead:
    reader = FileReader(io.BytesIO(data), FileTerms(**terms))
    for _ in reader:
        pass
    return reader.found


def values(data: bytes, **terms: Any) -> list[tuple[str, Decimal | None, str | None]]:
    """Return the rows without their numbers. None of them may have a problem."""
    rows = read(data, **terms)
    assert not any(each.problems for each in rows), [each.problems for each in rows]
    return [(each.destination, each.amount, each.description) for each in rows]


def refused(data: bytes, **terms: Any) -> str:
    with pytest.raises(InvalidRequest) as caught:
        read(data, **terms)
    assert caught.value.code == "FND_INVALID_RECIPIENTS"
    return caught.value.message


def proposed(data: bytes, **terms: Any) -> dict[str, Any] | None:
    reader = FileReader(io.BytesIO(data), FileTerms(**terms))
    try:
        for _ in reader:
            pass
    except InvalidRequest:
        pass
    proposal = reader.finds.proposal()
    return proposal.file if proposal else None


ROWS = [("@A", Decimal("12.5"), "lunch"), ("@B", Decimal(3), None)]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", [".", ","])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_form_of_text_is_read_to_the_same_rows(separator: str, mark: str, encoding: str, end: str) -> None:
    data = csv_of(PLAIN, separator=separator, mark=mark, encoding=encoding, end=end)
    if encoding == "utf-16-be":
        data = b"\xfe\xff" + data
    assert values(data, decimal=mark) == ROWS


_TEXTS = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="'=+-@\ufeff"), min_size=1, max_size=8)
_NAMES = _TEXTS.map(lambda text: "@" + text)
_CENTS = st.integers(1, 10**11 - 1)


@search(50)
@given(st.lists(st.tuples(_NAMES, _CENTS, st.none() | _TEXTS), min_size=1, max_size=6), st.integers(0, 3))
def test_a_sheet_in_any_format_is_read_to_the_same_rows(rows: list[tuple[str, int, str | None]], titles: int) -> None:
    wanted = [(name, Decimal(cents) / 100, text) for name, cents, text in rows]
    table: list[Any] = [("A title",)] * titles + [HEADER] + [(name, cents / 100, text) for name, cents, text in rows]
    for separator in ",;\t|":
        for mark in ".,":
            for encoding in ("utf-8", "utf-16"):
                data = csv_of(table, separator=separator, mark=mark, encoding=encoding)
                assert values(data, decimal=mark) == wanted
    for data in (xlsx_of(table), ods_of(table)):
        assert values(data) == wanted
        assert values(data, decimal=",") == wanted


_NUMBERS = st.integers(-999, 999) | st.floats(-1e6, 1e6).map(lambda number: round(number, 2))


@search(30)
@given(st.lists(st.lists(_TEXTS | _NUMBERS | st.none(), min_size=3, max_size=3), min_size=1, max_size=5))
def test_calamine_reads_the_same_cells(rows: list[list[Any]]) -> None:
    table = [HEADER, *([f"@R{number}", *row[1:]] for number, row in enumerate(rows))]
    for data in (xlsx_of(table), ods_of(table)):
        theirs = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_index(0).to_python()
        for ours, row in zip(FileReader(io.BytesIO(data)), theirs[1:], strict=True):
            for cell, value in zip(ours.cells, row, strict=False):
                same = cell == value if isinstance(value, str) else Decimal(cell or 0) == Decimal(repr(value))
                assert same, (cell, value)


# What the file says of itself


def test_a_decimal_comma_is_never_guessed_and_is_proposed() -> None:
    data = csv_of(PLAIN, separator=";", mark=",")
    (problem,) = [text for each in read(data) for _, text in each.problems]
    assert "did you mean 12.5?" in problem
    assert proposed(data) == {"decimal": ","}
    assert values(data, decimal=",") == ROWS


def test_a_decimal_comma_is_not_proposed_where_other_amounts_have_a_dot() -> None:
    assert proposed(b"destination;amount\n@A;12,50\n@B;12.50\n") is None


@pytest.mark.parametrize("amount", ["1.000", "12.345", "1.000.000"])
def test_a_number_that_may_be_thousands_is_refused_where_commas_may_be_decimal(amount: str) -> None:
    data = f"destination;amount\n@A;{amount}\n".encode()
    ((field, text),) = read(data)[0].problems
    assert field == "amount" and "say which one the file has" in text
    assert proposed(data) == {"decimal": ","}
    assert values(data, decimal=",") == [("@A", Decimal(amount.replace(".", "")), None)]


@pytest.mark.parametrize(
    ("amount", "mark", "number"),
    [
        ("1,234.50", ".", "1234.5"), ("1 234.50", ".", "1234.5"), ("1'234.50", ".", "1234.5"), ("1\u00a0234", ".", "1234"),
        ("1.234,50", ",", "1234.5"), ("1\u202f234,50", ",", "1234.5"), ("1234,5", ",", "1234.5"), ("12,50", ".", None),
        ("1,23,456", ".", None), ("1.234.50", ",", None), ("1,234,50", ",", None), (",50", ",", None), ("1 23", ".", None),
    ],
)  # fmt: skip
def test_thousands_are_read_once_the_decimal_mark_is_stated(amount: str, mark: str, number: str | None) -> None:
    (given_,) = read(f"destination\tamount\n@A\t{amount}\n".encode(), decimal=mark)
    assert given_.amount == (None if number is None else Decimal(number))
    assert bool(given_.problems) == (number is None)


def test_windows_1252_is_guessed_and_said_with_a_line_that_shows_it() -> None:
    data = "destination,amount,description\n@A,1,x\n@B,2,café\n".encode("cp1252")
    assert [each[2] for each in values(data)] == ["x", "café"]
    (note,) = found(data).notes
    assert 'line 3 reads "@B,2,café"' in note and "guess" in note


def test_columns_are_mapped_and_close_names_proposed() -> None:
    data = b"Wallet ID,Betrag,Note\n@A,5,x\n"
    mapping = {"Wallet ID": "destination", "Betrag": "amount", "Note": "description"}
    assert "there is no column" in refused(data)
    assert proposed(data) == {"columns": mapping}
    assert values(data, columns=mapping) == [("@A", Decimal(5), "x")]


def test_extra_columns_are_refused_or_kept_or_left_out() -> None:
    data = b"destination,amount,Team,Cost centre\n@A,5,Sales,7\n@B,6,,\n"
    assert 'no column "Team"' in refused(data)
    assert proposed(data) == {"extra": "keep"}
    assert [each.meta_data for each in read(data, extra="keep")] == ['{"Team":"Sales","Cost centre":"7"}', None]
    assert [each.meta_data for each in read(data, extra="ignore")] == [None, None]
    (kept, _) = read(data, columns={"team": "meta_data.team"}, extra="ignore")
    assert kept.meta_data == '{"team":"Sales"}'
    assert found(data, extra="ignore").notes == ['left out: the columns "Team", "Cost centre"']


def test_of_many_columns_the_first_are_named_and_the_others_counted() -> None:
    names = [f"c{number}" for number in range(5_000)]
    data = f"destination,amount,{','.join(names)}\n@A,1{',' * 5_000}\n".encode()
    some = ", ".join(f'"{name}"' for name in names[:10])
    reader = FileReader(io.BytesIO(data), None)
    with suppress(InvalidRequest):
        list(reader)
    proposal = reader.finds.proposal()
    assert proposal is not None
    assert proposal.question == f"Shall the columns {some} and 4,990 more be kept as metadata?"
    assert found(data, extra="ignore").notes == [f"left out: the columns {some} and 4,990 more"]
    assert '"c7" and 4,992 more: ' in refused(data, columns={"nope": "amount"})
    assert "c9" not in refused(data)


def test_only_some_of_many_unknown_columns_are_compared_with_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    guessed: list[str] = []
    monkeypatch.setattr(columns, "_nearest", guessed.append)
    refused(b"wallet,sum" + b",x" * 5_000 + b"\n")
    assert len(guessed) == 100


def test_a_column_that_is_mapped_and_not_there_is_named() -> None:
    assert 'no column "wallet" to map' in refused(b"destination,amount\n@A,1\n", columns={"Wallet": "destination"})


def test_a_row_above_the_header_is_not_lost() -> None:
    assert "line 1 above it looks like a row" in refused(b"@A,5\ndestination,amount\n@B,6\n")


def test_a_cell_in_a_column_without_a_name_is_refused_with_its_row() -> None:
    rows = read(b"destination,amount,\n@A,5,\n@B,6,x\n")
    assert [(each.row, len(each.problems)) for each in rows] == [(2, 0), (3, 1)]


def test_the_separator_line_of_excel_is_read() -> None:
    assert values(b"sep=;\ndestination;amount\n@A;5\n") == [("@A", Decimal(5), None)]


@pytest.mark.parametrize("last", ["Total,6", ",6", "Grand total:,6", "Summe,99"])
def test_a_total_row_is_pointed_at(last: str) -> None:
    *rows, total = read(f"destination,amount\n@A,2\n@B,4\n{last}\n".encode())
    assert not any(each.problems for each in rows)
    assert "looks like a total row" in dict(total.problems)["destination"]
    assert ("is the sum of the rows above" in dict(total.problems)["destination"]) == ("99" not in last)


def test_the_rows_of_a_run_are_read_as_they_are_and_paid_ones_refused() -> None:
    columns = "row,destination,amount,precise_amount,currency,description,status,transaction_id,reference,rejection"
    data = f"{columns}\n2,@A,5.00,500,USD,x,UNPOSTED,,,\n3,'@B C,6,600,USD,,APPLIED,txn_1,r,\n".encode()
    first, second = read(data)
    assert (first.destination, first.amount, first.precise_amount, first.currency) == ("@A", None, 500, "USD")
    assert not first.problems
    assert second.destination == "@B C"
    assert [text for field, text in second.problems if not field] == [
        "is APPLIED: this row of the run is not to be paid again"
    ]


def test_rows_are_left_out_by_number() -> None:
    data = b"destination,amount\n@A,1\n@B,x\n@C,3\n"
    assert values(data, without_rows=[3]) == [("@A", Decimal(1), None), ("@C", Decimal(3), None)]


# Spreadsheets


def test_several_sheets_need_a_choice_unless_one_alone_has_a_header() -> None:
    other = [HEADER, ("@C", 9, None)]
    assert values(xlsx_of(PLAIN, [["notes"]])) == ROWS
    both = xlsx_of(PLAIN, other, names=("May", "June"))
    assert '"May", "June"' in refused(both)
    assert proposed(both) == {"sheet": "May"}
    for sheet in ("June", "june", "2"):
        assert values(both, sheet=sheet) == [("@C", Decimal(9), None)]
    assert 'no sheet "July"' in refused(both, sheet="July")
    assert values(xlsx_of(PLAIN, other, hidden_sheets=[1])) == ROWS
    assert values(ods_of(PLAIN, [["notes"]])) == ROWS


def test_texts_in_runs_are_read_whole_and_without_hints_how_to_say_them() -> None:
    texts = (
        "<sst><si><t>destination</t></si><si><t>amount</t></si><si><r><t>@</t></r><r><rPr/><t>Ana</t></r></si>"
        "<si><t xml:space='preserve'>東京_x000D_ </t><rPh sb='0' eb='2'><t>hint</t></rPh></si><si><t>description</t></si></sst>"
    )
    rows = (
        "<row><c t='s'><v>0</v></c><c t='s'><v>1</v></c><c t='s'><v>4</v></c></row>"
        "<row><c t='s'><v>2</v></c><c><v>5</v></c><c t='s'><v>3</v></c></row>"
    )
    rows = rows.replace("<", "<x:").replace("<x:/", "</x:")
    sheet = f"<x:worksheet xmlns:x='y'><x:sheetData>{rows}</x:sheetData></x:worksheet>"
    assert values(zipped(_xlsx_parts(sheet=sheet, texts=texts))) == [("@Ana", Decimal(5), "東京\r")]


@pytest.mark.parametrize("write", [xlsx_of, ods_of])
def test_hidden_rows_are_read_and_said(write: Any) -> None:
    data = write(PLAIN, hidden=[3])
    assert values(data) == ROWS
    assert found(data).notes == ["row 3 is hidden in the sheet, and read like any other"]


def test_merged_cells_have_no_value_of_their_own() -> None:
    table = [("Payroll", None, None), HEADER, ("@A", 5, "x"), (None, 6, "y")]
    rows = read(xlsx_of(table, merged=["A1:C1", "A3:A4"]))
    assert not rows[0].problems
    assert "merged cells A3:A4" in dict(rows[1].problems)["destination"]


@pytest.mark.parametrize(
    ("stored", "amount", "seen"),
    [
        ("0.30000000000000004", "0.3", None), ("12.5", "12.5", None), ("1E2", "100", None), ("0.1", "0.1", None),
        ("9.99999999999998", "9.99999999999998", "10"), ("12345678901.23", "12345678901.23", None),
        ("999999999999999", "999999999999999", "1E+15"),
        ("3.3333333333333335", None, None), ("1234567890123456", None, None), ("1E400", None, None), ("NaN", None, None),
        ("12345678901234.567", None, None), ("x", None, None),
    ],
)  # fmt: skip
def test_a_number_is_what_a_person_sees_or_refused(stored: str, amount: str | None, seen: str | None) -> None:
    cell = f'<table:table-cell office:value-type="float" office:value="{stored}"/>'
    (row,) = read(_ods_row(cell))
    assert row.amount == (None if amount is None else Decimal(amount))
    assert row.seen == (None if seen is None else Decimal(seen))
    assert bool(row.problems) == (amount is None)


def test_the_dust_that_is_taken_off_is_said() -> None:
    data = _ods_row('<table:table-cell office:value-type="float" office:value="0.30000000000000004"/>')
    assert found(data).notes == ["row 2 is read without the dust of computing: 0.30000000000000004 is read as 0.3"]


def _ods_row(amount: str) -> bytes:
    """Write a sheet of one row, whose amount is this cell."""
    texts = [
        f'<table:table-cell office:value-type="string"><text:p>{text}</text:p></table:table-cell>'
        for text in ("destination", "amount", "@A")
    ]
    rows = (
        f"<table:table-row>{texts[0]}{texts[1]}</table:table-row><table:table-row>{texts[2]}{amount}</table:table-row>"
    )
    return ods_of_xml(f'<table:table table:name="a">{rows}</table:table>')


@pytest.mark.parametrize("write", [xlsx_of, ods_of])
@pytest.mark.parametrize(
    ("code", "text", "fine"), [("0.00", "12.50", True), ("0", "13", False), ("#,##0.00", "12.50", True)]
)
def test_an_amount_that_the_sheet_rounds_away_is_refused(write: Any, code: str, text: str, fine: bool) -> None:
    (row,) = read(write([HEADER, ("@A", Shown(12.5, code, text), None)]))
    assert (row.amount == Decimal("12.5")) == fine == (not row.problems)


# Hostile files


def _xlsx_parts(**changed: str) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(xlsx_of(PLAIN))) as book:
        parts: dict[str, Any] = {name: book.read(name) for name in book.namelist()}
    names = {"sheet": "xl/worksheets/sheet1.xml", "texts": "xl/sharedStrings.xml"}
    relations = "xl/_rels/workbook.xml.rels"
    if "texts" in changed:  # The library that writes the book puts texts into the cells, as Excel does not.
        more = b'<Relationship Id="rId9" Type="x/sharedStrings" Target="sharedStrings.xml"/></Relationships>'
        parts[relations] = parts[relations].replace(b"</Relationships>", more)
    return parts | {names[name]: part for name, part in changed.items()}


def _sheet(rows: str) -> bytes:
    return zipped(_xlsx_parts(sheet=f"<worksheet><sheetData>{rows}</sheetData></worksheet>"))


BOMBS = {
    "an entity of entities": zipped(
        _xlsx_parts(sheet='<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><worksheet>&b;</worksheet>')
    ),
    "an entity of a file": zipped(
        _xlsx_parts(sheet='<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><worksheet>&a;</worksheet>')
    ),
    "a cell in the last corner": _sheet('<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'),
    "a row beyond the last": _sheet('<row r="99999999999999999999"><c><v>1</v></c></row>'),
    "rows that go back": _sheet('<row r="2"/><row r="1"/>'),
    "a text that is not there": _sheet('<row r="1"><c t="s"><v>99999</v></c></row>'),
    "a text of a negative number": _sheet('<row r="1"><c t="s"><v>-1</v></c></row>'),
    "a style that is no number": _sheet('<row r="1"><c s="x"><v>1</v></c></row>'),
    "XML that never closes": _sheet("<row>" * 5000),
    "XML that is none": zipped(_xlsx_parts(sheet="\x00\x01")),
    "texts that are none": zipped(_xlsx_parts(texts="<sst><si><t>")),
    "no workbook": zipped({"xl/other.xml": "<a/>"}),
    "an archive in an archive": zipped({"a.zip": zipped({"b": "c"})}),
    "an ODS of a billion rows": ods_of_xml(
        '<table:table><table:table-row table:number-rows-repeated="1000000000">'
        '<table:table-cell office:value-type="string" table:number-columns-repeated="1000000000"><text:p>x</text:p>'
        "</table:table-cell></table:table-row></table:table>"
    ),
    "an ODS of a billion blanks in a cell": ods_of_xml(
        '<table:table><table:table-row><table:table-cell office:value-type="string"><text:p><text:s text:c="1000000000"/>'
        "x</text:p></table:table-cell></table:table-row></table:table>"
    ),
    "an ODS without a sheet": ods_of_xml(""),
    "an ODS with a number that is none": ods_of_xml(
        '<table:table><table:table-row table:number-rows-repeated="x"/></table:table>'
    ),
    "half an archive": xlsx_of(PLAIN)[:-300],
    "an old Excel file": b"\xd0\xcf\x11\xe0" + b"\0" * 600,
    "a PDF": b"%PDF-1.7\n",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_hostile_file_is_refused_in_little_memory(name: str) -> None:
    tracemalloc.start()
    refused(BOMBS[name])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("name", ["an entity of entities", "an entity of a file"])
def test_a_document_type_is_refused_before_its_entities_are_read(name: str) -> None:
    assert "has a document type" in refused(BOMBS[name])


def test_a_cell_in_the_last_column_costs_its_row_and_no_memory() -> None:
    table = [HEADER, ("@A", 5, None), ("@B", 6, None)]
    rows = xlsx_of(table)
    with zipfile.ZipFile(io.BytesIO(rows)) as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    sheet = sheet.replace("</row></sheetData>", '<c r="XFD3"><v>1</v></c></row></sheetData>')
    first, second = read(zipped(_xlsx_parts(sheet=sheet)))
    assert not first.problems
    assert "has a value in column 16384" in dict(second.problems)[""]


def test_an_archive_that_swells_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_BYTES", 1_000_000)
    data = _sheet("<row/>" + " " * 5_000_000)
    assert len(data) < 100_000
    assert "more than 1000000 bytes" in refused(data)


def test_a_tag_that_never_ends_is_stopped() -> None:
    assert "never ends" in refused(_sheet('<row r="' + "1" * 10_000_000))


def test_a_sheet_that_takes_too_long_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_READING_S", -1.0)
    assert "takes more than" in refused(xlsx_of(PLAIN))


def test_a_sheet_with_too_many_rows_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (xlsx, ods):
        monkeypatch.setattr(module, "MAX_ROWS", 2)
    for write in (xlsx_of, ods_of):
        assert "send the list as CSV" in refused(write(PLAIN))


_GOOD = [csv_of(PLAIN), csv_of(PLAIN, encoding="utf-16"), xlsx_of(PLAIN), ods_of(PLAIN)]


@search(150)
@given(st.sampled_from(_GOOD), st.data())
def test_any_change_of_bytes_is_read_or_refused(good: bytes, data: st.DataObject) -> None:
    broken = bytearray(good)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(broken) - 1))
        broken[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    with suppress(InvalidRequest):
        read(bytes(broken))


@search(100)
@given(st.binary(max_size=200) | st.text('<>/&;"=rcvt 0123456789AZ', max_size=200).map(lambda text: _sheet(text)))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(InvalidRequest):
        read(data)
