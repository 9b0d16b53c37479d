"""A costly answer is kept for a while, and read anew beside whoever gets the old one."""

import itertools
import threading

import pytest

from tests.harness.processes import wait_until
from web import kept
from web.kept import Kept


def test_only_a_costly_answer_is_kept_and_for_each_key_its_own() -> None:
    numbers = itertools.count(1)
    answers = Kept[int](lambda found: found > 1)
    assert answers.get("a", lambda: next(numbers)) == (1, 0)
    assert answers.get("a", lambda: next(numbers)) == (2, 0)
    found, age_s = answers.get("a", lambda: next(numbers))
    assert (found, age_s > 0) == (2, True)
    assert answers.get("b", lambda: next(numbers)) == (3, 0)


def test_an_answer_of_long_ago_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "KEPT_S", 0)
    monkeypatch.setattr(kept, "SHARE", 0)
    numbers = itertools.count(1)
    answers = Kept[int](lambda _: True)
    assert [answers.get("a", lambda: next(numbers)) for _ in range(2)] == [(1, 0), (2, 0)]


def test_who_gets_an_old_answer_does_not_wait_for_the_next_and_one_thread_reads_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept, "_RENEWED_AFTER", 0)
    numbers, goes_on = itertools.count(1), threading.Event()
    answers = Kept[int](lambda _: True)

    def read() -> int:
        number = next(numbers)
        if number > 1:
            goes_on.wait(30)
        return number

    assert [answers.get("a", read)[0] for _ in range(5)] == [1] * 5
    monkeypatch.setattr(kept, "_RENEWED_AFTER", 1)
    goes_on.set()
    wait_until(lambda: answers.get("a", read)[0] == 2)


def test_a_slow_read_does_not_take_the_place_of_one_that_began_after_it() -> None:
    began, goes_on = threading.Event(), threading.Event()
    answers = Kept[int](lambda _: True)

    def slow() -> int:
        began.set()
        goes_on.wait(30)
        return 1

    first = threading.Thread(target=lambda: answers.get("a", slow))
    first.start()
    assert began.wait(30)
    assert answers.get("a", lambda: 2)[0] == 2
    goes_on.set()
    first.join(30)
    assert answers.get("a", lambda: 3)[0] == 2


def test_an_old_answer_is_given_while_reading_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_RENEWED_AFTER", 0)
    answers, failed = Kept[int](lambda _: True), threading.Event()
    answers.get("a", lambda: 1)

    def fail() -> int:
        failed.set()
        raise RuntimeError

    assert answers.get("a", fail)[0] == 1
    assert failed.wait(30)
    assert answers.get("a", fail)[0] == 1
