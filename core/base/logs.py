"""Configures structlog, which writes the log of a process. Each door calls it once."""

import sys
from typing import TextIO

import structlog
from structlog.typing import Processor


def configure(log_format: str | None = None, stream: TextIO | None = None) -> None:
    """Configure the log of this process.

    It writes lines for people when ``stream`` is a terminal, and JSON otherwise, unless ``log_format`` decides.
    The default stream is the standard output that the process started with, because Celery replaces ``sys.stdout``.
    Each line has the context that its task or request has bound (``structlog.contextvars``).
    """
    stream = stream or sys.__stdout__ or sys.stdout
    for_people = log_format == "console" if log_format else stream.isatty()
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Tracebacks leave out the values of variables, which may be secrets.
    if for_people:
        plain = structlog.dev.plain_traceback
        processors.append(structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain))
    else:
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(processors=processors, logger_factory=structlog.PrintLoggerFactory(stream))
