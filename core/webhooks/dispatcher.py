"""Keeps a thread for each endpoint whose lease this process has, and shares the endpoints with the other delivering processes.

A thread that waits for a hanging receiver holds up nobody: each endpoint has its own cursor, lease, thread and connections. The
doorbell only says that something may have happened. Without one, each thread looks every second.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from core.base.db import begin, reading
from core.base.errors import TransientError
from core.upkeep import heartbeats
from core.webhooks import store
from core.webhooks.callbacks import remove_unused
from core.webhooks.default import keep_default
from core.webhooks.sending import Outcome
from core.webhooks.turn import Courier, Lost, Means

logger = structlog.get_logger()

PART = "deliverer"
"""The part of the service that delivers, in heartbeats."""

LOOK_S = 1.0
"""The pause between two looks for endpoints that nobody delivers for."""

ALIVE_S = 10.0
"""A process that was not heard of for so long has no share of the endpoints."""

AWAY_S = 1.0
STOP_S = 20.0
GATHER_S = 0.02
"""A thread that the doorbell wakes waits so long, so that more than one event gathers under load."""


class Dispatcher:
    """Delivers for all endpoints that this process gets."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._engine, self._by = means.engine, means.by
        self._runs: dict[int, _Run] = {}
        self._kept_default = False
        self.observe: Callable[[Outcome], None] = lambda outcome: None

    def ring(self) -> None:
        """Say that something may have happened. The call returns at once."""
        for run in list(self._runs.values()):
            run.bell.set()

    def look(self) -> float:
        """Renew the leases, give back what is more than a fair share, take what nobody has, and return the pause.

        Raises:
            TransientError: the database is away.
        """
        if not self._kept_default:
            with begin(self._engine) as conn:
                keep_default(conn, self._means.operator)
            self._kept_default = True
        for key in [key for key, run in self._runs.items() if run.is_over]:
            del self._runs[key]
        if not self._runs:
            with reading(self._engine) as conn:
                if not store.is_any(conn):
                    return LOOK_S
        with begin(self._engine) as conn:
            remove_unused(conn)
            ours = set(store.renew(conn, self._by, list(self._runs))) if self._runs else set()
            share = self._share(store.count_deliverable(conn), heartbeats.count_alive(conn, PART, ALIVE_S))
            claimed = store.claim(conn, self._by, share - len(ours))
        for key, run in self._runs.items():
            if key not in ours:
                run.stop()
        for key in sorted(ours)[share:]:
            self._runs[key].stop()
        for key in claimed:
            if key in self._runs:  # Its thread is about to end, and gives the lease back.
                continue
            self._runs[key] = _Run(key, self._courier(key), self._give_back)
        return LOOK_S

    def stop(self) -> None:
        """End all threads after what they send now, and give the leases back."""
        for run in self._runs.values():
            run.stop()
        deadline = time.monotonic() + STOP_S
        for run in self._runs.values():
            run.thread.join(max(0.0, deadline - time.monotonic()))
        self._runs.clear()

    @staticmethod
    def _share(endpoints: int, processes: int) -> int:
        return -(-endpoints // max(1, processes))

    def _courier(self, key: int) -> Courier:
        courier = Courier(self._means, key)
        courier.observe = self.observe
        return courier

    def _give_back(self, key: int) -> None:
        with suppress(TransientError), begin(self._engine) as conn:
            store.release(conn, self._by, [key])


class _Run:
    """The thread of one endpoint."""

    def __init__(self, key: int, courier: Courier, give_back: Callable[[int], None]) -> None:
        self._key, self._courier, self._give_back = key, courier, give_back
        self.bell = threading.Event()
        self._stopped = False
        self.thread = threading.Thread(target=self._run, name=f"webhook {key}", daemon=True)
        self.thread.start()

    @property
    def is_over(self) -> bool:
        return not self.thread.is_alive()

    def stop(self) -> None:
        """End the thread after its present turn."""
        self._stopped = True
        self.bell.set()

    def _run(self) -> None:
        failures = 0
        try:
            while not self._stopped:
                self.bell.clear()
                try:
                    pause_s, failures = self._courier.turn(), 0
                except Lost:
                    return
                except TransientError:
                    pause_s = AWAY_S
                except Exception as error:  # A bug costs this endpoint alone, and not for ever.
                    failures += 1
                    pause_s = min(60.0, 2.0**failures)
                    logger.error("a delivery failed", webhook=self._key, exc_info=error)
                if pause_s and self.bell.wait(pause_s) and not self._stopped and not failures:
                    time.sleep(GATHER_S)
        finally:
            self._courier.close()
            self._give_back(self._key)
