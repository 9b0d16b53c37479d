"""The log is for people at a terminal, and JSON elsewhere."""

import io
import json
from collections.abc import Iterator

import pytest
import structlog
from structlog.contextvars import bound_contextvars, clear_contextvars

from core.base import logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    before = structlog.get_config()
    clear_contextvars()  # A request that was answered on this thread leaves its own.
    yield
    structlog.configure(**before)


def written(stream: io.StringIO, log_format: str | None = None) -> str:
    logs.configure(log_format, stream)
    secret = "hunter" + str(len(stream.getvalue()) + 2)
    with bound_contextvars(task="a task"):
        try:
            assert secret == "hunter2"
            raise ValueError("bad")
        except ValueError:
            structlog.get_logger().exception("it broke", size=7)
    return stream.getvalue()


def test_programs_get_json_with_the_context() -> None:
    line = json.loads(written(io.StringIO()))
    assert line.pop("timestamp").endswith("Z")
    assert line.pop("exception").endswith("ValueError: bad")
    assert line == {"event": "it broke", "level": "error", "size": 7, "task": "a task"}


def test_people_get_lines_without_the_values_of_variables() -> None:
    text = written(Terminal())
    assert "it broke" in text
    assert "a task" in text
    assert "ValueError: bad" in text
    assert "hunter2" not in text


@pytest.mark.parametrize(("log_format", "stream"), [("json", Terminal()), ("console", io.StringIO())])
def test_the_setting_goes_before_the_terminal(log_format: str, stream: io.StringIO) -> None:
    assert written(stream, log_format).startswith("{") == (log_format == "json")
