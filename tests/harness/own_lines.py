"""The log lines that ``capture_logs`` gives a test: those of its own threads.

A thread that an earlier test has left may still end a step, and write a line about that, whenever it gets to it. So may the
watch of the database's deadlines, which all tests of a process share.
"""

import threading
from weakref import WeakSet

from structlog import DropEvent, testing
from structlog.typing import EventDict, WrappedLogger

_others: "WeakSet[threading.Thread]" = WeakSet()


class OwnLines(testing.LogCapture):
    """Keeps the lines of this test alone."""

    def __call__(self, logger: WrappedLogger, method_name: str, event_dict: EventDict) -> None:
        if threading.current_thread() in _others:
            raise DropEvent
        super().__call__(logger, method_name, event_dict)


testing.LogCapture = OwnLines  # type: ignore[misc]


def begin() -> None:
    """Begin a test: the threads that live now, but for this one, belong to others."""
    _others.clear()
    _others.update(set(threading.enumerate()) - {threading.current_thread()})
