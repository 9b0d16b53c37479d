"""A chart of text has a column for each value, or the last of those that share one."""

from hypothesis import given
from hypothesis import strategies as st

from ops.cli.show.chart import HEIGHT, chart

LABELS = ("most", "least")
VALUES = st.lists(st.integers(-(10**24), 10**24), min_size=1, max_size=200)


def _lines(values: list[int], width: int = 60) -> list[str]:
    return chart(values, LABELS, width=width).plain.split("\n")[:-1]


@given(values=VALUES, width=st.integers(10, 100))
def test_any_values_fit(values: list[int], width: int) -> None:
    lines = _lines(values, width)
    assert 0 < len(lines) <= HEIGHT or not any(values)
    assert all(len(line) <= width for line in lines)


@given(values=st.lists(st.integers(-(10**24), 10**24), min_size=1, max_size=50))
def test_each_value_that_is_not_nothing_shows_on_its_side_of_zero(values: list[int]) -> None:
    drawn = [line.removesuffix(" most").removesuffix(" least").ljust(54) for line in _lines(values)]
    for column, value in enumerate(values):
        marks = [line[column] for line in drawn if line[column] != " "]
        assert bool(marks) == bool(value), (value, marks)


def test_a_rise_is_a_stair() -> None:
    assert _lines([1, 2, 3, 4], 60)[-1].startswith("████")
    assert _lines([1, 2, 3, 4], 60)[0].startswith("   █ most")


def test_the_last_column_is_what_is_there_now() -> None:
    assert _lines([0] * 999 + [5], 20)[0].startswith(" " * 13 + "█")
