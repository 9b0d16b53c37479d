"""Lists the processes that this one has started, and those that they have."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import psutil


class Descendant(NamedTuple):
    """A process that descends from this one."""

    pid: int
    parent: int
    is_stopped: bool
    """Whether a signal has stopped it."""


def descendants() -> list[Descendant]:
    """List the descendants of this process, parents before their children.

    Linux tells the children of each thread. So a look costs by our own processes, and not by all of the machine's, which psutil
    reads. One that is started or ends at this moment may be left out.
    """
    return list(_walk(os.getpid()) if _kernel_tells() else _search())


@cache
def _kernel_tells() -> bool:
    return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").exists()


def _walk(parent: int) -> Iterator[Descendant]:
    with suppress(OSError):  # It has just ended.
        threads = os.listdir(f"/proc/{parent}/task")
        for pid in [int(pid) for thread in threads for pid in _read(f"/proc/{parent}/task/{thread}/children").split()]:
            # The name before it may have spaces and brackets.
            state = _read(f"/proc/{pid}/stat").rpartition(b") ")[2][:1]
            yield Descendant(pid, parent, is_stopped=state == b"T")
            yield from _walk(pid)


def _read(path: str) -> bytes:
    """Read a small file of the kernel. One of a process that has just ended is empty."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return os.read(descriptor, 65_536)
        finally:
            os.close(descriptor)
    return b""


def _search() -> Iterator[Descendant]:
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            yield Descendant(process.pid, process.ppid(), process.status() == psutil.STATUS_STOPPED)
