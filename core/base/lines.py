"""Writes the lines of a log without ever making their writer wait or fail.

A thread of its own writes, so a full pipe whose reader stands still holds up no request. Past a bound, and while a write
fails (a full disk, a closed pipe), lines are dropped. When writing works again, a line says how many were lost.
"""

import atexit
import io
import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import TextIO
from weakref import WeakSet

WAITING_MAX = 5_000
"""So many lines may wait for the thread. Further ones are dropped and counted."""

_PIECE = 65_536
"""The thread gathers about so many bytes for one write, which is what a pipe holds."""

EXIT_S = 1.0
"""A process that ends gives its last lines so long to go out."""


class Lines:
    """Writes lines to a stream. A stream without a file descriptor, as tests use, is written to at once.

    ``lost`` makes the line that says how many lines were dropped.
    """

    def __init__(self, stream: TextIO | None, lost: Callable[[int], str]) -> None:
        self._stream = stream
        self._lost_line = lost
        self._lost = 0
        self._is_torn = False
        self._lock = threading.Lock()
        self._waiting: SimpleQueue[bytes | threading.Event] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._descriptor = _descriptor(stream)
        _open.add(self)

    def write(self, line: str) -> None:
        """Write a line, which has no newline at its end. The call returns at once and never fails."""
        if self._descriptor is None:
            with suppress(OSError, ValueError, AttributeError):
                print(line, file=self._stream, flush=True)
        elif self._waiting.qsize() < WAITING_MAX and self._runs():
            self._waiting.put(_bytes(line))
        else:
            self._count(1)

    def flush(self, timeout_s: float = EXIT_S) -> bool:
        """Wait until the lines so far are written or dropped, and tell whether that was in time."""
        if self._thread is None:
            return True
        done = threading.Event()
        self._waiting.put(done)
        return done.wait(timeout_s)

    def forget(self) -> None:
        """Begin anew after a fork. The lines that waited belong to the parent, as does the thread."""
        self._lock = threading.Lock()
        self._waiting = SimpleQueue()
        self._thread = None
        self._lost = 0

    def _runs(self) -> bool:
        """Start the thread if there is none yet. There can be none when the interpreter ends."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    thread = threading.Thread(target=self._run, name="log", daemon=True)
                    try:
                        thread.start()
                    except RuntimeError:
                        return False
                    self._thread = thread
        return True

    def _run(self) -> None:
        while True:
            with suppress(Exception):  # Whatever goes wrong, the next line has its chance.
                self._write_waiting()

    def _write_waiting(self) -> None:
        """Wait for a line, and write all that wait by then, in one piece."""
        lines: list[bytes] = []
        flushed: list[threading.Event] = []
        size = 0
        while not (lines or flushed) or (size < _PIECE and not self._waiting.empty()):
            one = self._waiting.get()
            if isinstance(one, bytes):
                lines.append(one)
                size += len(one)
            else:
                flushed.append(one)
        try:
            if lines:
                self._write(b"".join(lines))
            if self._lost:
                with self._lock:
                    lost, self._lost = self._lost, 0
                if not self._write(_bytes(self._lost_line(lost)), counted=False):
                    self._count(lost)
        finally:
            for each in flushed:
                each.set()

    def _write(self, data: bytes, *, counted: bool = True) -> bool:
        """Write whole lines, and count those that do not go out. A line that was cut short ends before the next begins."""
        assert self._descriptor is not None
        if self._is_torn:
            data = b"\n" + data
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # Somebody has made the pipe non-blocking for all who share it.
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                poll.poll()
            except (OSError, ValueError):
                written = len(data) - len(rest)
                if written:
                    self._is_torn = data[written - 1] != ord("\n")
                if counted:
                    self._count(bytes(rest).count(b"\n") - (self._is_torn and not written))
                return False
        self._is_torn = False
        return True

    def _count(self, lines: int) -> None:
        with self._lock:
            self._lost += lines


def _descriptor(stream: TextIO | None) -> int | None:
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError, AttributeError, io.UnsupportedOperation):
        return None


def _bytes(line: str) -> bytes:
    return line.encode(errors="backslashreplace") + b"\n"


_open: "WeakSet[Lines]" = WeakSet()


def flush(timeout_s: float = EXIT_S) -> None:
    """Wait until all lines of this process are written. A process that ends without Python's own exit calls it."""
    for each in list(_open):
        each.flush(timeout_s)


def _forget() -> None:
    for each in list(_open):
        each.forget()


atexit.register(flush)
os.register_at_fork(after_in_child=_forget)
