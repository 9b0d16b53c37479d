"""The consumer of a worker. It is patient with a broker that answers and refuses."""

import time
import warnings
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer

PAUSE_S = 1.0
"""The pause after an error. A Redis that is full, or a replica, refuses at once and for as long as that lasts."""


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """Connects again after any error, and pauses first. Workers have nothing to say to each other, so none asks."""

    def __init__(self, *arguments: Any, worker_options: dict[str, Any] | None = None, **options: Any) -> None:
        silent = {"without_mingle": True, "without_gossip": True, "without_heartbeat": True}
        super().__init__(*arguments, worker_options={**(worker_options or {}), **silent}, **options)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Log that the broker does not let us in."""
        super().on_connection_error_before_connected(exc)
        time.sleep(PAUSE_S)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Drop the connection. Celery's warning about its next major version says nothing to an operator."""
        with warnings.catch_warnings(action="ignore"):
            super().on_connection_error_after_connected(exc)
        time.sleep(PAUSE_S)
