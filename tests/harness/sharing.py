"""One of something for all test processes, however many pytest-xdist has started."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path


@contextmanager
def shared(folder: Path, start: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """Yield the string that ``start`` yields, the same one in all processes that name this folder.

    The first process that asks starts it. The same process stops it when nobody uses it any more. A user holds a shared
    lock, which ends with its process; the value is removed only under the exclusive one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    value = folder / "value"
    with ExitStack() as owner, ExitStack() as user:
        with _locked(folder / "start", fcntl.LOCK_EX):
            user.enter_context(_locked(folder / "users", fcntl.LOCK_SH))
            if not value.exists():
                value.write_text(owner.enter_context(start()))
                owner.callback(_wait_until_unused, folder)
            found = value.read_text()
        yield found


def _wait_until_unused(folder: Path) -> None:
    with _locked(folder / "users", fcntl.LOCK_EX):
        (folder / "value").unlink()


@contextmanager
def _locked(file: Path, how: int) -> Iterator[None]:
    with file.open("w") as lock:
        fcntl.flock(lock, how)
        yield
