"""``pacioli docs`` serves the book until it is stopped."""

import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress

import psutil
import pytest

from tests.harness.pages import ROOT


def test_a_signal_stops_the_server_of_the_book_too() -> None:
    pytest.importorskip("zensical")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "ops.cli", "docs", "--port", str(port)]
    family: list[psutil.Process] = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as served:
        try:
            assert served.stdout is not None
            assert any(re.search("Serving|Build started", line) for line in served.stdout)
            family = [psutil.Process(served.pid), *psutil.Process(served.pid).children(recursive=True)]
            served.send_signal(signal.SIGTERM)
            assert psutil.wait_procs(family, timeout=30)[1] == []
        finally:
            for process in family or [psutil.Process(served.pid)]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
