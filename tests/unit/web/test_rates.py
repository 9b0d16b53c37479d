"""How many requests may come, and how many wrong keys."""

import pytest

from core.base.rate import Rate
from web.http import rates


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(rates.time, "monotonic", lambda: now[0])
    return now


def test_a_burst_may_come_at_once_and_then_so_many_a_second(clock: list[float]) -> None:
    bucket = rates.Bucket(Rate(10, 20), processes=2)
    assert [bucket.wait_s() for _ in range(10)] == [0.0] * 10
    assert bucket.wait_s() == pytest.approx(0.2)
    clock[0] += 0.5
    assert [bucket.wait_s() for _ in range(2)] == [0.0] * 2
    assert bucket.wait_s() > 0
    clock[0] += 3600
    assert [bucket.wait_s() > 0 for _ in range(11)] == [False] * 10 + [True]


def test_ten_wrong_keys_a_minute_are_counted_for_each_address(clock: list[float]) -> None:
    guesses = rates.Guesses()
    assert [guesses.wait_s("a") for _ in range(10)] == [0.0] * 10
    clock[0] += 15
    assert guesses.wait_s("a") == 45.0
    assert guesses.wait_s("b") == 0.0
    clock[0] += 45
    assert guesses.wait_s("a") == 0.0


def test_no_more_than_so_many_addresses_are_kept(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "ADDRESSES_MAX", 3)
    guesses = rates.Guesses()
    for number in range(100):
        guesses.wait_s(str(number))
    assert list(guesses._counts) == ["97", "98", "99"]
