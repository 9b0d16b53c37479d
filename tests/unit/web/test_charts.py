"""Charts are SVG that says what it shows, whatever texts are in it."""

from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from tests.harness.searching import search
from web.dashboard import charts

AT = datetime(2026, 11, 1, tzinfo=UTC)
SVG = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\ufffe\uffff"), max_size=20)


@search(50)
@given(values=st.lists(st.floats(0, 1e15), min_size=2, max_size=60), title=SVG)
def test_a_sparkline_is_well_formed_and_stays_within_its_frame(values: list[float], title: str) -> None:
    chart = ElementTree.fromstring(charts.sparkline(values, title))
    assert chart.attrib["aria-label"] == title
    points = chart[1].attrib["points"].split()
    assert len(points) == len(values)
    assert all(0 <= float(x) <= 240 and 0 <= float(y) <= 44 for x, y in (point.split(",") for point in points))


@search(50)
@given(values=st.lists(st.integers(-(10**20), 10**20), min_size=1, max_size=60), label=SVG)
def test_steps_are_well_formed(values: list[int], label: str) -> None:
    points = [(AT + timedelta(minutes=number), value) for number, value in enumerate(values)]
    chart = ElementTree.fromstring(charts.steps(points, label, (label, label)))
    assert chart.attrib["aria-label"] == label
    assert chart[1].attrib["d"].count("V") == len(values) - 1


def test_nothing_is_said_in_words() -> None:
    assert "No figures" in charts.sparkline([], "t") and "Nothing happened" in charts.steps([], "t", ("", ""))
