"""Charts are SVG that says what it shows, whatever texts are in it."""

from itertools import pairwise
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from tests.harness.searching import search
from web.dashboard import charts

SVG = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\ufffe\uffff"), max_size=20)


@search(50)
@given(values=st.lists(st.floats(0, 1e15), min_size=2, max_size=60), title=SVG)
def test_a_sparkline_is_well_formed_and_stays_within_its_frame(values: list[float], title: str) -> None:
    chart = ElementTree.fromstring(charts.sparkline(values, title))
    assert chart.attrib["aria-label"] == title
    points = chart[1].attrib["points"].split()
    assert len(points) == len(values)
    assert all(0 <= float(x) <= 240 and 0 <= float(y) <= 44 for x, y in (point.split(",") for point in points))


def test_nothing_is_said_in_words() -> None:
    assert "No figures" in charts.sparkline([], "t")


@search(50)
@given(heights=st.lists(st.tuples(SVG, st.integers(0, 10**12)), min_size=1, max_size=64), title=SVG)
def test_bars_stand_beside_each_other_within_their_frame(heights: list[tuple[str, int]], title: str) -> None:
    chart = ElementTree.fromstring(charts.bars([(name, value, str(value)) for name, value in heights], title))
    drawn = [each.attrib for each in chart.iter("rect")]
    assert len(drawn) == len(heights)
    ends = [(float(bar["x"]), float(bar["x"]) + float(bar["width"])) for bar in drawn]
    assert all(one[1] <= two[0] + 0.11 for one, two in pairwise(ends))
    assert ends[0][0] >= 0 and ends[-1][1] <= 720
    assert all(float(bar["y"]) >= 0 and float(bar["y"]) + float(bar["height"]) <= 160 for bar in drawn)
    assert max(float(bar["height"]) for bar in drawn) == (122.0 if any(value for _, value in heights) else 1.0)
