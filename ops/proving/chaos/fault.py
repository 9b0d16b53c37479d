"""A fault, and one blow of it."""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

import psutil
import psycopg
from msgspec import Struct
from redis.exceptions import RedisError

from ops.proving.chaos.arena import Arena


class Missed(Exception):
    """The blow hit nothing."""


@dataclass
class Blow:
    """One blow of a fault. A fault that lasts, lasts for ``for_s``."""

    arena: Arena
    dice: random.Random
    for_s: float
    wrong: list[str] = field(default_factory=list)
    """The faults that the blow itself found."""


class Fault(Struct, frozen=True):
    """Something that goes wrong in the field. ``strike`` returns when it is over."""

    name: str
    strike: Callable[[Blow], None]


NOT_THERE = (Missed, psutil.Error, psycopg.Error, RedisError, OSError, KeyError, ValueError)
"""The errors of a blow whose target is just being started."""


@contextmanager
def frozen(*processes: psutil.Process) -> Iterator[None]:
    """Stop processes as a paused machine does, and let those that are still there go on at the end of the block."""
    with ExitStack() as woken:
        for process in processes:
            process.suspend()
            woken.callback(_wake, process)
        yield


def _wake(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):  # Somebody may have replaced it meanwhile.
        process.resume()
