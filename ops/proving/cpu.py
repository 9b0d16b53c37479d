"""CPU time of a running service, by its parts.

A rate swings with whatever else the machine does; the CPU time that a row costs hardly does. So budgets are in it.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil


@dataclass
class Cost:
    """The cost of some work. It is filled when the block ends."""

    seconds: float = 0.0
    by_part: dict[str, float] = field(default_factory=dict)
    """CPU seconds of each part of the service."""

    def us_a_row(self, rows: int) -> float:
        """Return the CPU microseconds of all parts together for each row."""
        return sum(self.by_part.values()) / rows * 1e6

    def shares(self) -> dict[str, float]:
        """Return the fraction of each part, the largest first, without the parts that did nothing."""
        whole = sum(self.by_part.values()) or 1.0
        parts = sorted(self.by_part.items(), key=lambda part: -part[1])
        return {name: seconds / whole for name, seconds in parts if seconds / whole >= 0.005}


@contextmanager
def metered(pids: Mapping[str, int]) -> Iterator[Cost]:
    """Measure the block. ``pids`` names the main process of each part; its descendants count too."""
    cost = Cost()
    # A part with children looks through all processes. The first may be this process, whose own time comes last, after that work.
    before, started = read(dict(reversed(list(pids.items())))), time.perf_counter()
    yield cost
    cost.seconds = time.perf_counter() - started
    after = read(pids)
    cost.by_part = {name: max(0.0, after[name] - before[name]) for name in pids}


@contextmanager
def metered_with_ended(postgres: int | None) -> Iterator[Cost]:
    """Measure the block: Postgres, and this process with those that it has started and that end in the block."""
    before = os.times()
    with metered({} if postgres is None else {"postgres": postgres}) as cost:
        yield cost
    cost.by_part["bench"] = sum(os.times()[:4]) - sum(before[:4])


def read(pids: Mapping[str, int]) -> dict[str, float]:
    """Return the CPU seconds of each part so far, with its descendants that have ended.

    ``pacioli`` and ``bench`` start the other parts, so only their own time counts.
    """
    children: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter(["ppid"]):
        children.setdefault(process.info["ppid"], []).append(process)
    return {name: _time(pid, children if name not in ("pacioli", "bench") else {}) for name, pid in pids.items()}


def _time(pid: int, children: Mapping[int, list[psutil.Process]]) -> float:
    """Return the CPU seconds of a process, and of its descendants if it has any in ``children``."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        spent = process.cpu_times()
        own = float(spent.user + spent.system)
        if not children:
            return own
        # The children that have ended are in the times of the parent that waited for them.
        ended = float(spent.children_user + spent.children_system)
        return own + ended + sum(_time(child.pid, children) for child in children.get(pid, ()))
    return 0.0
