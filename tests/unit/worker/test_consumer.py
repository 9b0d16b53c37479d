"""A worker whose broker refuses tries again, and no more often than once a second."""

import warnings
from collections.abc import Callable

import pytest
from redis.exceptions import OutOfMemoryError, ReadOnlyError

import celeryconfig
from worker import consumer as consumer_module
from worker.consumer import CeleryConsumer, Consumer

BEFORE = Consumer.on_connection_error_before_connected
AFTER = Consumer.on_connection_error_after_connected


@pytest.mark.parametrize("error", [ReadOnlyError("a replica"), OutOfMemoryError("full"), ConnectionError("gone")])
@pytest.mark.parametrize("told", [BEFORE, AFTER])
def test_it_pauses_after_each_error(
    monkeypatch: pytest.MonkeyPatch, told: Callable[[Consumer, Exception], None], error: Exception
) -> None:
    pauses: list[float] = []
    seen: list[Exception] = []

    def warn(self: Consumer, exc: Exception) -> None:
        seen.append(exc)

    def warn_of_the_next_version(self: Consumer, exc: Exception) -> None:
        warn(self, exc)
        warnings.warn("the next major version differs", PendingDeprecationWarning, stacklevel=1)

    monkeypatch.setattr(CeleryConsumer, "on_connection_error_before_connected", warn)
    monkeypatch.setattr(CeleryConsumer, "on_connection_error_after_connected", warn_of_the_next_version)
    monkeypatch.setattr(consumer_module, "time", type("", (), {"sleep": staticmethod(pauses.append)}))
    told(Consumer.__new__(Consumer), error)
    assert (seen, pauses) == ([error], [consumer_module.PAUSE_S])


def test_a_refusal_does_not_end_the_worker() -> None:
    assert celeryconfig.broker_channel_error_retry is True
    assert celeryconfig.worker_consumer == f"{Consumer.__module__}:{Consumer.__name__}"
