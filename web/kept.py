"""Keeps a costly answer for some seconds, and reads it anew while the old one is still given.

So whoever asks often waits for it once. An answer says in ``Age`` how old it is.
"""

import threading
import time
from collections.abc import Callable, Hashable
from contextvars import copy_context
from typing import Generic, NamedTuple, TypeVar

import structlog

T = TypeVar("T")

KEPT_S = 10.0
"""An answer is kept for so long, or for ``SHARE`` times as long as it took."""

SHARE = 20
"""Reading an answer that is asked for all the time takes one part in so many of a core, at most."""

_RENEWED_AFTER = 0.5
"""After this part of its time, an answer is read anew beside the request that gets the old one."""

_MOST = 64
"""So many keys have a kept answer."""

logger = structlog.get_logger()


class _Answer(NamedTuple, Generic[T]):
    found: T
    read_at: float
    """The monotonic clock when reading it began."""
    kept_s: float


class Kept(Generic[T]):
    """The answers of one question, by a key that says for whom. Only those are kept that ``is_costly`` says are."""

    def __init__(self, is_costly: Callable[[T], bool]) -> None:
        self._is_costly = is_costly
        self._lock = threading.Lock()
        self._answers: dict[Hashable, _Answer[T]] = {}
        self._renewing: set[Hashable] = set()

    def get(self, key: Hashable, read: Callable[[], T]) -> tuple[T, float]:
        """Return an answer and its age in seconds. ``read`` reads it, in this thread or later in another.

        Raises:
            Exception: whatever ``read`` raises in this thread.
        """
        with self._lock:
            kept = self._answers.get(key)
            age_s = 0.0 if kept is None else time.monotonic() - kept.read_at
            if kept is not None and age_s < kept.kept_s:
                if age_s > kept.kept_s * _RENEWED_AFTER and key not in self._renewing:
                    self._renewing.add(key)
                    context = copy_context()
                    threading.Thread(target=context.run, args=(self._renew, key, read), daemon=True).start()
                return kept.found, age_s
        return self._read(key, read), 0.0

    def _read(self, key: Hashable, read: Callable[[], T]) -> T:
        began = time.monotonic()
        found = read()
        took_s = time.monotonic() - began
        with self._lock:
            if (kept := self._answers.get(key)) is not None and kept.read_at > began:
                return found  # Whoever asks next must not get an older answer than somebody had before.
            self._answers.pop(key, None)
            if self._is_costly(found):
                if len(self._answers) >= _MOST:
                    self._answers.clear()
                self._answers[key] = _Answer(found, began, max(KEPT_S, SHARE * took_s))
        return found

    def _renew(self, key: Hashable, read: Callable[[], T]) -> None:
        try:
            self._read(key, read)
        except Exception as error:
            logger.warning("an answer was not read anew", error=type(error).__name__)
        finally:
            with self._lock:
                self._renewing.discard(key)
