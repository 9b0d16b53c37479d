"""Splits: the amount of each leg, and legs that add up to the minor unit."""

from fractions import Fraction
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ledger.rules.splits import BadSplit, Share, amounts, pairs, proportional, share_of

LEFT = Share()


def shares(*distributions: str, precision: int = 100) -> list[Share]:
    """A leading ``=`` stands for ``precise_distribution``."""
    return [
        share_of(None, each[1:], precision) if each.startswith("=") else share_of(each, None, precision)
        for each in distributions
    ]


# The amount of a leg


@pytest.mark.parametrize(
    ("distribution", "precise", "precision", "share"),
    [
        ("10%", None, 100, Share(percent=Fraction(1, 10))),
        ("33.33%", None, 100, Share(percent=Fraction(3333, 10000))),
        ("0.000001%", None, 100, Share(percent=Fraction(1, 10**8))),
        ("100%", None, 100, Share(percent=Fraction(1))),
        ("100", None, 100, Share(fixed=10000)),
        ("100", None, 1, Share(fixed=100)),
        ("0.07", None, 100, Share(fixed=7)),
        ("12.50", None, 100, Share(fixed=1250)),
        ("left", None, 100, LEFT),
        (None, "left", 100, LEFT),
        (None, "7", 100, Share(fixed=7)),
        (None, 7, 100, Share(fixed=7)),
        ("50%", "7", 100, Share(fixed=7)),
        (None, str(10**40), 100, Share(fixed=10**40)),
    ],
)
def test_a_share_is_a_percentage_or_major_units_or_minor_units_or_what_is_left(
    distribution: str | None, precise: int | str | None, precision: int, share: Share
) -> None:
    assert share_of(distribution, precise, precision) == share


@pytest.mark.parametrize(
    ("distribution", "precise", "text"),
    [
        (None, None, "distribution must be"),
        ("", None, "distribution must be"),
        ("NaN", None, "invalid fixed amount format"),
        ("Infinity", None, "invalid fixed amount format"),
        ("1e3", None, "invalid fixed amount format"),
        ("-5", None, "invalid fixed amount format"),
        ("LEFT", None, "invalid fixed amount format"),
        ("٣", None, "invalid fixed amount format"),
        ("1_000", None, "invalid fixed amount format"),
        ("0.001", None, "invalid fixed amount format: 0.001"),
        ("%", None, "invalid percentage format"),
        ("-10%", None, "invalid percentage format"),
        ("1/3%", None, "invalid percentage format"),
        ("10 %", None, "invalid percentage format"),
        ("NaN%", None, "invalid percentage format"),
        ("10%%", None, "invalid percentage format"),
        (None, "-5", "must be an integer value in minor units"),
        (None, -5, "must be an integer value in minor units"),
        (None, "1.5", "must be an integer value in minor units"),
        (None, "10%", "must be an integer value in minor units"),
        (None, "", "must be an integer value in minor units"),
        ("0", None, "must be more than zero"),
        ("0%", None, "must be more than zero"),
        (None, 0, "must be more than zero"),
        (None, "0", "must be more than zero"),
    ],
)
def test_anything_else_is_refused_with_what_would_be_right(
    distribution: str | None, precise: int | str | None, text: str
) -> None:
    with pytest.raises(BadSplit, match=text):
        share_of(distribution, precise, 100)


# Adding up


