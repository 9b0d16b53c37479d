"""The heartbeat of a worker's main process and of beat: a thread that records it, whatever else the process does."""

import os
import time
from collections.abc import Callable
from contextlib import suppress

from celeryconfig import SETTINGS
from core.base.db import begin
from core.base.errors import TransientError
from core.upkeep import heartbeats
from core.upkeep.heartbeats import State
from worker.app import engine
from worker.threads import Watch

_STARTED_AT = time.monotonic()


def start(part: str, describe: Callable[[State], State] = lambda state: state) -> Watch | None:
    """Start the heartbeat of this process. ``describe`` adds to its state.

    Returns None without a database: beat needs none, and has no heartbeat then.
    """
    if SETTINGS.database_url is None:
        return None
    name = heartbeats.name_of(part)

    def beat() -> float:
        state = describe(State(pid=os.getpid(), up_s=round(time.monotonic() - _STARTED_AT, 1)))
        with begin(engine()) as conn:
            heartbeats.record(conn, name, part, state)
        return heartbeats.EVERY_S

    return Watch(f"heartbeat of {part}", beat)


def stop(thread: Watch | None, part: str) -> None:
    """End the heartbeat of a process that ends as it should, and forget the process."""
    if thread is not None:
        thread.stop()
        with suppress(TransientError), begin(engine()) as conn:
            heartbeats.forget(conn, heartbeats.name_of(part))
