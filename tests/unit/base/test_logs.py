"""The log is for people at a terminal, and JSON elsewhere."""

import io
import json
import logging
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
    before, handlers = structlog.get_config(), logging.getLogger().handlers[:]
    level = logging.getLogger().level
    clear_contextvars()  # A request that was answered on this thread leaves its own.
    yield
    structlog.configure(**before)
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


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


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_value_without_a_text_makes_nothing_fail(log_format: str) -> None:
    stream = io.StringIO()
    logs.configure(log_format, stream)
    structlog.get_logger().info("fine until here", value=Unprintable())
    assert "a log line failed" in stream.getvalue()


def test_lines_below_the_level_are_left_out() -> None:
    stream = io.StringIO()
    logs.configure("json", stream, level="warning")
    structlog.get_logger().info("not this")
    logging.getLogger("celery.worker").info("nor this")
    structlog.get_logger().warning("but this")
    logging.getLogger("celery.worker").warning("and %s", "that")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["but this", "and that"]


def test_the_lines_of_libraries_have_the_form_of_ours() -> None:
    stream = io.StringIO()
    logs.configure("json", stream)
    with bound_contextvars(request_id="r1"):
        logging.getLogger("celery.worker").error("it %s", "broke", exc_info=ValueError("bad"))
    line = json.loads(stream.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line.pop("exception") == "ValueError: bad"
    assert line == {"event": "it broke", "level": "error", "logger": "celery.worker", "request_id": "r1"}


def test_a_library_line_that_cannot_be_written_makes_nothing_fail(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    logs.configure("json", stream)
    root = logging.getLogger()
    root.handlers[:] = [each for each in root.handlers if type(each).__module__ == "core.base.logs"]
    logging.getLogger("celery.worker").error("%d", "no number")
    assert capsys.readouterr().err == ""
    assert "a log line failed" in stream.getvalue()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_line_shows_the_password_of_a_url(log_format: str) -> None:
    stream = io.StringIO()
    logs.configure(log_format, stream)
    structlog.get_logger().warning("away", error="cannot reach postgresql://me:hunter2@host/ledger")
    assert "hunter2" not in stream.getvalue()
    assert "host/ledger" in stream.getvalue()


def test_people_get_the_beginning_of_a_long_list() -> None:
    stream = Terminal()
    logs.configure(None, stream)
    structlog.get_logger().info("accepted", transactions=[f"txn_{number}" for number in range(40)])
    assert "txn_2" in stream.getvalue() and "and 37 more" in stream.getvalue()
    assert "txn_3" not in stream.getvalue()
