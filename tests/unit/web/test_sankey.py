"""A Sankey is laid out so that widths are values, whatever goes where."""

from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.searching import search
from web.dashboard.sankey import Layout, Link, Space, lay_out, order_of

NAMES = st.sampled_from([*"abcdefgh", "", "<b>", "\u05e9\u202e", "a" * 500])
LINKS = st.dictionaries(st.tuples(NAMES, NAMES), st.integers(0, 10**40), max_size=40).map(
    lambda found: [Link(*ends, value) for ends, value in found.items()]
)


def _check(links: list[Link], space: Space) -> Layout:
    """Check all that is true of every layout."""
    layout = lay_out(links, space)
    drawn = [link for link in links if link.value]
    assert sorted(ribbon.link for ribbon in layout.ribbons) == sorted(drawn)
    assert layout.columns <= space.columns
    by_column = defaultdict(list)
    for box in layout.boxes:
        by_column[box.column].append(box)
        assert box.y >= -1e-6 and box.y + box.height <= layout.height + 1e-6
    for boxes in by_column.values():
        for upper, lower in pairwise(boxes):
            middles = upper.y + upper.height / 2, lower.y + lower.height / 2
            assert upper.y + upper.height <= lower.y + 1e-6, "one box is over another"
            assert middles[1] - middles[0] >= space.label - 1e-6, "one label is over another"
    for number, box in enumerate(layout.boxes):
        out = [ribbon for ribbon in layout.ribbons if ribbon.source == number]
        into = [ribbon for ribbon in layout.ribbons if ribbon.destination == number]
        widths = [sum(ribbon.width for ribbon in side) for side in (out, into)]
        assert max(widths) == pytest.approx(box.height, abs=1e-6)
        for edges in (
            [(ribbon.source_y, ribbon.width) for ribbon in out],
            [(ribbon.destination_y, ribbon.width) for ribbon in into],
        ):
            inside = sorted(edges)
            assert all(one[0] + one[1] <= two[0] + 1e-6 for one, two in pairwise(inside))
            assert all(box.y - 1e-6 <= y and y + width <= box.y + box.height + 1e-6 for y, width in inside), (
                "a ribbon leaves its box"
            )
    for ribbon in layout.ribbons:
        source, destination = layout.boxes[ribbon.source], layout.boxes[ribbon.destination]
        assert source.column < destination.column and not source.is_again
        assert (source.node, destination.node) == ribbon.link[:2]
    assert len({(box.node, box.column) for box in layout.boxes}) == len(layout.boxes)
    return layout


@search(200)
@given(links=LINKS, columns=st.integers(2, 6))
def test_widths_are_values_and_nothing_is_over_anything(links: list[Link], columns: int) -> None:
    _check(links, Space(columns))


def test_a_chain_goes_from_left_to_right() -> None:
    layout = _check([Link("world", "pool", 10), Link("pool", "shop", 8), Link("shop", "fees", 2)], Space(5))
    assert [(box.node, box.column) for box in layout.boxes] == [("world", 0), ("pool", 1), ("shop", 2), ("fees", 3)]
    assert [round(box.height, 3) for box in layout.boxes] == [320, 320, 256, 64]


def test_a_chain_that_is_too_long_ends_at_copies() -> None:
    layout = _check([Link(str(n), str(n + 1), 1) for n in range(10)], Space(4))
    assert layout.columns == 4 and any(box.is_again for box in layout.boxes)


def test_two_columns_have_payers_left_and_the_paid_right() -> None:
    layout = _check([Link("a", "b", 3), Link("b", "c", 2), Link("c", "a", 1)], Space(2))
    assert [(box.node, box.column) for box in layout.boxes if not box.is_again] == [("a", 0), ("b", 0), ("c", 0)]
    assert {box.column for box in layout.boxes if box.is_again} == {1}


def test_a_circle_is_cut_where_least_goes_back() -> None:
    assert order_of([Link("a", "b", 100), Link("b", "c", 90), Link("c", "a", 1)]) == ["a", "b", "c"]
    layout = _check([Link("a", "b", 100), Link("b", "c", 90), Link("c", "a", 1)], Space(5))
    assert [box.node for box in layout.boxes if box.is_again] == ["a"]


def test_what_stays_within_a_node_goes_to_its_copy() -> None:
    layout = _check([Link("a", "a", 7)], Space(5))
    assert [(box.node, box.column, box.is_again) for box in layout.boxes] == [("a", 0, False), ("a", 1, True)]


@pytest.mark.parametrize("links", [[], [Link("a", "b", 0)]])
def test_without_values_there_is_nothing(links: list[Link]) -> None:
    assert lay_out(links, Space(5)) == Layout(0, 0.0, [], [])


def test_five_hundred_nodes_have_room_each() -> None:
    links = [Link(f"n{n % 250}", f"n{250 + n % 250}", n * n + 1) for n in range(500)]
    links += [Link(f"n{250 + n}", f"n{n}", 1) for n in range(0, 250, 7)]
    for columns in (2, 5):
        layout = _check(links, Space(columns))
        assert len({box.node for box in layout.boxes}) == 500


def test_the_same_flows_give_the_same_picture() -> None:
    links = [Link(a, b, 5) for a in "abc" for b in "cdef" if a != b]
    assert lay_out(links, Space(5)) == lay_out(links[::-1], Space(5))
