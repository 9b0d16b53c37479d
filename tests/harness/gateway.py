"""Granian in this process, so that a test can change the limits of the gateway."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from typing import Any

from granian._granian import RSGIWorker, SocketHolder, WorkerSignal
from granian.http import HTTP1Settings

from web.gateway import LOOP, Gateway, Wsgi

WITHIN_S = 60.0


class Door:
    """A listening gateway."""

    def __init__(self, port: int, gateway: Gateway) -> None:
        self.port, self.gateway = port, gateway

    def connect(self, data: bytes = b"", host: str = "127.0.0.1") -> socket.socket:
        client = socket.create_connection((host, self.port), timeout=WITHIN_S)
        client.sendall(data)
        return client

    def ask(self, data: bytes) -> tuple[int, bytes]:
        """Send a request over a new connection, and return the status and the body of the answer."""
        with self.connect(data) as client:
            return read(client)


def read(client: socket.socket) -> tuple[int, bytes]:
    """Read an answer."""
    with HTTPResponse(client) as answer:
        answer.begin()
        return answer.status, answer.read()


@contextmanager
def serving(app: Wsgi, *, family: socket.AddressFamily = socket.AF_INET) -> Iterator[Door]:
    """Serve an application while the block runs."""
    address = "::1" if family is socket.AF_INET6 else "127.0.0.1"
    with socket.create_server((address, 0), family=family, backlog=2048) as listener:
        port: int = listener.getsockname()[1]
        hold: Any = SocketHolder
        make: Any = RSGIWorker
        stopping = WorkerSignal()
        worker = make(
            worker_id=1,
            sock=(None, hold(listener.detach(), False, 2048)),
            ipc=None,
            py_threads=1,
            backpressure=4096,
            http_mode="1",
            http1_opts=HTTP1Settings(header_read_timeout=3000),
            websockets_enabled=False,
            ssl_enabled=False,
            ssl_cert=None,
            ssl_key=None,
            ssl_protocol_min="tls1.2",
            ssl_crl=[],
            metrics=(None, None),
        )
        gateway = Gateway(app, getattr(app, "is_quick", lambda environ: False))
        worker.serve_mtr(gateway.scheduler(), LOOP, stopping)
        try:
            yield Door(port, gateway)
        finally:
            stopping.set()
