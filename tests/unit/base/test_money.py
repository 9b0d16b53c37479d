"""Decimal amounts to minor units and back: exactly, or refused."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.base.money import MAX_DIGITS, MAX_PRECISION, InexactAmount, to_minor, to_text


@pytest.mark.parametrize(
    ("amount", "precision", "minor"),
    [
        ("0.29", 100, 29),
        ("1.13", 100, 113),
        ("4.35", 100, 435),
        ("750.23", 100, 75023),
        ("123456789.99", 100, 12345678999),
        ("0.1", 10**8, 10_000_000),
        ("0.00000001", 10**8, 1),
        ("1.10", 100, 110),
        ("1.100000000000000000000", 100, 110),
        ("1", 1, 1),
        ("1E+3", 100, 100_000),
        ("1e-2", 100, 1),
        ("0.5", 2, 1),
        ("2", 3, 6),
        ("0.125", 1000, 125),
        ("3", 7, 21),
        ("0", 100, 0),
        ("-0.29", 100, -29),
        ("9" * 400 + ".99", 100, int("9" * 402)),
        ("0.000000000000000001", MAX_PRECISION, 1),
    ],
)
def test_an_amount_is_converted_exactly(amount: str, precision: int, minor: int) -> None:
    assert to_minor(Decimal(amount), precision) == minor


@pytest.mark.parametrize(
    ("amount", "precision"),
    [
        ("1.005", 100),
        ("0.001", 100),
        ("0.1", 1),
        ("0.1", 3),
        ("0.3333333333333333", 3),
        ("0.1", 7),
        ("0.142857142857142857", 7),
        ("9" * 400 + ".999", 100),
        ("1e-999", 100),
    ],
)
def test_an_amount_that_is_no_whole_number_of_minor_units_is_refused(amount: str, precision: int) -> None:
    with pytest.raises(InexactAmount, match=f"not a whole number of minor units at precision {precision}"):
        to_minor(Decimal(amount), precision)


@pytest.mark.parametrize("amount", ["NaN", "-NaN", "sNaN", "Infinity", "-Infinity"])
def test_what_is_not_a_finite_number_is_refused(amount: str) -> None:
    with pytest.raises(InexactAmount, match="finite"):
        to_minor(Decimal(amount), 100)


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "amount",
    ["1e999999", "-1e999999", "1e-999999", "1e999999999999999999", "1e-999999999999999999", "1." + "1" * MAX_DIGITS],
)
def test_an_endless_number_is_refused_without_writing_it_out(amount: str) -> None:
    with pytest.raises(InexactAmount, match="digits"):
        to_minor(Decimal(amount), 100)


def test_the_longest_number_that_is_allowed_is_exact() -> None:
    longest = "8" * MAX_DIGITS
    assert to_minor(Decimal(longest), MAX_PRECISION) == int(longest) * MAX_PRECISION


@pytest.mark.parametrize(
    ("minor", "precision", "shown"),
    [
        (75023, 100, "750.23"),
        (29, 100, "0.29"),
        (113, 100, "1.13"),
        (435, 100, "4.35"),
        (12345678999, 100, "123456789.99"),
        (10_000_000, 10**8, "0.1"),
        (1, 10**8, "0.00000001"),
        (100, 100, "1"),
        (110, 100, "1.1"),
        (1000, 100, "10"),
        (0, 100, "0"),
        (0, 1, "0"),
        (0, 3, "0"),
        (100, 1, "100"),
        (-5, 100, "-0.05"),
        (-500, 100, "-5"),
        (1, 2, "0.5"),
        (1, 8, "0.125"),
        (7, 40, "0.175"),
        (1, 3, "0.3333333333333333"),
        (2, 3, "0.6666666666666667"),
        (-2, 3, "-0.6666666666666667"),
        (3, 3, "1"),
        (4, 3, "1.3333333333333333"),
        (1, 7, "0.1428571428571429"),
        (21, 7, "3"),
        (10**402 - 1, 100, "9" * 400 + ".99"),
    ],
)
def test_minor_units_are_shown_without_trailing_zeros_or_an_exponent(minor: int, precision: int, shown: str) -> None:
    assert to_text(minor, precision) == shown


huge = st.integers(-(10**30), 10**30)


@given(minor=huge, precision=st.builds(lambda twos, fives: 2**twos * 5**fives, st.integers(0, 20), st.integers(0, 20)))
def test_an_amount_survives_the_way_there_and_back(minor: int, precision: int) -> None:
    assert to_minor(Decimal(to_text(minor, precision)), precision) == minor


@given(minor=huge, precision=st.integers(1, MAX_PRECISION))
def test_the_text_is_never_off_by_more_than_half_of_its_last_place(minor: int, precision: int) -> None:
    shown = to_text(minor, precision)
    assert "e" not in shown.lower()
    assert abs(Fraction(shown) - Fraction(minor, precision)) <= Fraction(1, 2 * 10**16)


@given(amount=st.decimals(allow_nan=True, allow_infinity=True), precision=st.integers(1, 10**8))
def test_whatever_the_amount_it_is_exact_or_refused(amount: Decimal, precision: int) -> None:
    try:
        minor = to_minor(amount, precision)
    except InexactAmount:
        return
    assert Fraction(minor, precision) == Fraction(amount)