@pytest.mark.parametrize(
    ("total", "precision", "asked", "expected"),
    [
        pytest.param(3000000, 100, ["20%", "10000", "left"], [600000, 1000000, 1400000], id="case 78"),
        pytest.param(1000, 1, ["200", "50%", "left"], [200, 500, 300], id="case 79"),
        pytest.param(150, 1, ["50%", "45%", "left"], [75, 67, 8], id="the remainder goes to left"),
        pytest.param(10001, 1, ["33.33%", "33.33%", "33.34%"], [3333, 3333, 3335], id="else to the last percentage"),
        pytest.param(
            123456, 100, ["500", "25%", "10%", "left"], [50000, 30864, 12345, 30247], id="never to a fixed share"
        ),
        pytest.param(1001, 1, ["50%", "50%"], [500, 501], id="two halves of an odd amount"),
        pytest.param(1001, 1, ["50%", "500.00", "left"], [500, 500, 1], id="a left of one"),
        pytest.param(1, 1, ["50%", "50%"], [0, 1], id="one unit"),
        pytest.param(1000, 100, ["10.00", "left"], [1000, 0], id="nothing is left"),
        pytest.param(1000, 100, ["10.00"], [1000], id="fixed = total"),
        pytest.param(100, 1, ["60%", "40%"], [60, 40], id="60 % and 40 %"),
        pytest.param(1000, 100, ["left", "=300"], [700, 300], id="left comes first and keeps its place"),
        pytest.param(10**40 + 1, 1, ["50%", "left"], [5 * 10**39, 5 * 10**39 + 1], id="huge"),
    ],
)
def test_shares_come_to_amounts_that_add_up(total: int, precision: int, asked: list[str], expected: list[int]) -> None:
    assert amounts(total, shares(*asked, precision=precision)) == expected


TOO_MUCH = "total distributions exceed 100% or total amount"
TOO_LITTLE = "distributions are less than the total amount; let one of them be left"


@pytest.mark.parametrize(
    ("total", "asked", "text"),
    [
        pytest.param(1000, ["60%", "60%"], TOO_MUCH, id="case 81"),
        pytest.param(1000, ["10.01"], TOO_MUCH, id="fixed > total"),
        pytest.param(1000, ["6.00", "50%", "left"], TOO_MUCH, id="nothing is left to be negative"),
        pytest.param(1000, ["100%", "=1"], TOO_MUCH, id="one unit too many"),
        pytest.param(99, ["50%", "=50"], TOO_MUCH, id="half a unit too many"),
        pytest.param(1000, ["50%", "50.000001%"], TOO_MUCH, id="a fraction of a unit too many"),
        pytest.param(1000, ["50%", "30%"], TOO_LITTLE, id="80 %"),
        pytest.param(1000, ["3.00"], TOO_LITTLE, id="fixed < total"),
        pytest.param(1000, ["33.33%", "33.33%", "33.33%"], TOO_LITTLE, id="99.99 %"),
        pytest.param(1000, ["left", "left"], "multiple identifiers with 'left' distribution", id="two of left"),
    ],
)
def test_shares_that_cannot_add_up_are_refused(total: int, asked: list[str], text: str) -> None:
    with pytest.raises(BadSplit, match=text):
        amounts(total, shares(*asked))


@st.composite
def _totals_and_shares(draw: st.DrawFn) -> tuple[int, list[Share]]:
    """Fixed shares and percentages that fit into a total, with what is missing as a last percentage or as ``left``."""
    total = draw(st.integers(1, 10**6) | st.integers(1, 10**40))
    parts = draw(st.lists(st.integers(1, 1000), max_size=6))
    room = Fraction(draw(st.integers(0, 100)), 100)
    asked, used = [], Fraction(0)
    for part in parts:
        percent = room * part / sum(parts)
        fixed = int(percent * total)
        if fixed and draw(st.booleans()):
            asked.append(Share(fixed=fixed))
            used += Fraction(fixed, total)
        elif percent:
            asked.append(Share(percent=percent))
            used += percent
    if used == 1 and draw(st.booleans()):
        return total, asked
    rest = LEFT if used == 1 or draw(st.booleans()) else Share(percent=1 - used)
    asked.insert(draw(st.integers(0, len(asked))), rest)
    return total, asked


