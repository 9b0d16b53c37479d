"""Runs the whole service for a while in a temporary folder, as ``pacioli up`` does."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import psutil

from core.base.environment import names
from ops.server.keys import API_KEY_FILE

_OWN = set(names())


def without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Copy an environment, and leave out the variables that name servers of somebody else."""
    return {name: value for name, value in environ.items() if name not in _OWN}


@dataclass
class Running:
    """A running service that answers."""

    url: str
    data: Path
    process: "subprocess.Popen[bytes]"
    log_before: int = 0
    """The bytes that the log had already, from services that ran in the folder before."""

    @property
    def state(self) -> dict[str, Any]:
        """The state file of ``pacioli up``: its URLs, and the ids of its processes."""
        state: dict[str, Any] = json.loads((self.data / "state.json").read_text())
        return state

    def main(self, part: str) -> psutil.Process:
        """Find the main process of a part.

        Raises:
            psutil.NoSuchProcess, OSError, KeyError, ValueError: it is being started just now.
        """
        found = psutil.Process(self.state["pids"][part])
        if found.ppid() != self.process.pid:  # Its number belongs to somebody else by now.
            raise psutil.NoSuchProcess(found.pid)
        return found

    @property
    def key(self) -> str | None:
        """The key that each request needs. None means a release that makes none."""
        path = self.data / API_KEY_FILE
        return path.read_text().strip() if path.exists() else None

    @property
    def headers(self) -> dict[str, str]:
        """The headers that each request needs."""
        return {"X-Blnk-Key": self.key} if self.key else {}

    @property
    def log(self) -> str:
        return (self.data.parent / "log").read_bytes()[self.log_before :].decode()


@contextmanager
def running(
    folder: Path,
    *options: str,
    checkout: Path | None = None,
    settings: Mapping[str, str] | None = None,
    output: int | None = None,
) -> Iterator[Running]:
    """Start everything under ``folder``, on a free port, and stop it at the end. ``checkout`` is another one to run.

    ``settings`` are variables for it. It writes to the descriptor ``output``, whose reader sees that ``folder/log`` gets it.

    Raises:
        click.ClickException: it did not start, with the end of its log; or did not stop cleanly.
    """
    environ = without_settings(os.environ) | dict(settings or {})
    data = folder / "data"
    python = str(checkout.resolve() / ".venv" / "bin" / "python") if checkout else sys.executable
    command = [python, "-m", "ops.cli", "up", "--port", "0", "--data", str(data), *options]
    with (folder / "log").open("ab") as log:
        log_before = log.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            command, cwd=checkout, env=environ, stdout=log if output is None else output, stderr=subprocess.STDOUT
        )
        service = Running("", data, process, log_before)
        try:
            deadline = time.monotonic() + 120
            while not (ready := [line for line in service.log.splitlines() if line.startswith("ready ")]):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise click.ClickException(f"the service did not start:\n{service.log[-2000:]}")
                time.sleep(0.1)
            service.url = ready[0].split()[1]
            yield service
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(90)
    if process.returncode:
        raise click.ClickException(f"the service ended with status {process.returncode}:\n{service.log[-2000:]}")
