"""The scheduler of beat. It keeps nothing in files, and no clock that is set back or ahead moves its ticks."""

import threading
import time
from typing import Any

import structlog
from celery.beat import Scheduler

from celeryconfig import SETTINGS
from worker import heart, naming
from worker.bells import send_alone
from worker.threads import Watch

logger = structlog.get_logger()

STUCK_S = 10.0
"""A send that takes longer counts as stuck. Another thread with another connection goes on then."""

STUCK_MAX = 5
"""So many sends may be stuck at a time. With more, beat waits for one of them."""


class Beat(Scheduler):  # type: ignore[misc]
    """Sends each task of the schedule at its interval, by the monotonic clock of this host.

    A send runs in a thread of its own, so a broker that stands still does not stop beat. Workers do what is due by
    themselves meanwhile.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._sent_at: dict[str, float] = {}
        self._sends: list[tuple[threading.Thread, float]] = []
        super().__init__(*args, **kwargs)

    def setup_schedule(self) -> None:
        """Read the schedule from the configuration, and start the heartbeat. Nothing is read from a file.

        Beat starts without the database. It sends nothing until that has told which ledger it is.
        """
        super().setup_schedule()
        heart.start("beat")
        if SETTINGS.database_url is None:
            logger.warning("beat sends nothing, for DATABASE_URL is not set; workers do the ticks by themselves")
        else:
            Watch("identity", naming.keep_named)

    def tick(self, *_: Any, **__: Any) -> float:
        """Send what is due, and return the seconds until the next task is."""
        now = time.monotonic()
        pause_s = float(self.max_interval)
        for name, entry in self.schedule.items():
            interval_s = entry.schedule.run_every.total_seconds()
            due_at = self._sent_at.get(name, now - interval_s) + interval_s
            if now >= due_at:
                # A tick that was missed is not made up for, because the next one does the same.
                self._sent_at[name] = due_at if now - due_at < interval_s else now
                self._send(entry.task, now)
                due_at = self._sent_at[name] + interval_s
            pause_s = min(pause_s, due_at - now)
        return pause_s

    def _send(self, task: str, now: float) -> None:
        if not naming.is_named():
            return
        self._sends = [(thread, began) for thread, began in self._sends if thread.is_alive()]
        stuck = [began for _, began in self._sends if now - began > STUCK_S]
        if len(stuck) < len(self._sends) or len(stuck) >= STUCK_MAX:
            return
        thread = threading.Thread(target=send_alone, args=(self.app, task), name="send", daemon=True)
        self._sends.append((thread, now))
        thread.start()
