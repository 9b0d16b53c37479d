"""Charts are SVG that says what it shows, whatever texts are in it."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
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


@search(50)
@given(parts=st.lists(st.lists(st.integers(0, 10**9), min_size=3, max_size=3), min_size=1, max_size=60), text=SVG)
def test_stacks_stay_within_their_frame(parts: list[list[int]], text: str) -> None:
    bars = [charts.Stack(each, text, text) for each in parts]
    chart = ElementTree.fromstring(charts.stacks(bars, ["a", "b", "c"], text, [text]))
    heights = []
    for path in chart.iter("path"):
        for bottom, height in re.findall(r"M[\d.]+,([\d.]+)h[\d.]+v-([\d.]+)h", path.attrib["d"]):
            assert float(bottom) - float(height) >= -0.02 and float(bottom) <= 200.02
            heights.append(height)
    assert len(heights) == sum(value > 0 for each in parts for value in each)
    assert len(list(chart.iter("rect"))) == len(parts)


@pytest.mark.parametrize(
    ("most", "found"), [(0, (1, 1)), (3, (1, 3)), (9, (5, 2)), (100, (50, 2)), (123456, (50000, 3))]
)
def test_lines_stand_at_round_values(most: int, found: tuple[int, int]) -> None:
    assert charts._round_up(most) == found
