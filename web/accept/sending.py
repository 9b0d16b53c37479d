"""Sends the answers of a group one right after the other.

An answer that is handed to the server wakes its thread. Those that come while it is awake do not, which costs all of them less.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

import structlog

Parts = Iterable[bytes]
Send = Callable[[Parts], None]

logger = structlog.get_logger()


class Waiting(Protocol):
    """A request that waits for work which is done for several."""

    ended: Callable[[], None]
    """It is called once, when that work has ended."""


def nothing() -> None:
    """Stand for the call of a request that goes on already."""


class _Thread(threading.local):
    kept: list[tuple[Send, Parts]] | None = None


_thread = _Thread()


@contextmanager
def together() -> Iterator[None]:
    """Keep the answers that this thread makes in the block, and send them at its end."""
    before, kept = _thread.kept, list[tuple[Send, Parts]]()
    _thread.kept = kept
    try:
        yield
    finally:
        _thread.kept = before
        for send, parts in kept:
            try:
                send(parts)
            except Exception:
                logger.exception("an answer could not be sent")


def let_go_on(group: Iterable[Waiting], after: str) -> None:
    """Let the requests of a group go on, and send their answers together. ``after`` names what they waited for, for the log."""
    with together():
        for each in group:
            ended, each.ended = each.ended, nothing  # The request knows this object too.
            try:
                ended()
            except Exception:
                logger.exception(f"a request could not go on after its {after}")


def send_now_or_together(send: Send, parts: Parts) -> None:
    """Send an answer, or keep it if this thread is in a block of ``together``."""
    if _thread.kept is None:
        send(parts)
    else:
        _thread.kept.append((send, parts))
