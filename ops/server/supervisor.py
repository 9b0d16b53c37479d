"""Keeps processes running: starts again what died, and replaces what stands still."""

from __future__ import annotations

import select
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import FrameType

import psutil

from ops.server.descendants import descendants as all_descendants
from ops.server.embedded import WAIT_S, Child
from ops.server.private import StartError

_LIVED_S = 10.0  # A part that lived so long has started well.
_LONGEST_DELAY_S = 5.0
_EARLY_DEATHS_MAX = 5
_READY_TIMEOUT_S = 120.0
_LOOK_S = 2.0
"""The pause between two looks for processes that stand still. One that two looks in a row find stopped is frozen."""

_WAIT_S = 1.0
"""The pause between two looks for parts that have died. The end of one wakes us before."""
_SHORT_WAIT_S = 0.1
"""The pause while one is to be started again, or is not ready yet."""

_ENDED = object()
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """A signal asked us to stop."""


Pids = Mapping[str, int]
Descendants = Mapping[str, Sequence[int]]


class Supervisor:
    """Keeps children running until a signal arrives; a second signal hurries the stop.

    It belongs in the main thread, which gets the signals, and lives as long as the children should. ``on_change`` is given the
    process IDs by name, and those of the descendants of web, beat and worker, whenever one is new.
    """

    def __init__(self) -> None:
        self.on_change: Callable[[Pids, Descendants], None] = lambda pids, descendants: None
        self._groups: list[Sequence[Child]] = []
        self._early_deaths: Counter[str] = Counter()
        self._due_at: dict[str, float] = {}
        self._descendants: dict[str, list[int]] = {}
        self._still: set[psutil.Process] = set()
        self._looked_at = 0.0
        self._signals = 0
        self._woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda signum, frame: None)  # One that is ignored wakes nobody.
        for signum in _SIGNALS:
            # nohup makes a process ignore SIGHUP, and that stays so.
            if not (signum == signal.SIGHUP and signal.getsignal(signum) is signal.SIG_IGN):
                signal.signal(signum, self._count_signal)

    def start(self, *group: Child) -> None:
        """Launch a group of children and return when all of them are ready.

        Raises:
            StartError: one keeps dying, or is not ready in time.
            Stopped: a signal arrived.
        """
        self._groups.append(group)
        for child in group:
            self.check()
            self._launch(child)
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while waiting := [child.name for child in group if not child.ready()]:
            self.tick(_SHORT_WAIT_S)
            for name, deaths in self._early_deaths.items():
                if deaths >= _EARLY_DEATHS_MAX:
                    raise StartError(f"{name} ended {deaths} times in a row: see its lines above")
            if time.monotonic() > deadline:
                raise StartError(f"not ready within {_READY_TIMEOUT_S:g} s: {', '.join(waiting)}")

    def finish(self, child: Child) -> int:
        """Launch a child that ends by itself, and return its exit status.

        Raises:
            Stopped: a signal arrived.
        """
        child.launch()
        try:
            while child.running:
                self.tick()
        finally:
            child.stop(self._hurried)
        assert child.process is not None
        return child.process.returncode

    def check(self) -> None:
        """Find out whether to stop.

        Raises:
            Stopped: a signal arrived.
        """
        if self._signals:
            raise Stopped

    def tick(self, wait_s: float = _WAIT_S) -> None:
        """Start again what has died, replace what stands still, and wait a moment, or until a signal or the end of a child.

        Raises:
            Stopped: a signal arrived.
        """
        self.check()
        for child in self._children():
            if not child.running:
                self._revive(child)
        if time.monotonic() - self._looked_at >= _LOOK_S:
            self._look()
            self._looked_at = time.monotonic()
        until_look_s = max(0.0, self._looked_at + _LOOK_S - time.monotonic())
        # Not the wait of an Event, for setting it in a signal handler can deadlock.
        if select.select([self._woken], [], [], min(until_look_s, _SHORT_WAIT_S if self._due_at else wait_s))[0]:
            self._woken.recv(4096)

    def stop(self) -> None:
        """Stop the last group first. In a group, all stop together but for those that outlive others."""
        for group in reversed(self._groups):
            left = {child.name: child for child in group}
            endings: dict[str, Iterator[None]] = {}
            while left:
                for name, child in tuple(left.items()):
                    if name not in endings and child.outlives.isdisjoint(left):
                        endings[name] = child.ending(self._hurried)
                    if name in endings and next(endings[name], _ENDED) is _ENDED:
                        del left[name]
                if left:
                    time.sleep(WAIT_S)

    def forget_signals(self) -> None:
        """Ignore signals from now on, for the process ends. One that repeats the stop must not change its status."""
        for signum in _SIGNALS:
            signal.signal(signum, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        for end in (self._woken, self._waker):
            end.close()

    def _children(self) -> Iterator[Child]:
        return (child for group in self._groups for child in group)

    def _launch(self, child: Child) -> None:
        child.launch()
        self._looked_at = 0.0
        self._tell()

    def _tell(self) -> None:
        pids = {child.name: child.process.pid for child in self._children() if child.process is not None}
        self.on_change(pids, self._descendants)

    def _revive(self, child: Child) -> None:
        now = time.monotonic()
        if child.name not in self._due_at:
            child.clear()
            assert child.process is not None
            if now - child.launched_at > _LIVED_S:
                self._early_deaths[child.name] = 0
            delay_s = min(0.5 * self._early_deaths[child.name], _LONGEST_DELAY_S)
            self._early_deaths[child.name] += 1
            self._due_at[child.name] = now + delay_s
            status = child.process.returncode
            how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
            child.log("pacioli", f"{child.name} {how}, starting it again" + (f" in {delay_s:g} s" if delay_s else ""))
        if now >= self._due_at[child.name]:
            del self._due_at[child.name]
            self._launch(child)

    def _look(self) -> None:
        """Look at all descendants: note new ones, and act on those that stand still since the last look."""
        parts = {child.process.pid: child for child in self._children() if child.process is not None and child.running}
        part_of: dict[int, Child] = {}
        descendants: dict[str, list[int]] = {
            child.name: [] for child in parts.values() if child.is_replaced_when_frozen
        }
        still = set()
        for each in all_descendants():
            part = parts.get(each.pid) or part_of.get(each.parent)
            if part is None:
                continue
            part_of[each.pid] = part
            if each.pid not in parts and part.name in descendants:
                descendants[part.name].append(each.pid)
            if each.is_stopped:
                with suppress(psutil.NoSuchProcess):
                    process = psutil.Process(each.pid)
                    if process not in self._still:
                        self._say_still(part, process)
                    elif part.is_replaced_when_frozen:
                        process.kill()  # Whoever started it starts another.
                    still.add(process)
        self._still = still
        for child in parts.values():
            child.seen(descendants.get(child.name, ()))
        if descendants != self._descendants:
            self._descendants = descendants
            self._tell()

    def _say_still(self, part: Child, process: psutil.Process) -> None:
        then = (
            "and is replaced if it goes on to" if part.is_replaced_when_frozen else f"until `kill -CONT {process.pid}`"
        )
        part.log("pacioli", f"{part.name} stands still, stopped by a signal (process {process.pid}), {then}")

    def _hurried(self) -> bool:
        return self._signals > 1

    def _count_signal(self, signum: int, frame: FrameType | None) -> None:
        self._signals += 1
