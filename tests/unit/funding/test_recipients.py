"""The rows of a funding job are read from a list, or a CSV in all the forms that spreadsheets and people write."""

import csv
import tracemalloc
from decimal import Decimal
from io import BufferedReader, BytesIO, RawIOBase
from typing import BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from core.base.errors import InvalidRequest
from core.funding import recipients
from core.funding.files.lines import MAX_LINE
from core.funding.files.reader import FileReader
from core.funding.files.rows import Given
from core.funding.requests import Recipient
from tests.harness.searching import search

HEADER = "destination,amount,description\n"


def _read(text: str | bytes) -> list[Given]:
    reader = FileReader(BytesIO(text if isinstance(text, bytes) else text.encode()))
    return [each._replace(cells=(), header=None) for each in reader]


def _refused(text: str | bytes) -> str:
    with pytest.raises(InvalidRequest) as caught:
        _read(text)
    assert caught.value.code == "FND_INVALID_RECIPIENTS"
    return caught.value.message


def _problems(text: str | bytes) -> list[tuple[int, str, str]]:
    return [(each.row, *problem) for each in _read(text) for problem in each.problems]


def test_a_row_has_the_number_of_its_line() -> None:
    assert _read(HEADER + "@A,12.50,lunch\n@B,3,\n") == [
        Given(2, "@A", Decimal("12.50"), None, "lunch", None, []),
        Given(3, "@B", Decimal(3), None, None, None, []),
    ]


def test_columns_may_come_in_any_order_and_case_and_with_spaces_around() -> None:
    (given,) = _read(" Precise_Amount , DESTINATION\n 1250 , @A \n")
    assert (given.destination, given.amount, given.precise_amount) == ("@A", None, 1250)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_file_as_a_spreadsheet_writes_it(newline: str) -> None:
    text = newline.join(["destination,amount,description", '"@A","1","a ""b"", c"', "", ",,", "@Ä,2,", ""])
    assert [(given.row, given.destination, given.description) for given in _read(b"\xef\xbb\xbf" + text.encode())] == [
        (2, "@A", 'a "b", c'),
        (5, "@Ä", None),
    ]


def test_a_text_over_several_lines_is_an_error_on_each_of_them() -> None:
    assert _problems(HEADER + '@A,1,"two\r\nlines"\n@B,2,\n') == [
        (2, "", "has a quote that is never closed, in column 3; a row is one line, and so is its text"),
        (3, "", 'has a quote inside a text, in column 1; write it twice, and the text in quotes: "a ""b"""'),
    ]


def test_stray_quotes_swallow_no_rows() -> None:
    given = _read(HEADER + '@A,1,"lunch\n@B,2,x\n@C,3,"\n@D,4,\n')
    assert [(each.row, each.destination, len(each.problems)) for each in given] == [
        (2, "", 1), (3, "@B", 0), (4, "", 1), (5, "@D", 0)
    ]  # fmt: skip


def test_the_last_line_needs_no_end() -> None:
    assert [given.destination for given in _read(HEADER + "@A,1,\n@B,2,x")] == ["@A", "@B"]


@pytest.mark.parametrize(
    "header",
    ["", "\n\n", "@A,12.50\n", "destination,amount,amount\n", "amount\n", "destination\n",
     "destination,amount,precise_amount\n", "destination,amount,meta_data\n",
     "destination,\xff\n".encode("latin-1"), "destination,sum\n".encode("utf-16"), "x" * (MAX_LINE + 1)],
)  # fmt: skip
def test_a_header_that_does_not_say_what_the_columns_are_is_refused_with_an_example(header: str | bytes) -> None:
    assert "the first line must be a header such as destination,amount,description" in _refused(header)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_that_of_the_header(separator: str) -> None:
    (given,) = _read("destination,amount,description\n@A,1.5,lunch\n".replace(",", separator))
    assert (given.destination, given.amount, given.description) == ("@A", Decimal("1.5"), "lunch")


