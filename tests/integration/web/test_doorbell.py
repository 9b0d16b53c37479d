"""The doorbell rings on, whatever its broker, its log and its process do."""

import threading
import time
from typing import Any

import pytest
from sqlalchemy import Engine

import celeryconfig
from core.base import threads
from core.doors.notes import Notes
from tests.harness.factories import identified
from web.accept import doorbell as doorbell_module
from web.accept.doorbell import Doorbell

WITHIN_S = 30


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "PAUSE_S", 0.001)


@pytest.fixture
def bell(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> tuple[Doorbell, "Broker"]:
    identity = identified(engine)
    bell, broker = Doorbell(identity, Notes(None, identity)), Broker()
    monkeypatch.setattr(bell._celery(), "send_task", broker.send_task)
    return bell, broker


class Broker:
    """Takes messages, or fails as told."""

    def __init__(self) -> None:
        self.failures: list[BaseException] = []
        self.asked = threading.Semaphore(0)

    def send_task(self, *args: Any, **options: Any) -> None:
        try:
            if self.failures:
                raise self.failures.pop()
        finally:
            self.asked.release()


@pytest.mark.parametrize("error", [OSError(), TypeError("a bug of the driver"), SystemExit(), KeyboardInterrupt()])
def test_the_doorbell_outlives_its_broker(bell: tuple[Doorbell, Broker], error: BaseException) -> None:
    doorbell, broker = bell
    broker.failures = [error]
    for _ in range(3):
        doorbell.ring([1])
        assert broker.asked.acquire(timeout=WITHIN_S)
    assert doorbell.loop.starts == 1


@pytest.mark.parametrize("error", [OSError(28, "no space left"), BrokenPipeError(), ValueError("closed file")])
def test_the_doorbell_outlives_a_standard_output_that_is_gone(
    bell: tuple[Doorbell, Broker], monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    class Gone:
        def __getattr__(self, name: str) -> Any:
            raise error

    monkeypatch.setattr(doorbell_module, "logger", Gone())
    monkeypatch.setattr(threads, "logger", Gone())
    doorbell, broker = bell
    broker.failures = [OSError(), OSError()]
    for _ in range(4):
        doorbell.wake(celeryconfig.FUND)
        assert broker.asked.acquire(timeout=WITHIN_S)
    assert doorbell.loop.starts == 1


def test_bells_are_counted(bell: tuple[Doorbell, Broker]) -> None:
    doorbell, broker = bell
    broker.failures = [OSError()]
    for _ in range(3):
        doorbell.ring([1])
        assert broker.asked.acquire(timeout=WITHIN_S)
    doorbell.ring([1])
    assert broker.asked.acquire(timeout=WITHIN_S)
    assert doorbell.failed == 1
    assert doorbell.rung >= 2


def test_a_lone_transaction_does_not_wait_for_the_bell_of_the_one_before(bell: tuple[Doorbell, Broker]) -> None:
    doorbell, _ = bell
    now = time.monotonic() + 3600
    pauses = [doorbell._pause_s(doorbell_module.LONE_S, now + 0.02 * number) for number in range(500)]
    assert pauses == [0.0] * 500


def test_the_bells_of_a_load_are_rung_a_pause_apart(bell: tuple[Doorbell, Broker]) -> None:
    doorbell, _ = bell
    now = began = time.monotonic() + 3600
    for _ in range(500):
        now += 0.001 + doorbell._pause_s(doorbell_module.PAUSE_S, now + 0.001)
    assert now - began == pytest.approx(500 * doorbell_module.PAUSE_S, rel=0.02)
