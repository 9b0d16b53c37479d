"""When a monitor fires, without a database."""

from datetime import UTC, datetime, timedelta

import pytest

from core.monitors.rules import FIELDS, Condition, State, Sums, Terms, start, step

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def fired(terms: Terms, *balances: int, apart_s: float = 0.0) -> list[int]:
    """Return the positions in a row of balances at which a monitor fires. The first one is there when it is made."""
    sums = [Sums(credit=balance) if balance >= 0 else Sums(debit=-balance) for balance in balances]
    state, fires = start(terms, sums[0], NOW, fire_now=True)
    found = [0] if fires else []
    for position, each in enumerate(sums[1:], 1):
        state, fires = step(terms, state, each, NOW + timedelta(seconds=apart_s * position))
        found += [position] if fires else []
    return found


def below(threshold: int, hysteresis: int = 0) -> Condition:
    return Condition("balance", "<", threshold, hysteresis)


def test_an_edge_fires_when_the_condition_becomes_true_and_not_while_it_stays() -> None:
    assert fired(Terms(below(0)), 5, -1, -2, 0, -1) == [1, 4]


def test_a_level_fires_after_each_posting_while_the_condition_is_true() -> None:
    assert fired(Terms(below(0), mode="level"), 5, -1, -2, 0, -1) == [1, 2, 4]


@pytest.mark.parametrize(
    ("operator", "values", "at"),
    [
        ("<", [12, 9, 12, 9, 13, 9], [1, 5]),
        ("<=", [13, 10, 13, 10, 14, 10], [1, 5]),
        (">", [8, 11, 8, 11, 7, 11], [1, 5]),
        (">=", [7, 10, 7, 10, 6, 10], [1, 5]),
        ("=", [14, 10, 13, 10, 14, 10, 7, 10, 6, 10], [1, 5, 9]),
    ],
)
def test_an_edge_waits_until_the_value_is_back_by_more_than_the_hysteresis(
    operator: str, values: list[int], at: list[int]
) -> None:
    slack = {"<": 3, "<=": 3, ">": 3, ">=": 3, "=": 3}[operator]
    assert fired(Terms(Condition("balance", operator, 10, slack)), *values) == at


def test_not_equal_ends_at_the_value_itself() -> None:
    assert fired(Terms(Condition("balance", "!=", 0)), 0, 1, 2, 0, -1) == [1, 4]


def test_once_sets_the_monitor_to_rest() -> None:
    assert fired(Terms(below(0), once=True), 1, -1, 1, -1) == [1]


def test_a_monitor_does_not_fire_again_within_its_interval() -> None:
    assert fired(Terms(below(0), mode="level", min_interval_s=2.0), 1, -1, -1, -1, -1, apart_s=1.0) == [1, 3]


def test_a_clock_that_was_set_back_silences_no_monitor() -> None:
    state = State(triggered=False, version=1, since=NOW, fired=1, fired_at=NOW + timedelta(days=1))
    assert step(Terms(below(0), min_interval_s=60.0), state, Sums(debit=1), NOW)[1]


def test_a_condition_that_is_true_already_fires_once() -> None:
    assert fired(Terms(below(0)), -1, -2, 0, -1) == [0, 3]
    state, fires = start(Terms(below(0)), Sums(debit=1, version=7), NOW, fire_now=False)
    assert (fires, state.triggered, state.version) == (False, True, 7)


def test_amounts_of_any_size_are_compared_exactly() -> None:
    assert fired(Terms(Condition("balance", ">", 10**40)), 10**40, 10**40 + 1) == [1]


def test_every_field_has_its_value() -> None:
    sums = Sums(credit=100, debit=30, inflight_credit=7, inflight_debit=4)
    assert {name: value_of(sums) for name, value_of in FIELDS.items()} == {
        "balance": 70,
        "credit_balance": 100,
        "debit_balance": 30,
        "inflight_balance": 3,
        "inflight_credit_balance": 7,
        "inflight_debit_balance": 4,
        "available_balance": 66,
    }