@pytest.mark.parametrize(
    "amount", ["x", "1e3", "1,000", "NaN", "Infinity", "+1", "٣", "1_0", "0x1", "1.2.3", "9" * 1001]
)
def test_an_amount_that_is_no_number_is_named_with_its_line(amount: str) -> None:
    ((row, field, text),) = _problems(HEADER + f'@A,1,\n@B,"{amount}",\n')
    assert (row, field) == (3, "amount")
    assert amount[:50] in text


@pytest.mark.parametrize("amount", ["1.5", "x", "1e3", "9" * 1001])
def test_minor_units_that_are_not_whole_are_named_with_their_line(amount: str) -> None:
    ((row, field, _),) = _problems(f"destination,precise_amount\n@A,{amount}\n")
    assert (row, field) == (2, "precise_amount")


def test_a_row_of_too_many_or_too_few_columns_is_named_and_the_next_is_read() -> None:
    rows = _read(HEADER + "@A,1\n@B,1,x,y\n@C,1,\n")
    assert [(given.row, [text for _, text in given.problems]) for given in rows] == [
        (2, ["has 2 columns, and the header has 3"]),
        (3, ["has 4 columns, and the header has 3; write a text or a number with a comma in quotes"]),
        (4, []),
    ]


def test_a_line_that_is_not_utf_8_where_others_are_is_named_and_the_next_is_read() -> None:
    rows = _read(HEADER.encode() + b"@A,1,caf\xe9\n" + "@B,1,é\n".encode())
    assert [(given.row, given.destination, len(given.problems)) for given in rows] == [(2, "", 1), (3, "@B", 0)]
    assert "UTF-8" in rows[0].problems[0][1]


def test_a_line_that_is_too_long_is_named_and_the_next_is_read() -> None:
    rows = _read(HEADER + f"@A,1,{'x' * 3 * MAX_LINE}\n@B,1,\n")
    assert [(given.row, given.destination, len(given.problems)) for given in rows] == [(2, "", 1), (3, "@B", 0)]


def test_a_line_of_just_the_longest_length_is_read() -> None:
    text = "x" * (MAX_LINE - len("@A,1,\n"))
    assert [given.description for given in _read(HEADER + f"@A,1,{text}\n")] == [text]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b'@A,1,"x', "has a quote that is never closed, in column 3"),
        (b'"@A,1,x', "has a quote that is never closed, in column 1"),
        (b'@A,1,"x"y', "has text after a closing quote, in column 3"),
        (b'@A,1,"x" ', "has text after a closing quote, in column 3"),
        (b'@A,1,a "b" c', "has a quote inside a text, in column 3"),
        (b'@A, "1",x', "has a quote inside a text, in column 2"),
        (b'@A,="100",x', "has a formula, in column 2; write the plain number"),
        (b"@A;1;x", 'the columns must be separated by commas, not ";"'),
        (b"@A\t1\tx", 'the columns must be separated by commas, not "\\t"'),
        (b"@A,1,000,x", "has 4 columns, and the header has 3; write a text or a number with a comma in quotes"),
        (b"@A,1,caf\x81", "is not UTF-8: its byte 9 is 0x81; save the file as CSV UTF-8"),
        (b"@A,1,a\x00b", "has the NUL character, as character 7"),
        ("@A,1,x".encode("utf-16-le"), "is UTF-16, and other lines are not; save the file as CSV UTF-8"),
        (b"@A,1,a\r@B,1,b", "has a line end of CR alone"),
    ],
)
def test_a_line_that_is_wrong_is_named_with_what_is_wrong_and_the_next_is_read(line: bytes, text: str) -> None:
    given = _read(HEADER.encode() + line + b"\r\n@B,1,\n")
    assert [(each.row, each.destination) for each in given] == [(2, ""), (3, "@B")]
    ((field, problem),) = given[0].problems
    assert field == ""
    assert text in problem


