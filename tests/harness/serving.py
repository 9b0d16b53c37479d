"""The web server in processes of its own, and clients that are slow, many, or both."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import MappingProxyType

import psutil

ROOT = Path(__file__).parents[2]
WITHIN_S = 60.0


class Served:
    """A web server on a socket that this process keeps open. ``env`` adds to its environment."""

    def __init__(
        self,
        app: str = "tests.harness.stub_app:create_app",
        *,
        options: Sequence[str] = (),
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self.listener.getsockname()[1]
        self._command = [sys.executable, "-m", "web.serve", "--fd", str(self.listener.fileno()), "--app", app, *options]
        self._env = {**os.environ, "PACIOLI_INSECURE": "on", **env}
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self._command, cwd=ROOT, env=self._env, pass_fds=[self.listener.fileno()], start_new_session=True
        )

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def wait_until_both_answer(self) -> None:
        """Wait for two web processes that have both answered."""
        answered: set[int] = set()
        deadline = time.monotonic() + WITHIN_S
        while len(answered & {each.pid for each in self.workers()}) < 2:
            assert time.monotonic() < deadline
            answered.add(int(self.get("/pid")))

    def get(self, path: str, timeout_s: float = WITHIN_S) -> bytes:
        """GET over a new connection.

        Raises:
            OSError, HTTPException: there was no answer.
        """
        connection = HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            assert answer.status == 200
            return answer.read()
        finally:
            connection.close()

    def connect(self, head: bytes) -> socket.socket:
        """Open a connection and send the start of a request."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=WITHIN_S)
        client.sendall(head)
        return client

    def stop(self, signum: int = signal.SIGTERM) -> int:
        self.process.send_signal(signum)
        return self.process.wait(WITHIN_S)

    def close(self) -> None:
        self.listener.close()
        if self.process.poll() is None:
            left = self.workers()
            self.process.kill()
            self.process.wait()
            for each in left:
                with suppress(psutil.NoSuchProcess):
                    each.kill()


@contextmanager
def load(served: Served, clients: int = 6, *, posts: bool = False) -> Iterator[Counter[str]]:
    """Send GETs from many clients, each over a new connection, while the block runs, and count the outcomes.

    With ``posts`` each client sends POSTs over one connection, until an answer says that it ends.
    """
    outcomes: Counter[str] = Counter()
    is_over = threading.Event()

    def send() -> None:
        connection = HTTPConnection("127.0.0.1", served.port, timeout=WITHIN_S)
        while not is_over.is_set():
            try:
                if posts:
                    connection.request("POST", "/body", b"a body")
                    assert connection.getresponse().read() == b"6"
                else:
                    served.get("/pid")
                outcomes["answered"] += 1
            except (OSError, HTTPException) as error:
                outcomes[type(error).__name__] += 1
                connection.close()
                is_over.wait(0.01)
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield outcomes
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


@contextmanager
def fed_slowly(clients: list[socket.socket]) -> Iterator[None]:
    """Send a byte a second to each of these, and close them at the end."""
    is_over = threading.Event()

    def feed() -> None:
        while not is_over.wait(1.0):
            for client in clients:
                with suppress(OSError):
                    client.sendall(b"x")

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        for client in clients:
            client.close()
