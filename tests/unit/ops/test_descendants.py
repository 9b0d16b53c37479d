"""The supervisor finds the processes below it, and those that a signal has stopped."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from ops.server import descendants
from ops.server.descendants import Descendant

# A thread starts the grandchild, because Linux keeps the children of each thread apart.
FAMILY = """
import subprocess, sys, threading
def start():
    global child
    child = subprocess.Popen([sys.executable, "-c", "print('a) T b', flush=True); input()"], stdin=subprocess.PIPE)
thread = threading.Thread(target=start)
thread.start()
input()
"""


@pytest.fixture
def family() -> Iterator[tuple[int, int]]:
    """Start a child and a grandchild, and return their IDs."""
    with subprocess.Popen([sys.executable, "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        (grandchild,) = psutil.Process(child.pid).children()
        yield child.pid, grandchild.pid
        grandchild.kill()
        child.kill()


@pytest.mark.parametrize("kernel_tells", [True, False])
def test_a_grandchild_that_is_stopped_is_seen(
    family: tuple[int, int], monkeypatch: pytest.MonkeyPatch, kernel_tells: bool
) -> None:
    if kernel_tells and not descendants._kernel_tells():
        pytest.skip("this kernel does not list children")
    monkeypatch.setattr(descendants, "_kernel_tells", lambda: kernel_tells)
    child, grandchild = family

    def seen() -> list[Descendant]:
        return [each for each in descendants.descendants() if each.pid in family]

    assert seen() == [(child, os.getpid(), False), (grandchild, child, False)]
    os.kill(grandchild, signal.SIGSTOP)
    while psutil.Process(grandchild).status() != psutil.STATUS_STOPPED:
        pass
    assert seen() == [(child, os.getpid(), False), (grandchild, child, True)]
