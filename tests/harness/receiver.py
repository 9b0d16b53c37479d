"""A receiver of webhooks, over real sockets: quick, slow, hanging, talkative, failing, moved, gone, or not there at all."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from standardwebhooks import Webhook

from tests.harness.processes import wait_until


class Got(NamedTuple):
    """One request that a receiver got."""

    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def event(self) -> str:
        return str(json.loads(self.body)["event"])

    @property
    def data(self) -> Any:
        return json.loads(self.body)["data"]

    @property
    def event_id(self) -> str:
        return self.headers["x-blnk-event-id"]

    @property
    def attempt(self) -> int:
        return int(self.headers["x-blnk-attempt"])

    def verify(self, secret: str) -> None:
        """Check the signature as a receiver does who uses the library.

        Raises:
            WebhookVerificationError: it is not that of the secret.
        """
        Webhook(secret).verify(self.body, self.headers)


class Handler(BaseHTTPRequestHandler):
    """Notes a request, and answers as the receiver says."""

    protocol_version = "HTTP/1.1"
    server: "_Server"

    def setup(self) -> None:
        super().setup()
        self.server.connections.append(self.connection)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        got = Got({name.lower(): value for name, value in self.headers.items()}, body, time.monotonic())
        self.server.receiver.got.append(got)
        self.server.receiver.answer(self, got)

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    receiver: "Receiver"
    connections: list[socket.socket]
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Say nothing. A client that gives up closes its connection."""


Answer = Callable[[Handler, Got], None]


def ok(handler: Handler, _: Got) -> None:
    handler.say(200)


def status(number: int, **headers: str) -> Answer:
    return lambda handler, _: handler.say(number, **headers)


class Receiver:
    """A receiver on a port of its own. ``answer`` can be replaced at any time."""

    def __init__(self, answer: Answer = ok) -> None:
        self.answer = answer
        self.got: list[Got] = []
        self.released = threading.Event()
        """A hanging answer waits for it."""
        self._port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/hooks"

    def start(self) -> None:
        """Listen on the same port as before."""
        self._server = _Server(("127.0.0.1", self._port), Handler)
        self._server.receiver, self._server.connections = self, []
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Listen no longer, as if it was killed."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        for each in self._server.connections:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def hang(self, _: Handler, __: Got) -> None:
        """Answer nothing until the end."""
        self.released.wait(60)

    def wait_for(self, count: int, within_s: float = 30.0) -> list[Got]:
        """Wait until so many requests came, and return all."""
        wait_until(lambda: len(self.got) >= count, within_s)
        return self.got

    def ids(self) -> list[str]:
        return [each.event_id for each in self.got]


@contextmanager
def receiving(answer: Answer = ok) -> Iterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver(answer)
    try:
        yield receiver
    finally:
        receiver.stop()
