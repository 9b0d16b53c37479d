"""Problems of a file are shown in its own rows, whatever the file is like."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.searching import search
from web.dashboard import table_of_file


def _problem(row: Any, field: str = "amount") -> dict[str, Any]:
    return {"row": row, "field": field, "message": "is wrong"}


def test_rows_that_are_wrong_stand_between_their_neighbours() -> None:
    content = "destination,amount\n" + "".join(f"@W{n},{n}\n" for n in range(2, 30))
    table = table_of_file.read(content.encode(), [_problem(5), _problem(20, "destination"), _problem(20)])
    assert table is not None and list(table.header) == ["destination", "amount"]
    assert [row.number for row in table.rows] == [4, 5, 6, 19, 20, 21]
    assert [row.number for row in table.rows if row.after_gap] == [4, 19]
    wrong = {row.number: (len(row.problems), row.wrong) for row in table.rows if row.problems}
    assert wrong == {5: (1, {1}), 20: (2, {0, 1})}


@pytest.mark.parametrize(
    ("content", "cells"),
    [
        ("destination;amount\n@A;1,5\n", ["@A", "1,5"]),
        ("\ufeffdestination\tamount\n@A\t1\n", ["@A", "1"]),
        ('destination,amount\n"@A, B","<b>"\n', ["@A, B", "<b>"]),
        ("destination,amount\n@A," + "x" * 10_000 + "\n", ["@A", "x" * 200 + "…"]),
        ("destination,amount\n\u05e9\u05dc\u05d5\u05dd\n", ["\u05e9\u05dc\u05d5\u05dd"]),
    ],
)
def test_cells_are_read_as_they_stand(content: str, cells: list[str]) -> None:
    table = table_of_file.read(content.encode(), [_problem(2)])
    assert table is not None and list(table.rows[0].cells) == cells


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"a,b\n\0,1\n", b"destination,amount\n", b"a" * 300_000])
def test_what_is_no_such_text_has_no_table(content: bytes) -> None:
    assert table_of_file.read(content, [_problem(2)]) is None


def test_without_rows_there_is_no_table() -> None:
    assert table_of_file.read(b"destination,amount\n@A,1\n", [_problem(None)]) is None


@search(50)
@given(content=st.binary(max_size=200), rows=st.lists(st.integers(-3, 12), max_size=5))
def test_nothing_breaks_it(content: bytes, rows: list[int]) -> None:
    table_of_file.read(content, [_problem(row) for row in rows])
