"""Threads of a worker's main process, which forks its children, and of beat."""

import os
import threading
import time
from collections.abc import Callable
from weakref import WeakSet

import structlog

from core.base.errors import TransientError
from core.base.threads import Loop

FORK_WAIT_S = 2.0
"""A fork waits at most so long for steps to end. A step that takes longer waits for a socket, and holds no lock."""

AWAY_PAUSE_S = 1.0
"""The pause after a step that found the database busy or gone."""

logger = structlog.get_logger()


class Watch(Loop):
    """Runs a step again and again, as ``Loop`` does, with the pauses that the step returns, in one process alone.

    No child has this thread. A fork waits for the end of a step, because it copies every lock as it is: the child would
    wait for ever for a lock of a pool that the thread held at that moment.
    """

    def __init__(self, name: str, step: Callable[[], float]) -> None:
        self.in_step = threading.Lock()
        self._call = step
        self._ended = threading.Event()
        self._is_away = False
        _all.add(self)
        super().__init__(name, self._turn, wake=self._ended.set)

    def forked(self) -> None:
        """Leave the thread to the parent process."""

    def _turn(self) -> None:
        with self.in_step:
            try:
                pause_s, self._is_away = self._call(), False
            except TransientError as error:
                pause_s, was_away, self._is_away = AWAY_PAUSE_S, self._is_away, True
                if not was_away:
                    logger.warning("a thread waits for the database", thread=self.name, error=repr(error.__cause__))
        self._ended.wait(pause_s)


_all: "WeakSet[Watch]" = WeakSet()
_held: list[threading.Lock] = []


def _before_fork() -> None:
    deadline = time.monotonic() + FORK_WAIT_S
    for each in list(_all):
        if each.in_step.acquire(timeout=max(0.0, deadline - time.monotonic())):
            _held.append(each.in_step)


def _after_fork() -> None:
    while _held:
        _held.pop().release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
