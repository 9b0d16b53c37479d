"""Runs the ticks that are due. The task of a tick calls it, and so does the keeper of a worker."""

import os
import socket
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy import Connection

from core.base.db import begin, reading
from core.base.errors import TransientError
from core.doors import metrics
from core.upkeep import ticks
from core.upkeep.ticks import Tick
from worker.app import engine

logger = structlog.get_logger()

RUNS: dict[Tick, Callable[[], object]] = {}
"""The function of each tick. ``tasks.py`` adds them."""

HAVE_WORK: dict[Tick, Callable[[Connection], bool]] = {}
"""For ticks that are due each second, a function that tells by one read whether there is anything to do."""

ENDS_ITSELF = {Tick.VERIFY, Tick.SNAPSHOT, Tick.SPANS}
"""The ticks whose functions leave the rest to a message or to the next run, and record the end of the run themselves."""


def run_due(*, late_s: float = 0.0) -> list[Tick]:
    """Run every tick that has been due for ``late_s`` seconds and that nobody else runs. Returns those.

    A tick that fails is due again after its lease, and does not keep the others from running.

    Raises:
        TransientError: the database was busy or gone, so nothing was claimed.
    """
    with begin(engine()) as conn:
        claimed = ticks.claim(conn, by(), late_s=late_s, names=tuple(name for name in Tick if name in RUNS))
    idle = _without_work(claimed)
    if idle:
        end(*idle)
    for name in claimed:
        metrics.TICKS.labels(name).inc()
        if name not in idle:
            run(name)
    return claimed


def _without_work(claimed: Sequence[Tick]) -> set[Tick]:
    """Find the ticks that have nothing to do. They end together at once, as in an idle service nearly all do."""
    asked = [(name, HAVE_WORK[name]) for name in claimed if name in HAVE_WORK]
    if not asked:
        return set()
    with reading(engine()) as conn:
        return {name for name, has_work in asked if not has_work(conn)}


def run(name: Tick) -> None:
    """Run a claimed tick, and record its end."""
    try:
        RUNS[name]()
        if name not in ENDS_ITSELF:
            end(name)
    except TransientError as error:
        logger.warning("a tick was cut short", tick=name, error=repr(error.__cause__))
    except Exception as error:
        logger.error("a tick failed", tick=name, exc_info=error)


def end(*names: Tick) -> None:
    """Record that runs of ticks have ended."""
    with begin(engine()) as conn:
        ticks.end(conn, *names)


def go_on(name: Tick) -> None:
    """Record that a run of a tick is alive."""
    with begin(engine()) as conn:
        ticks.go_on(conn, name, by())


def by() -> str:
    """Return the name of this process in the table of ticks."""
    return f"{socket.gethostname()}:{os.getpid()}"
