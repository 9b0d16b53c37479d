"""Hands each request from granian to the WSGI application, when its body is there.

Granian's own WSGI reads a body in the thread of the request, and waits for it without end. Here a small body is read before
the request gets a thread, so a client that is slow or silent costs a connection and nothing else. A large body, or one of
unknown length, is read by the thread, after the key has been checked. Both have a deadline. docs/decisions/0032 says why.

Threads of Python take turns, and each turn costs CPU time. So the requests that wait for nothing share one thread, and all
others have threads of their own: docs/decisions/0045.
"""

import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from io import BytesIO
from queue import Empty, SimpleQueue
from typing import Any

import structlog
from granian._granian import CallbackScheduler, RSGIProtocolClosed
from werkzeug.exceptions import ClientDisconnected, RequestTimeout

from core.base.quick import WouldWait, hurry
from core.base.threads import Loop, Threads
from web.http.later import AGAIN, OFFERED, PATIENCE_S, Later
from web.http.wire import UNREADABLE
from web.places import THREADS_MAX

SMALL = 16 * 1024
"""A body of so many bytes at most is read before its request gets a thread. All connections together hold 64 MiB of them."""

BODY_S = 10.0
"""A body has so long, and longer by what has come already at ``BODY_RATE``. One that comes too slowly is answered 408."""
BODY_RATE = 32 * 1024
"""The bytes a second at which a large body must come."""

CROWD, LARGE_CROWD = 512, 64
"""When more bodies than these are on their way, those of which nothing comes have ``CROWDED_S``."""
CROWDED_S = 1.0

STUCK_S = 10.0
"""A quick request that takes so long will not end, and holds up all others: the process does not move any more."""

_LOOK_EVERY_S = 0.25
_LATE_THREADS = 4

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

logger = structlog.get_logger()


class Gateway:
    """Answers granian's requests by a WSGI application.

    Granian calls in one thread. It answers the requests that ``is_quick`` chooses, one after the other, and one of them that
    turns out to wait for something is begun anew in a thread of its own, as all others are.
    """

    def __init__(self, app: Wsgi, is_quick: Callable[[dict[str, Any]], bool] = lambda environ: False) -> None:
        self.app, self._is_quick = app, is_quick
        self._coming: dict[Any, float] = {}  # When each body began, by the future of its end. The oldest is first.
        self.working: dict[int, tuple[Later, float]] = {}
        """The answers that come later. The oldest is first."""
        self.reading = 0
        """The number of threads that read a large body."""
        self._quick_since: float | None = None
        self.quiet_since: float | None = None
        """When the last request came, once clients are asked to leave. Each answer then ends its connection."""
        self.threads = Threads("requests", THREADS_MAX)
        self._late = ThreadPoolExecutor(_LATE_THREADS, thread_name_prefix="late")
        self._watch = Loop("bodies", self._look)

    @property
    def moves(self) -> bool:
        """Whether the thread that granian calls in goes on. It waits for nothing, unless something is wrong."""
        since = self._quick_since
        return since is None or time.monotonic() - since < STUCK_S

    def part(self) -> None:
        """Ask clients to leave from now on: each learns with its next answer that the connection ends there."""
        self.quiet_since = time.monotonic()

    def scheduler(self) -> CallbackScheduler:
        """Return what granian calls in a thread for each request."""
        return _Scheduler(self._begin)

    def _begin(self, watcher: Any) -> None:
        if self.quiet_since is not None:
            self.quiet_since = time.monotonic()
        proto = watcher.proto
        environ = environ_of(watcher.scope)
        environ[OFFERED] = True
        length = environ.get("CONTENT_LENGTH")
        if length is not None and 0 < int(length) <= SMALL:
            future = proto()
            self._coming[future] = time.monotonic()
            future.add_done_callback(partial(self._arrived, environ, proto))
            return
        if length in (None, "0") and "HTTP_TRANSFER_ENCODING" not in environ:
            self._answer(environ, proto, b"")
            return
        environ["wsgi.input"] = Stream(self, proto, None if length is None else int(length))
        self.threads.run(_Exchange(self, environ, proto).answer)

    def _arrived(self, environ: dict[str, Any], proto: Any, future: Any) -> None:
        """Go on with a request when its body is there, late, or will never be."""
        self._coming.pop(future, None)
        if future.cancelled():
            environ["wsgi.input"] = Late()
            self._late.submit(_Exchange(self, environ, proto).answer)  # This thread is the watch.
            return
        try:
            data = future.result()
        except Exception:
            proto.response_empty(400, [])  # The client has gone, at least from its side of the connection.
            return
        self._answer(environ, proto, data)

    def _answer(self, environ: dict[str, Any], proto: Any, data: bytes) -> None:
        environ["wsgi.input"] = BytesIO(data)
        exchange = _Exchange(self, environ, proto)
        if self._is_quick(environ):
            self._quick_since = time.monotonic()
            try:
                exchange.answer(at_once=True)
                return
            except WouldWait:
                environ["wsgi.input"] = BytesIO(data)
                environ[AGAIN] = True
            finally:
                self._quick_since = None
        self.threads.run(exchange.answer)

    def _look(self) -> None:
        """Give up the bodies and the answers that are overdue."""
        time.sleep(_LOOK_EVERY_S)
        overdue_since = time.monotonic() - PATIENCE_S
        for key, (later, since) in self.working.copy().items():
            if since > overdue_since:
                break
            if self.working.pop(key, None) is not None:
                self._late.submit(later.give_up)
        began_before = time.monotonic() - (BODY_S if len(self._coming) <= CROWD else CROWDED_S)
        for future, began in self._coming.copy().items():
            if began > began_before:
                break
            future.cancel()


