"""Profiles of the parts of a running service, by py-spy, which samples a process from outside."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

UNSEEN = ("postgres", "redis", "pacioli")
"""Parts that are no Python, or that do no work of their own."""


@contextmanager
def profiled(pids: Mapping[str, int], folder: Path) -> Iterator[None]:
    """Sample each part with its children while the block runs, and write ``folder/PART.speedscope.json`` for each.

    Raises:
        click.ClickException: py-spy is missing, or may not look into the processes.
    """
    found = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if found is None:
        raise click.ClickException("--profile needs py-spy: python -m pip install 'pacioli[profile]'")
    folder.mkdir(parents=True, exist_ok=True)
    options = [found, "record", "--subprocesses", "--nonblocking", "--format", "speedscope", "--rate", "100"]
    watching = {
        part: subprocess.Popen(
            [*options, "--pid", str(pid), "--output", str(folder / f"{part}.speedscope.json")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for part, pid in pids.items()
        if part not in UNSEEN
    }
    try:
        yield
    finally:
        for watcher in watching.values():
            watcher.send_signal(signal.SIGINT)
        told = {part: watcher.communicate(timeout=60)[1] for part, watcher in watching.items()}
    missing = [part for part in watching if not (folder / f"{part}.speedscope.json").exists()]
    if missing:
        last = told[missing[0]].strip().splitlines()[-1:]
        raise click.ClickException(f"py-spy wrote no profile of {', '.join(missing)}: {' '.join(last)}")
