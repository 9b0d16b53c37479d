"""Configures the log of a process: structlog for our lines, and the standard library's ``logging`` for those of others.

Each door calls ``configure`` once. No call of a logger waits or fails: ``core/base/lines.py`` writes.
"""

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from core.base.lines import Lines
from core.base.secrets import hide
from core.base.variables import without_password

_SHOWN = 3

_lines: Lines | None = None
"""The writer of the log of this process."""

REQUEST_ID = "request_id"
"""The name of a request's ID in the context of log lines, and in the header of a Celery message that the request sent."""


def configure(log_format: str | None = None, stream: TextIO | None = None, *, level: str = "info") -> None:
    """Configure the log of this process.

    It writes lines for people when ``stream`` is a terminal, and JSON otherwise, unless ``log_format`` decides. Lines below
    ``level`` are left out. The default stream is the standard output that the process started with, because Celery replaces
    ``sys.stdout``. Each line has the context that its task or request has bound (``structlog.contextvars``).
    """
    stream = stream or sys.__stdout__ or sys.stdout
    render = _Renderer(log_format, is_terminal=is_terminal(stream))
    lines = Lines(stream, render.lost)
    global _lines
    _lines = lines
    ours = _Logger(lines)
    least = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, render],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *_: ours,
    )
    root = logging.getLogger()
    root.handlers = [each for each in root.handlers if not isinstance(each, _Handler)] + [_Handler(lines, render)]
    root.setLevel(max(least, logging.INFO))  # The debug lines of libraries may show secrets.
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)  # It tells each process what it is made of.


def tell_warnings() -> None:
    """Configure the log of a command, which tells the rest itself. A log that is configured stays as it is."""
    if not structlog.is_configured():
        configure(stream=sys.stderr, level="warning")


def write(line: str) -> None:
    """Write a line that is whole already, beside those of structlog. The call returns at once, and never fails."""
    if _lines is not None:
        _lines.write(line)


def now() -> str:
    """Return the time of a line."""
    return datetime.now(UTC).isoformat()


def request_id() -> str | None:
    """Return the ID of the request or task that this thread works for, if one is bound."""
    bound: str | None = structlog.contextvars.get_contextvars().get(REQUEST_ID)
    return bound


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether a stream is a terminal. A missing or closed one is none."""
    try:
        return stream is not None and stream.isatty()
    except (OSError, ValueError, AttributeError):
        return False


def _without_passwords(event: EventDict) -> None:
    """Hide the passwords of URLs, which the errors of drivers may name."""
    for name, value in event.items():
        if isinstance(value, str) and "://" in value:
            event[name] = without_password(value)


def _shortened(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Leave most of a long list out, which nobody reads at a terminal."""
    for name, value in event.items():
        if isinstance(value, list) and len(value) > _SHOWN:
            event[name] = [*value[:_SHOWN], f"and {len(value) - _SHOWN} more"]
    return event


def _json(event: EventDict, *, default: Callable[[Any], Any], **_: Any) -> str:
    """Write JSON ten times as fast as ``json``, which is for what msgspec cannot write, such as half a character."""
    try:
        return msgspec.json.encode(event, enc_hook=default).decode()
    except (TypeError, ValueError):
        return json.dumps(event, default=default)


class _Renderer:
    """Writes an event as one line. It is the last processor, and never fails."""

    def __init__(self, log_format: str | None, *, is_terminal: bool) -> None:
        for_people = log_format == "console" if log_format else is_terminal
        self._processors: list[Any]
        stamp: Processor = structlog.processors.TimeStamper(fmt="iso", utc=True)
        # Tracebacks leave out the values of variables, which may be secrets.
        if for_people:
            plain = structlog.dev.plain_traceback
            self._processors = [
                stamp,
                _shortened,
                structlog.dev.ConsoleRenderer(colors=is_terminal, exception_formatter=plain),
            ]
        else:
            self._processors = [
                stamp,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(_json),
            ]

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        try:
            value: Any = dict(event)
            _without_passwords(value)
            for processor in self._processors:
                value = processor(logger, method, value)
            return hide(str(value))
        except Exception as error:  # A value that has no text, for one.
            return _failed(error)

    def lost(self, lines: int) -> str:
        """Write the line that says how many lines were dropped."""
        return self(None, "warning", {"event": "log lines were dropped", "level": "warning", "lines": lines})


class _Logger:
    """The end of structlog's chain, which hands each line on. A method is called by the level of the line."""

    def __init__(self, lines: Lines) -> None:
        self.msg = lines.write

    def __getattr__(self, name: str) -> Any:
        return self.msg


class _Handler(logging.Handler):
    """Writes the lines of other libraries in the form of ours."""

    def __init__(self, lines: Lines, render: _Renderer) -> None:
        super().__init__()
        self._lines = lines
        self._render = render

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event: EventDict = {"event": record.getMessage(), "level": record.levelname.lower(), "logger": record.name}
            structlog.contextvars.merge_contextvars(None, "", event)
            if record.exc_info:
                event["exc_info"] = record.exc_info
            self._lines.write(self._render(None, "", event))
        except Exception as error:
            self._lines.write(_failed(error))


def _failed(error: Exception) -> str:
    """Write the line that stands for one that could not be written."""
    now = datetime.now(UTC).isoformat()
    return (
        f'{{"event": "a log line failed", "level": "error", "error": "{type(error).__name__}", "timestamp": "{now}"}}'
    )
