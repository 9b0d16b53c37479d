"""Tables and facts at every width: no line is longer than the terminal, and no word is broken."""

import io

import pytest
from rich.console import Console

from ops.cli.show.tables import Facts
from ops.cli.show.text import Table, duration, money, more, table

ID = "txn_0199f2a4-8c3e-7d10-9a56-3f0e6f4c2b11"
WORDS = ("insufficient", "funds", "@Revenue", "-1,234,567.89", "2026-05-17 12:00:00", ID)


def drawn(what: object, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, markup=False, highlight=False).print(what)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def rows() -> Table:
    found = table("at", "name", "amount", "id", "why", title="two rows", right=("amount",), drop=("id", "at"))
    found.add_row("2026-05-17 12:00:00", "@Revenue", "-1,234,567.89", ID, "insufficient funds in source balance")
    found.add_row("2026-05-17 12:00:01", "@World", "5.00", ID, "")
    found.add_section()
    return found


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 160])
def test_no_line_is_too_long_and_no_word_is_broken(width: int) -> None:
    lines = drawn(rows(), width)
    assert max(map(len, lines)) <= width
    for word in WORDS:
        if len(word) <= width - 2 and not (word == ID and 20 < width < 100):
            assert any(word in line for line in lines) or word in (ID, WORDS[4]), word


def test_columns_are_left_out_before_rows_are_stacked() -> None:
    assert all(word in "\n".join(drawn(rows(), 160)) for word in WORDS)
    assert ID not in "\n".join(drawn(rows(), 80))
    at_60 = drawn(rows(), 60)
    assert at_60[1].split() == ["name", "amount", "why"] or at_60[2].split() == ["name", "amount", "why"]
    stacked = drawn(rows(), 36)
    assert "amount  -1,234,567.89" in stacked
    assert stacked[0] == "two rows"
    assert "" in stacked  # Between two rows.


def test_a_word_that_is_longer_than_the_line_is_all_that_is_cut() -> None:
    facts = Facts()
    facts.add("reference", "x" * 50)
    facts.add("note", "one two three four five six seven eight")
    assert drawn(facts, 30) == [
        "reference",
        "  " + "x" * 28,
        "  " + "x" * 22,
        "note       one two three four",
        "           five six seven",
        "           eight",
    ]


def test_amounts_in_facts_end_in_one_column() -> None:
    facts = Facts()
    facts.add("credits", "1,234.50", right=True)
    facts.add("debits", "-0.05", right=True)
    assert drawn(facts, 60) == ["credits  1,234.50", "debits      -0.05"]


def test_amounts_are_grouped_and_keep_their_cents() -> None:
    assert money(-12117573, 100) == "-121,175.73"
    assert money(12500000, 100) == "125,000.00"
    assert money(0, 100) == "0.00"
    assert money(1234, 1) == "1,234"
    assert money(-5, 8) == "-0.625"
    assert money(10**1000, None).count(",") == 333


def test_how_much_more_there_is_is_said() -> None:
    assert more(10, 5000, "--limit 5000 shows them") == "and 4,990 more: --limit 5000 shows them"
    assert more(10, 10, "--limit") == ""
    assert more(10, None, "--all shows them") == "and more: --all shows them"
    assert [duration(s) for s in (0.0071, 2.44, 179, 7300, 900000)] == ["7 ms", "2.4 s", "3 min", "2 h", "10 days"]
