"""Steps on a running service from outside: kill its parts, and wait for a state."""

import time
from collections.abc import Callable
from contextlib import suppress

import psutil

from ops.server.temporary import Running

WITHIN_S = 120


def kill(service: Running, part: str) -> None:
    """Kill a part, with all its children."""
    with suppress(psutil.NoSuchProcess):  # It is being started again just now.
        process = service.main(part)
        for each in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                each.kill()


def wait_until(is_so: Callable[[], bool], within_s: float = WITHIN_S) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)
