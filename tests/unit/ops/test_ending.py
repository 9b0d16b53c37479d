"""A long command says how it ended, whatever ended it."""

import os
import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys, time
from ops.proving.ending import watch_over
watch_over(lambda text: print(f"said: {{text}}", flush=True))
try:
    print(os.getpid(), flush=True)
    {work}
finally:
    print("stopped in order", flush=True)
"""


def start(work: str) -> "tuple[subprocess.Popen[str], int]":
    """Start a command whose child does some work. Returns it, and the child."""
    process = subprocess.Popen([sys.executable, "-c", PROGRAM.format(work=work)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def rest_of(process: "subprocess.Popen[str]") -> str:
    """Read what it says until its end, with what came in one piece with its first line."""
    assert process.stdout is not None
    with process:
        return process.stdout.read()


@pytest.mark.parametrize("status", [0, 1])
def test_one_that_ends_by_itself_has_its_status_and_nothing_more_to_say(status: int) -> None:
    process, child = start(f"sys.exit({status})")
    assert (rest_of(process), process.returncode) == ("stopped in order\n", status)
    assert child != process.pid


def test_a_kill_is_told_with_what_may_have_done_it() -> None:
    process, child = start("time.sleep(60)")
    os.kill(child, signal.SIGKILL)
    said = rest_of(process)
    assert "said: it was ended by SIGKILL" in said and "too little memory" in said
    assert process.returncode == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_ended_stops_what_it_started_and_says_so(number: signal.Signals) -> None:
    process, child = start("time.sleep(60)")
    process.send_signal(number)
    said = rest_of(process)
    assert said == f"stopped in order\nsaid: it ended before its end, with status {128 + number}\n"
    assert process.returncode == 128 + number
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_an_error_has_its_trace_and_its_status() -> None:
    process, _ = start("1 / 0")
    assert (rest_of(process), process.returncode) == ("stopped in order\n", 1)
