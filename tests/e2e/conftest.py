"""The whole service as an operator starts it, in processes of its own, once for all tests here that ask for it."""

import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from core.base.environment import variables
from tests.harness.keys import HEADERS, KEY
from tests.harness.sharing import shared

READY_WITHIN_S = 120
STOPPED_WITHIN_S = 60
NOT_SHOWN = ("Memory overcommit", "Python threads", "superuser privileges", "WARNING")
"""Texts of warnings that a newcomer cannot act on. The lines of a start have none of them."""


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the service, which all test processes share. It is stopped before other tests, as it is never quite idle."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with shared(folder / "service", partial(_running, tmp_path_factory.mktemp("data"))) as url:
        yield url


@contextmanager
def _running(data: Path) -> Iterator[str]:
    """Start the service. At the end, stop it, and check that it exits with 0 and leaves nothing behind."""
    command = [sys.executable, "-m", "ops.cli", "up", "--port", "0", "--data", str(data)]
    # The settings of whoever runs the tests may name other servers.
    env = {name: value for name, value in os.environ.items() if name not in _SETTINGS} | {"PACIOLI_SECRET_KEY": KEY}
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    log = _Log(process)
    parts: set[psutil.Process] = set()
    try:
        url = log.ready()
        assert not [text for text in NOT_SHOWN if text in log.text()], log.text()
        parts |= set(psutil.Process(process.pid).children(recursive=True))
        yield url
        parts |= set(psutil.Process(process.pid).children(recursive=True))
        process.send_signal(signal.SIGTERM)
        status = process.wait(STOPPED_WITHIN_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        left = [part for part in parts if part.is_running() and part.status() != psutil.STATUS_ZOMBIE]
        for part in left:
            part.kill()
        log.close()
    assert status == 0, log.text()
    assert not left


@pytest.fixture
def http(service: str) -> Iterator[Callable[..., Any]]:
    """``http("POST", "/transactions", 201, json=...)``: the JSON of an answer that has this status."""
    with requests.Session() as session:
        session.headers.update(HEADERS)

        def call(method: str, path: str, status: int = 200, **arguments: Any) -> Any:
            response = session.request(method, service + path, timeout=30, **arguments)
            assert response.status_code == status, response.text
            return response.json()

        yield call


_SETTINGS = {variable.name for variable in variables().values()}


class _Log:
    """Reads what the service prints, so that it never blocks on a full pipe, and keeps the end of it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self._stdout = process.stdout
        self._lines: deque[str] = deque(maxlen=200)
        self._ready: queue.Queue[str] = queue.Queue()
        self._thread = threading.Thread(target=self._read, name="log of the service", daemon=True)
        self._thread.start()

    def ready(self) -> str:
        try:
            url = self._ready.get(timeout=READY_WITHIN_S)
        except queue.Empty:
            url = ""
        assert url, f"it was not ready within {READY_WITHIN_S} s, or ended:\n{self.text()}"
        return url

    def text(self) -> str:
        return "".join(self._lines.copy())

    def close(self) -> None:
        self._thread.join(timeout=10)
        self._stdout.close()

    def _read(self) -> None:
        for line in self._stdout:
            self._lines.append(line)
            if line.startswith("ready http"):
                self._ready.put(line.split()[1])
        self._ready.put("")
