"""`pacioli bench --profile` writes what each part did."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ops.proving.profiling import profiled
from tests.harness.programs import missing_program

BUSY = "def busy():\n    while True: sum(range(1000))\nprint('on', flush=True)\nbusy()"


@pytest.fixture
def busy() -> Iterator[int]:
    """The ID of a process that works in a function named busy."""
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def test_a_profile_names_the_functions_of_a_part(busy: int, tmp_path: Path) -> None:
    try:
        with profiled({"worker": busy, "postgres": busy}, tmp_path):
            time.sleep(1.5)  # py-spy tells nobody when it has begun.
    except click.ClickException as error:
        if "ermission" in error.message:
            missing_program("py-spy, with the right to look into other processes")
        raise
    assert [path.name for path in tmp_path.iterdir()] == ["worker.speedscope.json"]
    frames = json.loads((tmp_path / "worker.speedscope.json").read_text())["shared"]["frames"]
    assert "busy" in {frame["name"].split(" ")[0] for frame in frames}


def test_a_part_that_is_gone_is_named(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    with pytest.raises(click.ClickException, match="no profile of web"), profiled({"web": ended.pid}, tmp_path):
        pass
