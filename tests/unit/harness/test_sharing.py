"""One service is enough for all test processes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.sharing import shared


def test_the_first_starts_it_and_stops_it_when_the_last_has_gone(tmp_path: Path) -> None:
    events: list[str] = []
    is_used = threading.Event()
    may_go = threading.Event()

    @contextmanager
    def start() -> Iterator[str]:
        events.append("started")
        yield "http://one"
        events.append("stopped")

    def use_it_longer() -> None:
        with shared(tmp_path, start) as url:
            events.append(f"second has {url}")
            is_used.set()
            may_go.wait(10)
            events.append("second goes")

    second = threading.Thread(target=use_it_longer)
    with shared(tmp_path, start) as url:
        assert url == "http://one"
        second.start()
        assert is_used.wait(10)
        threading.Timer(0.2, may_go.set).start()
    second.join(10)
    assert events == ["started", "second has http://one", "second goes", "stopped"]


def test_it_is_started_again_for_who_comes_later(tmp_path: Path) -> None:
    events: list[str] = []

    @contextmanager
    def start() -> Iterator[str]:
        events.append("started")
        yield "http://one"

    for _ in range(2):
        with shared(tmp_path, start):
            pass
    assert events == ["started", "started"]
