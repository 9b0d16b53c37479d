"""Sends the answers of a group one right after the other.

An answer that is handed to the server wakes its thread. Those that come while it is awake do not, which costs all of them less.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import structlog

Parts = Iterable[bytes]
Send = Callable[[Parts], None]

logger = structlog.get_logger()


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


def send_now_or_together(send: Send, parts: Parts) -> None:
    """Send an answer, or keep it if this thread is in a block of ``together``."""
    if _thread.kept is None:
        send(parts)
    else:
        _thread.kept.append((send, parts))
