"""Texts in CSV that a spreadsheet would run as a formula."""

import pytest

from core.base.formulas import inert


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "＝", "＋", "－", "＠", "﹦", "−"])
@pytest.mark.parametrize(
    "before", ["", " ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u200b", "\ufeff", "\x00", " \u200e "]
)
def test_what_may_start_a_formula_is_marked(before: str, sign: str) -> None:
    text = f"{before}{sign}SUM(A1)"
    assert inert(text) == "'" + text


@pytest.mark.parametrize("text", ["\tplain", "\nplain", "\rplain"])
def test_a_text_that_starts_with_a_tab_or_newline_is_marked(text: str) -> None:
    assert inert(text) == "'" + text


@pytest.mark.parametrize("value", ["", " plain", "1-2", "a=1", "-12.50", "@World", "@Loan-7.b", 5, None, True])
def test_what_starts_no_formula_stays(value: object) -> None:
    assert inert(value) is value
