"""Lets a view leave its answer to the thread that ends its work, so that the request has no thread while it waits.

A view returns ``Later`` with the work and with what makes the answer. Its hooks, its headers and its line in the log follow
when the answer is there, in the context of the request, as they do for every other view. A server that cannot be answered
from another thread does not offer it, and the view then waits for its work.
"""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from typing import Any, NamedTuple

import structlog
from flask import Response

from core.base import tracing
from core.base.errors import TransientError
from web.accept.sending import Send, send_now_or_together

OFFERED = "pacioli.later"
"""The key of the WSGI environment by which a server says that it takes an answer from any thread."""

AGAIN = "pacioli.again"
"""The key by which it says that the request was begun before, in a thread that may not wait."""

THREADS = 64
"""The threads that go on with requests whose answer needs more than what their work has brought."""

PATIENCE_S = 15.0
"""The server gives up an answer that has not come for so long. The thread that does the work may be stuck, or the database."""

Finish = Callable[[Response | Exception], Iterable[bytes]]

logger = structlog.get_logger()


def overdue() -> Exception:
    """Return the error of work that is given up, where that has no error of its own."""
    return TransientError("the service has too much to do right now; try again")


class Work(NamedTuple):
    """Work that a view leaves to other threads, and what makes its answer."""

    begin: Callable[[Callable[[], None]], Callable[[], Exception]]
    """Begins the work, and calls what it is given when that has ended, in any thread.

    Returns what gives the work up, and tells by an error what that means."""
    quick: Callable[[], Response | None]
    """Makes the answer in that thread, without waiting for anything. None says that it takes more."""
    slow: Callable[[], Response]
    """Makes the answer in a thread of its own."""


class Later(Response):
    """An answer that is made when its work has ended."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._give_up: Callable[[], Exception] = overdue
        self._once = threading.Lock()
        self._context = Context()
        self._finish: Finish = _no_parts
        self._send: Send = _nowhere
        self.ended: list[Callable[[], None]] = []
        """The functions that are called when the answer is made, in the context of the request, the last first."""

    def keep(self, context: Context, finish: Finish) -> None:
        """Keep the context of the request, and what makes the parts of its answer from a response or an error."""
        self._context, self._finish = context, finish

    def begin(self, send: Send) -> None:
        """Begin the work. ``send`` gets the parts of the answer."""
        self._send = send
        try:
            self._give_up = self._work.begin(self._there)
        except Exception as error:
            self._fail(error)

    def give_up(self) -> None:
        """Answer that the work takes too long, unless the answer has come."""
        self._fail(self._give_up())

    def _fail(self, error: Exception) -> None:
        if self._once.acquire(blocking=False):
            self._context.run(self._answer, error)

    def _there(self) -> None:
        """Answer, for the work has ended."""
        if not self._once.acquire(blocking=False):
            return  # It was given up.
        if not self._context.run(self._quickly):
            # Only now, for no two threads can be in one context.
            _others.submit(self._context.run, self._slowly)

    def _quickly(self) -> bool:
        """Answer if that needs nothing more, and tell whether it did."""
        found: Response | Exception | None
        try:
            found = self._work.quick()
        except Exception as error:
            found = error
        if found is None:
            return False
        self._answer(found)
        return True

    def _slowly(self) -> None:
        found: Response | Exception
        try:
            found = self._work.slow()
        except Exception as error:
            found = error
        self._answer(found)

    def _answer(self, found: Response | Exception) -> None:
        parts: Iterable[bytes] = ()
        try:
            parts = self._finish(found)
        except Exception:
            logger.exception("an answer could not be made")
        for each in reversed(self.ended):
            try:
                each()
            except Exception:
                logger.exception("a request could not be ended")
        send_now_or_together(self._send, parts)
        # The work knows this object. Without this, only the search for cycles would free both.
        self._finish, self._send, self._give_up = _no_parts, _nowhere, overdue
        self.ended = []
        del self._work


def _no_parts(found: Response | Exception) -> Iterable[bytes]:
    return ()


def _nowhere(parts: Iterable[bytes]) -> None: ...


_others = ThreadPoolExecutor(THREADS, thread_name_prefix="answers")


def is_offered(environ: dict[str, Any]) -> bool:
    """Tell whether the server takes a ``Later``. A trace follows one thread, so none is taken while there is one."""
    return OFFERED in environ and not tracing.is_on()
