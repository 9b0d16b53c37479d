"""The work of a worker's children, in memory that they share with the main process.

Each child has a slot. A thread of the child writes the time there each second, so a child that is frozen, or that holds the
interpreter for too long, falls silent. The tasks write what they are. The times are those of ``time.monotonic``, which is one
clock for all processes of a host.
"""

import mmap
import os
import struct
import time
from collections.abc import Iterable

from billiard.process import current_process

from core.upkeep.heartbeats import Child
from worker.threads import Watch

SLOTS = 512
"""The children with a higher number are not seen."""

SILENT_S = 5.0
"""A child that has been silent for so long does not answer."""

FROZEN_LOOKS = 15
"""A child whose sign so many looks in a row find unchanged is frozen. The keeper looks each second."""

_SLOT = struct.Struct("<qddqq64s")
"""The process ID, the time of the last sign, the start of the task, the number of tasks ended, the queue, and the task's name."""
_NO_QUEUE = -1

_EVERY_S = 1.0


class Children:
    """The slots of all children. The main process makes it before it forks."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, SLOTS * _SLOT.size)
        self._slot = -1
        self._began, self._ended, self._queue, self._task = 0.0, 0, _NO_QUEUE, b""
        self._seen: dict[int, tuple[float, int]] = {}

    def enter(self) -> None:
        """Begin to write the slot of this process, which is a child."""
        index = int(getattr(current_process(), "index", -1))
        self._slot = index if 0 <= index < SLOTS else -1
        self._began, self._ended, self._queue, self._task = 0.0, 0, _NO_QUEUE, b""
        Watch("sign of life", self._sign)

    def begin_task(self, name: str, queue: int | None = None) -> None:
        """Write that this process begins a task, and for a drain whose doorbell it answers."""
        self._began, self._task = time.monotonic(), name.encode()[:64]
        self._queue = _NO_QUEUE if queue is None else queue
        self._sign()

    def end_task(self) -> None:
        """Write that this process has ended its task."""
        self._began, self._queue, self._task = 0.0, _NO_QUEUE, b""
        self._ended += 1
        self._sign()

    def states(self, pids: Iterable[int]) -> list[Child]:
        """Read the states of the children with these process IDs."""
        now, found, children = time.monotonic(), self._slots(), []
        for pid in sorted(pids):
            signed_at, began, ended, queue, task = found.get(pid, (now, 0.0, 0, _NO_QUEUE, ""))
            silent_s = round(max(0.0, now - signed_at), 1)
            children.append(
                Child(
                    pid=pid,
                    silent_s=silent_s,
                    answers=silent_s < SILENT_S,
                    task=task or None,
                    queue=queue if task and queue != _NO_QUEUE else None,
                    busy_s=round(now - began, 1) if began else 0.0,
                    ended=ended,
                )
            )
        return children

    def frozen(self, pids: Iterable[int]) -> list[int]:
        """Look once, and list the children that have given no sign for ``FROZEN_LOOKS`` looks in a row.

        Looks are counted, and not seconds. So a main process that was frozen itself finds no child frozen when it wakes.
        """
        slots, seen = self._slots(), {}
        for pid in pids:
            signed_at = slots[pid][0] if pid in slots else 0.0  # One may freeze before its first sign.
            before, looks = self._seen.get(pid, (signed_at, -1))
            seen[pid] = signed_at, looks + 1 if signed_at == before else 0
        self._seen = seen
        return [pid for pid, (_, looks) in seen.items() if looks >= FROZEN_LOOKS]

    def _slots(self) -> dict[int, tuple[float, float, int, int, str]]:
        """Read the slot of each child, by process ID: what is after the ID."""
        found = {}
        for slot in range(SLOTS):
            pid, signed_at, began, ended, queue, task = _SLOT.unpack_from(self._memory, slot * _SLOT.size)
            if pid:
                found[pid] = signed_at, began, ended, queue, task.rstrip(b"\0").decode(errors="replace")
        return found

    def _sign(self) -> float:
        if self._slot >= 0:
            now = time.monotonic()
            _SLOT.pack_into(
                self._memory,
                self._slot * _SLOT.size,
                os.getpid(),
                now,
                self._began,
                self._ended,
                self._queue,
                self._task,
            )
        return _EVERY_S