class _Exchange:
    """A request and its answer."""

    __slots__ = ("_environ", "_gateway", "_headers", "_proto", "_status")

    def __init__(self, gateway: Gateway, environ: dict[str, Any], proto: Any) -> None:
        self._gateway, self._environ, self._proto = gateway, environ, proto
        self._status, self._headers = "", list[tuple[str, str]]()

    def answer(self, *, at_once: bool = False) -> None:
        """Answer the request, now or later.

        Raises:
            WouldWait: it had to be ``at_once``, and that takes waiting.
        """
        try:
            if at_once:
                hurry(True)
                try:
                    parts = self._gateway.app(self._environ, self._start)
                finally:
                    hurry(False)
            else:
                parts = self._gateway.app(self._environ, self._start)
            if isinstance(parts, Later):
                self._gateway.working[id(self._proto)] = parts, time.monotonic()
                parts.begin(self._send)
                return
        except Exception as error:
            self._fail(error)
            return
        self._send(parts)

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        if self._gateway.quiet_since is not None:
            headers = [*headers, ("Connection", "close")]
        self._status, self._headers = status, headers

    def _head(self) -> tuple[int, list[tuple[str, str]]]:
        return int(self._status[:3]), self._headers

    def _send(self, parts: Iterable[bytes]) -> None:
        try:
            self._gateway.working.pop(id(self._proto), None)
            if isinstance(parts, list):
                self._proto.response_bytes(int(self._status[:3]), self._headers, b"".join(parts))
            else:
                _stream(parts, self._proto, self._head)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, RSGIProtocolClosed):
            return  # The client has gone.
        path = self._environ["PATH_INFO"][:200]
        logger.error("a request failed outside of the application", path=path, exc_info=error)
        self._proto.response_str(500, [], "internal server error")


def _stream(parts: Iterable[bytes], proto: Any, head: Callable[[], tuple[int, list[tuple[str, str]]]]) -> None:
    """Send an answer part by part. The application has called ``start_response`` when the first part is there."""
    transport = None
    try:
        for part in parts:
            if transport is None:
                transport = proto.response_stream(*head())
            # The call has sent it already. What it returns is an error when the client has gone.
            next(iter(transport.send_bytes(part)), None)
        if transport is None:
            proto.response_empty(*head())
    finally:
        if hasattr(parts, "close"):
            parts.close()


