"""A receiver of webhooks that notes each event, and refuses some of them the first time."""

import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

REFUSED = 0.02
"""The share of events that it answers 503 at first. They must come again."""


class Receiver:
    """Listens on a free local port."""

    def __init__(self, dice: random.Random) -> None:
        self.ids: set[str] = set()
        """The IDs of the events that it took."""
        self.refused: set[str] = set()
        self.dice = dice
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.receiver = self
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    receiver: Receiver


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        receiver, id = self.server.receiver, self.headers["X-Blnk-Event-Id"]
        takes = id in receiver.refused or receiver.dice.random() >= REFUSED
        (receiver.ids if takes else receiver.refused).add(id)
        self.send_response(200 if takes else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