@given(_totals_and_shares())
def test_amounts_add_up_exactly_and_nobody_is_off_by_more_than_the_rounding(drawn: tuple[int, list[Share]]) -> None:
    total, asked = drawn
    split = amounts(total, asked)
    assert sum(split) == total
    assert min(split) >= 0
    for share, amount in zip(asked, split, strict=True):
        if share.fixed is not None:
            assert amount == share.fixed
        elif share.percent is not None:
            assert 0 <= amount - int(share.percent * total) < len(asked)
    if LEFT in asked:
        assert all(amount == int(s.percent * total) for s, amount in zip(asked, split, strict=True) if s.percent)


# Both sides


@pytest.mark.parametrize(
    ("sources", "destinations", "expected"),
    [
        ([10], [3, 7], [(0, 0, 3), (0, 1, 7)]),
        ([3, 7], [10], [(0, 0, 3), (1, 0, 7)]),
        ([5, 5], [3, 7], [(0, 0, 3), (0, 1, 2), (1, 1, 5)]),
        ([5, 5], [5, 5], [(0, 0, 5), (1, 1, 5)]),
        ([0, 10], [3, 0, 7], [(1, 0, 3), (1, 2, 7)]),
        ([1, 1, 1], [3], [(0, 0, 1), (1, 0, 1), (2, 0, 1)]),
    ],
)
def test_each_source_pays_the_destinations_in_turn(
    sources: list[int], destinations: list[int], expected: list[tuple[int, int, int]]
) -> None:
    assert pairs(sources, destinations) == expected


@st.composite
def _sides(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    sources = draw(st.lists(st.integers(0, 50), min_size=1, max_size=8))
    cuts = sorted(draw(st.lists(st.integers(0, sum(sources)), max_size=8)))
    return sources, [after - before for before, after in zip([0, *cuts], [*cuts, sum(sources)], strict=True)]


@given(_sides())
def test_legs_are_what_leaves_and_arrives_in_order_unit_by_unit(drawn: tuple[list[int], list[int]]) -> None:
    sources, destinations = drawn
    legs = pairs(sources, destinations)
    assert [sum(amount for s, _, amount in legs if s == position) for position in range(len(sources))] == sources
    assert [
        sum(amount for _, d, amount in legs if d == position) for position in range(len(destinations))
    ] == destinations
    assert legs == sorted(legs)
    units = zip(
        (position for position, amount in enumerate(sources) for _ in range(amount)),
        (position for position, amount in enumerate(destinations) for _ in range(amount)),
        strict=True,
    )
    assert legs == [(*pair, len(list(alike))) for pair, alike in groupby(units)]


# Proportional parts


@pytest.mark.parametrize(
    ("amount", "of", "expected"),
    [
        (50, [100, 100], [25, 25]),
        (1, [1, 1], [0, 1]),
        (7, [10, 20, 30], [1, 2, 4]),
        (0, [3, 4], [0, 0]),
        (7, [3, 4], [3, 4]),
        (3, [0, 5, 0], [0, 3, 0]),
        (0, [0, 0], [0, 0]),
        (0, [], []),
    ],
)
def test_an_amount_is_shared_in_proportion(amount: int, of: list[int], expected: list[int]) -> None:
    assert proportional(amount, of) == expected


@given(st.lists(st.integers(0, 60) | st.integers(0, 10**30), max_size=10), st.fractions(0, 1))
def test_parts_in_proportion_add_up_and_none_is_more_than_there_is(of: list[int], portion: Fraction) -> None:
    amount = int(sum(of) * portion)
    shared = proportional(amount, of)
    assert sum(shared) == amount
    for part, whole in zip(shared, of, strict=True):
        assert 0 <= part <= whole
        assert abs(part - Fraction(amount * whole, sum(of) or 1)) < 1


@given(st.lists(st.integers(0, 60), min_size=1, max_size=10), st.lists(st.fractions(0, 1), max_size=5))
def test_parts_of_what_was_left_by_parts_come_to_the_whole(of: list[int], portions: list[Fraction]) -> None:
    left = list(of)
    for portion in [*portions, Fraction(1)]:
        taken = proportional(int(sum(left) * portion), left)
        left = [whole - part for whole, part in zip(left, taken, strict=True)]
    assert left == [0] * len(of)
