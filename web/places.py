"""Bounds the requests that a web process works on at once, so that slow clients and full threads take away no more than theirs.

A request at work has a *place*. A thread that waits for a client, for the rest of a body or until an upload that was refused is
over, has none: there are many more threads than places. ``/health`` needs none, so it answers when all are taken.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from queue import Empty, SimpleQueue
from typing import Any

from flask import Response
from werkzeug.exceptions import HTTPException

from core.base.errors import ErrorCode, TransientError
from core.base.quick import about_to_wait
from web.http import later
from web.http.errors import error_response

PROCESSES = 2
"""Two processes share the work of Python, and one is there when the other is not."""

PLACES = 64
"""The number of requests of one process that are worked on at once."""

THREADS_MAX = 320
"""The number of threads of a process. They are started on demand, and end when they have had nothing to do for 30 s."""

PLACE_WAIT_S = 10.0
"""A request that has had no place for so long is answered 503."""

STUCK_S = 120.0
"""All places were taken, and none was given back for so long: the process does not move any more. No request may last so long."""

BODIES_MAX = 128
"""The number of large bodies that may be on their way to a process at once. Each keeps a thread, and those that are left suffice
for all places, all drains and ``/health``. A further request with a large body is answered 503."""

DRAINS_MAX = 96
DRAIN_BYTES_MAX = 64 * 1024 * 1024
_PIECE = 65_536
_SLOW_S = 0.05

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Places:
    """A WSGI application that gives the requests of another one places."""

    def __init__(self, app: Wsgi, places: int = PLACES, *, drains: int = DRAINS_MAX, bodies: int = BODIES_MAX) -> None:
        self._app = app
        # The queues are semaphores; those of threading cost ten times as much.
        self._free: SimpleQueue[None] = SimpleQueue()
        self._drains: SimpleQueue[None] = SimpleQueue()
        self._bodies: SimpleQueue[None] = SimpleQueue()
        for free, count in ((self._free, places), (self._drains, drains), (self._bodies, bodies)):
            for _ in range(count):
                free.put(None)
        self._moved_at = time.monotonic()

    @property
    def moves(self) -> bool:
        """Whether requests end. It is False when all places have been taken for very long."""
        return not self._free.empty() or time.monotonic() - self._moved_at < STUCK_S

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        is_health = environ["PATH_INFO"].startswith("/health")
        body = None
        if not isinstance(environ["wsgi.input"], BytesIO):  # A small body is there already.
            body = environ["wsgi.input"] = Body(environ, None if is_health else self)
            environ.pop(later.OFFERED, None)
        if is_health:
            answer = self._app(environ, start_response)
        else:
            if not self.take():
                answer = _no_place()(environ, start_response)
            else:
                answer = ()
                try:
                    answer = self._app(environ, start_response)
                finally:
                    if isinstance(answer, later.Later):
                        answer.ended.append(self.give)
                    elif body is None or body.has_place:
                        self.give()
        return answer if body is None or body.is_over else self._drained(answer, body)

    def take(self) -> bool:
        """Take a place, and tell whether one was free in time."""
        try:
            self._free.get_nowait()
        except Empty:
            about_to_wait()
            try:
                self._free.get(timeout=PLACE_WAIT_S)
            except Empty:
                return False
        return True

    def give(self) -> None:
        """Give a place back."""
        self._moved_at = time.monotonic()
        self._free.put(None)

    def begin_body(self) -> None:
        """Give a place back while a body comes.

        Raises:
            TransientError: too many bodies are on their way. The place is kept.
        """
        try:
            self._bodies.get_nowait()
        except Empty:
            raise TransientError("too many requests are still on their way; try again") from None
        self.give()

    def end_body(self) -> bool:
        """Take a place again when a body is there, and tell whether one was free in time."""
        self._bodies.put(None)
        return self.take()

    def _drained(self, answer: Iterable[bytes], body: "Body") -> Iterator[bytes]:
        """Send the answer at once, then read what the client still sends, and throw it away.

        Otherwise the server would cut the connection, and a client that only reads when it has sent everything would never
        see the answer.
        """
        try:
            yield from answer
            try:
                self._drains.get_nowait()
            except Empty:
                return
            try:
                body.drain()
            finally:
                self._drains.put(None)
        finally:
            if hasattr(answer, "close"):
                answer.close()


class Body:
    """The body of a request. While it is read, the request has no place."""

    def __init__(self, environ: dict[str, Any], places: Places | None) -> None:
        self._input = environ["wsgi.input"]
        length = environ.get("CONTENT_LENGTH", "")
        self._left = int(length) if length.isascii() and length.isdigit() else None
        self._places = places
        self.is_over = False
        self.has_place = True

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes, or all. Fewer come only at the end.

        Raises:
            TransientError: the body is there, and all places are taken; or too many bodies are on their way.
        """
        if self._places is None:
            return self._read(size)
        self._places.begin_body()
        self.has_place = False
        try:
            return self._read(size)
        finally:
            self.has_place = self._places.end_body()
            if not self.has_place:
                raise TransientError("the service has too much to do right now; try again")

    def readline(self, size: int = -1) -> bytes:
        """Read a line, as files do. Nothing of ours reads bodies by lines, so this need not be quick."""
        line = b""
        while size < 0 or len(line) < size:
            piece = self.read(1)
            line += piece
            if piece in (b"", b"\n"):
                break
        return line

    def readlines(self, hint: int = -1) -> list[bytes]:
        """Read all lines."""
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def drain(self) -> None:
        """Read the rest and throw it away, in small pieces while it comes slowly."""
        size, drained = 1, 0
        while not self.is_over and drained < DRAIN_BYTES_MAX:
            began_at = time.monotonic()
            try:
                drained += len(self._read(size))
            except HTTPException:
                return  # The client has gone, or is too slow.
            size = min(size * 2, _PIECE) if time.monotonic() - began_at < _SLOW_S else 1

    def _read(self, size: int) -> bytes:
        data: bytes = self._input.read(size) if size >= 0 else self._input.read()
        if self._left is not None:
            self._left -= len(data)
        self.is_over = size < 0 or len(data) < size or self._left == 0
        return data


def _no_place() -> Response:
    response = error_response(ErrorCode.GEN_UNAVAILABLE, "the service has too much to do right now; try again")
    response.headers["Retry-After"] = "1"
    return response
