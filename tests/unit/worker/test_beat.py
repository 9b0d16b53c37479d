"""Beat ticks by the monotonic clock, keeps nothing in files, and outlives a broker that is away or stands still."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from freezegun import freeze_time

import celeryconfig
from worker import beat as beat_module
from worker.app import app
from worker.beat import STUCK_MAX, STUCK_S, Beat

Sent = list[str]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """The tasks that beat has sent, each when its tick returns."""
    found: Sent = []
    monkeypatch.setattr(beat_module.heart, "start", lambda part: None)
    monkeypatch.setattr(beat_module.naming, "is_named", lambda: True)
    monkeypatch.setattr(beat_module, "send_alone", lambda app, task: found.append(task))
    # Only here: the log, for one, starts its thread whenever it likes.
    monkeypatch.setattr(beat_module, "threading", SimpleNamespace(Thread=_AtOnce))
    return found


class _AtOnce:
    """A thread that runs when it is started."""

    def __init__(self, target: Callable[..., object], args: tuple[Any, ...], **_: object) -> None:
        self._run = lambda: target(*args)

    def start(self) -> None:
        self._run()

    def is_alive(self) -> bool:
        return False


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock of beat."""
    now = [1000.0]
    monkeypatch.setattr(beat_module, "time", type("", (), {"monotonic": staticmethod(lambda: now[0])}))
    return now


def test_it_ticks_once_a_second_whatever_the_wall_clock_does(sent: Sent, clock: list[float]) -> None:
    beat = Beat(app)
    for second, wall in enumerate(
        ["2026-03-01 12:00", "2026-03-01 11:00", "2026-03-01 13:00", "1970-01-01", "2099-01-01"]
    ):
        with freeze_time(wall):
            assert beat.tick() == pytest.approx(celeryconfig.TICK_INTERVAL_S)
        assert len(sent) == second + 1
        clock[0] += 0.5
        assert beat.tick() == pytest.approx(0.5)
        assert len(sent) == second + 1
        clock[0] += 0.5
    assert set(sent) == {celeryconfig.TICK}


def test_it_does_not_make_up_for_the_ticks_of_a_long_pause(sent: Sent, clock: list[float]) -> None:
    beat = Beat(app)
    beat.tick()
    clock[0] += 3600
    beat.tick()
    beat.tick()
    assert len(sent) == 2


def test_a_broker_that_stands_still_does_not_stop_it(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    monkeypatch.setattr(beat_module.heart, "start", lambda part: None)
    monkeypatch.setattr(beat_module.naming, "is_named", lambda: True)
    goes_on, begun = threading.Event(), threading.Semaphore(0)

    def stuck(*_: object) -> None:
        begun.release()
        goes_on.wait(60)

    monkeypatch.setattr(beat_module, "send_alone", stuck)
    beat = Beat(app)
    began = time.monotonic()
    for _ in range(int(10 * STUCK_S)):
        beat.tick()
        clock[0] += 1
    assert time.monotonic() - began < 30
    assert all(begun.acquire(timeout=10) for _ in range(STUCK_MAX))
    assert not begun.acquire(blocking=False)
    goes_on.set()
    for thread, _ in beat._sends:
        thread.join(10)
    beat.tick()
    assert begun.acquire(timeout=10)


def test_it_makes_no_file_and_reads_none(sent: Sent, clock: list[float], tmp_path: Path) -> None:
    before = tmp_path / "celerybeat-schedule"
    before.write_bytes(os.urandom(100))
    content = before.read_bytes()
    beat = Beat(app, schedule_filename=str(before))
    beat.tick()
    beat.sync()
    beat.close()
    assert sent == [celeryconfig.TICK]
    assert [path.name for path in tmp_path.iterdir()] == [before.name]
    assert before.read_bytes() == content
