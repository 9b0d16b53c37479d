"""Runs the checks of a web process all the time, and keeps their last results for ``/health``.

Checks that share a connection form a lane, and each lane has a thread. A check that hangs holds up its own lane alone, and
whoever asks is told for how long it has been hanging.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import IntEnum

import structlog
from msgspec import Struct
from msgspec.structs import replace

INTERVAL_S = 2.0
"""The pause between two rounds of a lane."""

HANGING_S = 2.0
"""The time after which a check that has not ended counts as hanging."""

FIRST_RESULT_S = 1.5
"""The longest time that a request waits for the first results of a new process."""

logger = structlog.get_logger()


class Severity(IntEnum):
    """How bad it is. The whole service is as bad as its worst part."""

    UP = 0
    DEGRADED = 1
    """Transactions are accepted, but something else is amiss."""
    DOWN = 2
    """Transactions cannot be accepted."""


class Trouble(Struct, frozen=True, kw_only=True):
    """One thing that is amiss."""

    part: str
    severity: Severity
    what: str
    """A sentence that says what is wrong."""
    advice: str
    """A sentence that says what to do."""
    since: datetime | None = None
    """When it began, if the check knows. Otherwise it began when a check first saw it."""


class Check(Struct, frozen=True, kw_only=True):
    """One check. ``run`` returns what is amiss."""

    name: str
    run: Callable[[], Iterable[Trouble]]
    hanging: Trouble
    """The trouble that a check is in which does not end."""


class _Result:
    """The last result of a check, and when the present one began."""

    def __init__(self) -> None:
        self.troubles: list[Trouble] = []
        self.began_at: float | None = None
        self.ended_at: float | None = None


class Prober:
    """Runs lanes of checks. ``start`` lets them run all the time; without it they run when somebody asks."""

    def __init__(
        self,
        lanes: Sequence[Sequence[Check]],
        *,
        interval_s: float = INTERVAL_S,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        """``release`` lets go of the checks' connections. It is called when no check is to follow soon."""
        self._lanes = lanes
        self._release = release
        self._interval_s = interval_s
        self._results = {check.name: _Result() for lane in lanes for check in lane}
        self._ended = threading.Condition()
        self._is_started = False
        self._stopping = threading.Event()

    def start(self) -> None:
        """Start a thread for each lane. The threads end with the process."""
        self._is_started = True
        for lane in self._lanes:
            threading.Thread(target=self._run, args=(lane,), name=f"health {lane[0].name}", daemon=True).start()

    def stop(self) -> None:
        """Let the threads end, because the process does. It is not ready for requests from now on."""
        self._stopping.set()

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def troubles(self) -> list[Trouble]:
        """List all that is amiss, the worst first. It waits for nothing but the first results of a new process."""
        if not self._is_started:
            for lane in self._lanes:
                self._round(lane)
            self._release()
        with self._ended:
            self._ended.wait_for(self._is_complete, FIRST_RESULT_S)
            found = [trouble for lane in self._lanes for check in lane for trouble in self._found(check)]
        return sorted(found, key=lambda trouble: (-trouble.severity, trouble.part))

    def _is_complete(self) -> bool:
        return all(result.ended_at is not None for result in self._results.values())

    def _found(self, check: Check) -> list[Trouble]:
        result = self._results[check.name]
        took_s = time.monotonic() - result.began_at if result.began_at is not None else 0.0
        if took_s > HANGING_S or result.ended_at is None:
            since = datetime.now(UTC) - timedelta(seconds=took_s)
            return [replace(check.hanging, what=f"{check.hanging.what}, for {took_s:.0f} s now", since=since)]
        return result.troubles

    def _run(self, lane: Sequence[Check]) -> None:
        while not self._stopping.is_set():
            self._round(lane)
            self._stopping.wait(self._interval_s)
        self._release()

    def _round(self, lane: Sequence[Check]) -> None:
        for check in lane:
            result = self._results[check.name]
            began = datetime.now(UTC)
            result.began_at = time.monotonic()
            try:
                found = list(check.run())
            except Exception as error:
                found = [_failed(check, error)]
            known = {(each.part, each.severity): each.since for each in result.troubles}
            dated = [
                each if each.since else replace(each, since=known.get((each.part, each.severity)) or began)
                for each in found
            ]
            with self._ended:
                result.troubles, result.ended_at, result.began_at = dated, time.monotonic(), None
                self._ended.notify_all()


def _failed(check: Check, error: Exception) -> Trouble:
    """Describe a check that ended with an exception nobody foresaw. Its thread goes on."""
    with suppress(Exception):  # Standard output may be gone, and the check matters more.
        logger.exception("a health check failed", check=check.name)
    return Trouble(
        part=check.hanging.part,
        severity=check.hanging.severity,
        what=f"the check failed: {type(error).__name__}",
        advice="see the log of this web process, which has the whole error",
    )