@pytest.mark.parametrize(
    ("cell", "meant"),
    [
        ('"=""100"""', "100"), ("'100", "100"), ('"1,000.00"', "1000"), ('"1.000,00"', "1000"), ("1e3", "1000"),
        ('"12,50"', "12.50"), ("$5", "5"), ("12.50 \u20ac", "12.50"), ("\uff11\uff10\uff10", "100"), ("1\u00a0000.5", "1000.5"),
        ("USD 5", "5"), ("5 USD", "5"), ("+1", "1"), ("1_000", "1000"), ("1'000.50", "1000.50"), ("\u00a05", "5"),
    ],
)  # fmt: skip
def test_a_number_as_a_spreadsheet_shows_it_is_refused_with_the_plain_one(cell: str, meant: str) -> None:
    ((row, field, text),) = _problems(HEADER + f"@A,{cell},\n")
    assert (row, field) == (2, "amount")
    assert text.endswith(f"; did you mean {meant}?")


def test_a_negative_in_parentheses_is_no_amount() -> None:
    ((_, _, text),) = _problems(HEADER + "@A,(100),\n")
    assert "which is negative" in text


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("destinaton,amount\n", "did you mean destination?"),
        ("destination,amount,amount\n", "the column amount is there twice"),
        ("destination;amount,x\n", "separated by commas"),
        ("destination,amount\r@A,1\n", "line 1 has a line end of CR alone"),
        ('"destination,amount\n', "line 1 has a quote that is never closed"),
        ("destination,am\u200bount\n", '"am\\u200bount"'),
    ],
)
def test_a_header_says_what_is_wrong_with_it(header: str, text: str) -> None:
    assert text in _refused(header)


@search(200)
@given(st.lists(st.text('@A1,"x;\t \r\0', max_size=9), max_size=6), st.sampled_from(["\n", "\r\n"]))
def test_every_line_is_a_row_or_an_error_or_blank(lines: list[str], newline: str) -> None:
    found = _read((HEADER + newline.join(lines)).encode())
    rows = [each.row for each in found]
    for number, line in enumerate(lines, 2):
        assert number in rows or not any(next(csv.reader([line]), [])), line
    assert rows == sorted(set(rows))
    assert not rows or rows[-1] <= len(lines) + 1


def test_after_a_wrong_quote_the_next_row_is_read() -> None:
    assert [given.destination for given in _read(HEADER + '@A,1,"x"y\n@B,1,\n')] == ["", "@B"]


class _Endless(RawIOBase):
    """Bytes of a file of many rows, made while it is read."""

    def __init__(self, head: bytes, line: bytes, rows: int) -> None:
        self._pieces = iter([head, *[line * 1000] * (rows // 1000)])
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        self._left = self._left or next(self._pieces, b"")
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size


@pytest.mark.parametrize("first", ["@A,1,", '@A,1,"'], ids=["rows", "a quote that is never closed"])
def test_the_memory_does_not_grow_with_the_file(first: str) -> None:
    line = b"@SomeBalance,12.50,a description of some length\n"
    stream = BufferedReader(_Endless(f"{HEADER}{first}\n".encode(), line, 20_000))
    tracemalloc.start()
    reader = FileReader(cast(BinaryIO, stream))
    rows = sum(1 for _ in reader)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    reader.close()
    assert rows > 15_000
    assert peak < 800_000  # The file has 960,000 bytes, and an open quote takes what one field may hold.


# A list


def test_the_rows_of_a_list_are_numbered_from_one() -> None:
    first = Recipient(destination="@A", amount=Decimal("1.5"), description="x", meta_data=Raw(b'{"a": 1}'))
    assert list(recipients.of_list([first, Recipient(destination="@B", precise_amount="150")])) == [
        Given(1, "@A", Decimal("1.5"), None, "x", '{"a": 1}', []),
        Given(2, "@B", None, 150, None, None, []),
    ]


def test_metadata_and_minor_units_that_are_none_are_both_named() -> None:
    (given,) = recipients.of_list([Recipient(destination="@A", precise_amount="1.5", meta_data=Raw(b"[1]"))])
    assert [field for field, _ in given.problems] == ["meta_data", "precise_amount"]