class Stream:
    """A body that its thread waits for, piece by piece."""

    def __init__(self, gateway: Gateway, proto: Any, length: int | None) -> None:
        self._gateway, self._proto, self._length = gateway, proto, length
        self._pieces: Any = None
        self._began_at = 0.0
        self._received, self._over = 0, False
        self._waiting = bytearray()

    def read(self, size: int = -1) -> bytes:
        """Read so many bytes, or all. Fewer come only at the end.

        Raises:
            RequestTimeout: the body comes too slowly.
            ClientDisconnected: it ends before its end.
        """
        self._gateway.reading += 1
        try:
            while not self._over and (size < 0 or len(self._waiting) < size):
                self._receive()
        finally:
            self._gateway.reading -= 1
        if size < 0:
            size = len(self._waiting)
        data = bytes(self._waiting[:size])
        del self._waiting[:size]
        return data

    def _receive(self) -> None:
        if self._pieces is None:
            self._pieces, self._began_at = self._proto.__aiter__(), time.monotonic()
        piece = self._next()
        self._received += len(piece)
        self._waiting += piece
        if self._length is None:
            # An empty piece is the end. Granian gives one for an error as well, and then goes on.
            self._over = not piece
            if self._over and not self._is_exhausted():
                raise ClientDisconnected("the body ends in the middle of a chunk, or has trailers")
        else:
            self._over = self._received >= self._length
            if not piece and not self._over:
                raise ClientDisconnected("the body is shorter than its Content-Length")

    def _next(self) -> bytes:
        since = time.monotonic()
        deadline = self._began_at + BODY_S + self._received / BODY_RATE
        if since > deadline:
            raise RequestTimeout
        future = self._pieces.__anext__()
        arrived: SimpleQueue[Any] = SimpleQueue()
        future.add_done_callback(arrived.put)
        while True:
            try:
                arrived.get(timeout=_LOOK_EVERY_S)
            except Empty:
                now = time.monotonic()
                if now > deadline or (self._gateway.reading > LARGE_CROWD and now > since + CROWDED_S):
                    future.cancel()
                    raise RequestTimeout from None
                continue
            piece: bytes = future.result()
            return piece

    def _is_exhausted(self) -> bool:
        try:
            self._pieces.__anext__()
        except StopAsyncIteration:
            return True
        return False


class Late:
    """A body that has not come in time. Whoever reads it learns that."""

    def read(self, size: int = -1) -> bytes:
        """Read nothing.

        Raises:
            RequestTimeout: always.
        """
        raise RequestTimeout


_BASE = {
    "SCRIPT_NAME": "",
    "SERVER_SOFTWARE": "granian",
    "wsgi.errors": sys.stderr,
    "wsgi.input_terminated": True,  # As werkzeug calls an input that ends where the body ends.
    "wsgi.multiprocess": True,
    "wsgi.multithread": True,
    "wsgi.run_once": False,
    "wsgi.version": (1, 0),
}


def environ_of(scope: Any) -> dict[str, Any]:
    """Write down a request as PEP 3333 says. A header with an underscore in its name is left out.

    ``X_Blnk_Key`` would have the name of ``X-Blnk-Key`` here, though a proxy takes them for two (CVE-2011-3187 and its kin).
    """
    server, _, server_port = scope.server.rpartition(":")
    client, _, client_port = scope.client.rpartition(":")
    path = scope.path
    environ = _BASE | {
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "SERVER_NAME": server.strip("[]"),
        "SERVER_PORT": server_port,
        "REMOTE_ADDR": client.strip("[]"),
        "REMOTE_PORT": client_port,
        "REQUEST_METHOD": scope.method,
        "PATH_INFO": path if path.isascii() else path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "wsgi.url_scheme": scope.scheme,
    }
    pairs = scope.headers.items()
    readable, names = dict(pairs), scope.headers.keys()
    if len(readable) != len(names):  # Granian leaves out a value with a byte that is not ASCII, and says nothing.
        environ[UNREADABLE] = tuple(set(names) - readable.keys())
    for header, value in pairs:
        name = _name(header)
        if name is None:
            continue
        if name in environ:
            value = f"{environ[name]}{';' if name == 'HTTP_COOKIE' else ','}{value}"
        environ[name] = value
    if "HTTP_HOST" not in environ:
        environ["HTTP_HOST"] = scope.authority or ""
    return environ


@lru_cache(maxsize=512)
def _name(header: str) -> str | None:
    """Return the name that WSGI gives to a header, or None if it must be left out."""
    if "_" in header:
        return None
    name = header.upper().replace("-", "_")
    return name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"


class _Scheduler(CallbackScheduler):
    """Calls a function for each request, in the one thread that granian has for it, without a loop of asyncio."""

    __slots__ = ()

    def __new__(cls, begin: Callable[[Any], None]) -> "_Scheduler":
        make: Any = super().__new__
        scheduler: _Scheduler = make(cls, LOOP, begin, None, None, None)
        return scheduler

    def __init__(self, begin: Callable[[Any], None]) -> None:
        super().__init__()
        self._schedule_fn = begin


class _Loop:
    """Takes the place of the loop of asyncio on which granian calls back. Here it calls at once, in its own thread."""

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> None:
        callback(*args)

    call_soon_threadsafe = call_soon


LOOP = _Loop()
"""The loop that granian is given."""
