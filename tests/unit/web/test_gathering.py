"""A thread that serves many at once waits for those that are expected, and for nobody else."""

import threading
import time

import pytest

from web.accept import gathering
from web.accept.gathering import BUSY, Gathering

WITHIN_S = 30.0


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "GAP_S", WITHIN_S)
    monkeypatch.setattr(gathering, "MOST_S", WITHIN_S)


class Line:
    """Requests that wait, and a thread that gathers them."""

    def __init__(self) -> None:
        self.count = 0
        self.gathering = Gathering(lambda: self.count)

    def add(self, count: int) -> None:
        for _ in range(count):
            self.count += 1
            self.gathering.came()

    def waits(self) -> threading.Thread:
        thread = threading.Thread(target=self.gathering.wait, daemon=True)
        thread.start()
        return thread


def test_the_clients_of_a_group_and_those_that_wait_already_are_expected() -> None:
    line = Line()
    line.add(3)
    line.gathering.served(5)
    thread = line.waits()
    line.add(4)
    thread.join(0.1)
    assert thread.is_alive()
    line.add(1)
    thread.join(WITHIN_S / 3)
    assert not thread.is_alive()


def test_no_crowd_is_waited_for() -> None:
    line = Line()
    line.gathering.served(BUSY - 1)
    line.add(1)
    began = time.monotonic()
    line.gathering.wait()
    assert time.monotonic() - began < WITHIN_S / 3


def test_whoever_does_not_come_again_is_not_waited_for_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "GAP_S", 0.01)
    line = Line()
    line.gathering.served(1000)
    line.add(1)
    began = time.monotonic()
    line.gathering.wait()
    assert time.monotonic() - began < WITHIN_S / 3
    monkeypatch.setattr(gathering, "MOST_S", 0.0)
    monkeypatch.setattr(gathering, "GAP_S", WITHIN_S)
    line.gathering.wait()
    assert time.monotonic() - began < WITHIN_S / 3
