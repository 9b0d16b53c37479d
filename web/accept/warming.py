"""Reads balances ahead of the requests that will name them, so that a POST rarely has to look one up.

A look-up costs a request more CPU time than all else that it does in Python. So the first name that a process does not know
makes this thread read the newest balances, and later ones make it read those that were created since.
"""

import threading
import time

from core.base.errors import TransientError
from core.base.threads import Loop
from core.ledger.directory import Directory

APART_S = 1.0
"""The least time between two readings. A name that is in no balance is a reason for one too."""


class Warming:
    """Keeps the directory of a web process warm. It sleeps while all names are known."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._missed = threading.Event()
        directory.missed = self.wake
        self.loop = Loop("balances ahead", self._step, after_fork=self._forked, wake=self.wake)

    def wake(self) -> None:
        """Read ahead soon. The call returns at once."""
        if not self._missed.is_set():
            self._missed.set()
            self.loop.ensure()

    def _forked(self) -> None:
        self._missed = threading.Event()

    def _step(self) -> None:
        self._missed.wait()
        self._missed.clear()
        try:
            while not self.loop.is_stopped and self._directory.warm():
                pass
        except TransientError:  # Requests that look a name up find the database away by themselves.
            pass
        time.sleep(APART_S)
