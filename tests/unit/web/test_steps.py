"""The chart of a value that jumps is well-formed, has round labels, and stays within its frame, whatever the values are."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from tests.harness.searching import search
from web.dashboard import steps

AT = datetime(2026, 11, 1, tzinfo=UTC)
TEXT = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\ufffe\uffff"), max_size=20)


def _drawn(values: list[int], title: str = "t", mark: str = "") -> ElementTree.Element:
    points = [(AT + timedelta(minutes=number), value) for number, value in enumerate(values)]
    frame = steps.Frame(AT, AT + timedelta(minutes=len(values)), lambda value: f"{value}{mark}")
    return ElementTree.fromstring(steps.draw(points, frame, title))


@search(50)
@given(values=st.lists(st.integers(-(10**20), 10**20), min_size=1, max_size=60), title=TEXT)
def test_steps_are_well_formed_and_within_their_frame(values: list[int], title: str) -> None:
    chart = _drawn(values, title, title)
    assert chart.attrib["aria-label"] == title
    line = chart.find("svg/path[@class='line']")
    assert line is not None and line.attrib["d"].count("V") == len(values) - 1
    numbers = [float(number) for number in re.findall(r"-?[0-9.]+", line.attrib["d"])]
    assert all(0 <= number <= 1000 for number in numbers)


@search(50)
@given(values=st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=10))
def test_labels_are_round_evenly_apart_and_hold_all_values(values: list[int]) -> None:
    labels = [int(label.text or "") for label in _drawn(values).findall("div[@class='plot-values']/span")]
    apart = {first - second for first, second in pairwise(labels)}
    assert len(apart) == 1 and re.fullmatch("[125]0*", str(apart.pop())) and len(labels) <= 6
    assert labels[0] >= max(values) and labels[-1] <= min(values) and 0 in labels


def test_nothing_is_said_in_words() -> None:
    assert "Nothing happened" in steps.draw([], steps.Frame(AT, AT, str), "t")
