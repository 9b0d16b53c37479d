"""A worker and beat as real processes on a test's database, with a Redis of their own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from core.base.environment import names

_SETTINGS = set(names())


class Part:
    """A running process of Celery, in a folder of its own."""

    def __init__(
        self, folder: Path, arguments: list[str], env: dict[str, str], clock_off_s: float, app: str = "worker.app"
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log_file = folder / "log"
        inherited = {name: value for name, value in os.environ.items() if name not in _SETTINGS}
        root = str(Path(__file__).parents[2])
        own = {"PYTHONPATH": root, "PYTHONUNBUFFERED": "1"}
        if clock_off_s:
            wrong_clock = Path(__file__).parent / "wrong_clock"
            own |= {"PYTHONPATH": f"{wrong_clock}{os.pathsep}{root}", "CLOCK_OFF_S": str(clock_off_s)}
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "--quiet", "--workdir", root, "-A", app, *arguments],
                cwd=folder,
                env=inherited | env | own,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    @property
    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill(self) -> None:
        """Kill the process and its children, frozen ones too."""
        if self.process.poll() is None:
            for each in self.children:
                each.kill()
            self.process.kill()
        self.process.wait(60)

    def stop(self) -> int:
        """Ask the process to stop, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def worker(
    folder: Path, env: dict[str, str], *, children: int = 1, clock_off_s: float = 0, app: str = "worker.app"
) -> Iterator[Part]:
    """Run a worker. ``env`` has its settings, and the clock of its host is ``clock_off_s`` ahead."""
    arguments = ["worker", "--concurrency", str(children), "--without-mingle", "--without-gossip", "--loglevel", "INFO"]
    yield from _running(Part(folder, arguments, env, clock_off_s, app))


@contextmanager
def beat(folder: Path, env: dict[str, str], *, clock_off_s: float = 0) -> Iterator[Part]:
    """Run beat."""
    yield from _running(Part(folder, ["beat", "--loglevel", "WARNING"], env, clock_off_s))


def _running(part: Part) -> Iterator[Part]:
    try:
        yield part
    finally:
        part.kill()
