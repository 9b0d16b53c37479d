"""The CPU time of a part of the service includes its children's."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from ops.proving.cpu import Cost, metered

BURN_S = 0.2
PARENT = f"""
import subprocess, sys
for _ in sys.stdin:
    burn = "import time\\nwhile time.process_time() < {BURN_S}: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    print("done", flush=True)
"""


@pytest.fixture
def parent() -> Iterator["subprocess.Popen[str]"]:
    """A process that lets a child burn CPU time for each line that it is sent."""
    process = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        yield process
        process.kill()


def _burn(parent: "subprocess.Popen[str]") -> None:
    assert parent.stdin is not None
    assert parent.stdout is not None
    print("burn", file=parent.stdin, flush=True)
    assert parent.stdout.readline() == "done\n"


def test_a_child_that_has_ended_counts(parent: "subprocess.Popen[str]") -> None:
    _burn(parent)
    with metered({"web": parent.pid}) as cost:
        _burn(parent)
    assert BURN_S * 0.9 < cost.by_part["web"] < 10


def test_of_the_supervisor_only_its_own_time_counts(parent: "subprocess.Popen[str]") -> None:
    with metered({"pacioli": parent.pid}) as cost:
        _burn(parent)
    assert cost.by_part["pacioli"] < BURN_S * 0.9


def test_a_part_that_is_gone_costs_nothing(parent: "subprocess.Popen[str]") -> None:
    with metered({"web": parent.pid}) as cost:
        parent.kill()
        parent.wait()
    assert cost.by_part["web"] == 0


def test_shares_are_of_the_whole_and_leave_out_who_did_nothing() -> None:
    cost = Cost(seconds=2.0, by_part={"redis": 0.0, "web": 1.0, "postgres": 3.0})
    assert cost.us_a_row(1000) == 4000
    assert list(cost.shares().items()) == [("postgres", 0.75), ("web", 0.25)]
