"""One of something for all test processes, however many pytest-xdist has started."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import psutil


@contextmanager
def shared(folder: Path, start: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """What ``start`` gives, in a folder that all processes know.

    The first who asks starts it. The same one stops it, when nobody uses it any more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    value, user = folder / "value", folder / f"user-{os.getpid()}-{uuid4()}"
    with ExitStack() as stack:
        with _locked(folder):
            if not value.exists():
                value.write_text(stack.enter_context(start()))
                stack.callback(_wait_until_unused, folder)
            user.touch()
            found = value.read_text()
        try:
            yield found
        finally:
            user.unlink()


def _wait_until_unused(folder: Path) -> None:
    while True:
        with _locked(folder):
            users = [int(user.name.split("-")[1]) for user in folder.glob("user-*")]
            if not any(map(psutil.pid_exists, users)):
                (folder / "value").unlink()
                return
        time.sleep(0.05)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
