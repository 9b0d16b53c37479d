"""Sends over Redis what may be lost: the mark of a doorbell that waits, and how far queues are decided."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import ReadOnlyError

from core.doors.identity import Identity
from core.doors.names import Names

BELL_TTL_S = 2
"""An unanswered doorbell counts as lost after so long."""

PAUSE_S = 3.0
"""Redis is left alone for so long after a failure, so that one that stands still does not cost each call a timeout."""

logger = structlog.get_logger()


class Notes:
    """Sends notes for one process. No call fails, and none waits for long. ``redis`` is None with another broker."""

    def __init__(self, redis: "Redis | None", identity: Identity) -> None:
        self._redis = redis
        self._identity = identity
        self._again_at = 0.0

    def ring(self) -> bool | None:
        """Note that a doorbell waits. Returns whether it is the first, or None if that is unknown."""
        first: bool | None = self._send(lambda redis, names: bool(redis.set(names.bell, 1, nx=True, ex=BELL_TTL_S)))
        return first

    def answer(self) -> None:
        """Remove the mark of the doorbell before a drain looks, so that later transactions ring again."""
        self._send(lambda redis, names: redis.delete(names.bell))

    def announce(self, cursors: Mapping[int, int]) -> None:
        """Publish how far the queues are decided. A lost message only makes those who wait poll."""
        self._send(lambda redis, names: redis.publish(names.decided, json.dumps(cursors)))

    def _send(self, call: Callable[[Redis, Names], Any]) -> Any:
        names = self._identity.names
        if self._redis is None or names is None or time.monotonic() < self._again_at:
            return None
        try:
            return call(self._redis, names)
        except (
            Exception
        ) as error:  # It is away, full, read-only, loading, or refuses the login. The sweep does without it.
            self._again_at = time.monotonic() + PAUSE_S
            if isinstance(error, ReadOnlyError):  # The server's name may lead to another one by now.
                self._redis.connection_pool.disconnect()
            logger.warning("Redis does not take notes; the sweep does without them", error=repr(error))
            return None
