"""Decide what becomes of runs that were missed, because nothing was running when they came due.

``due`` is asked whenever a job's time has come: it says which occurrences run now, how many are skipped, and when to ask
again. In time or late is the same question; a job that was never late has one occurrence, and it runs.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice, takewhile
from typing import NamedTuple

from core.funding.schedule import GRACE, Schedule, latest, occurrences

MOST = 100
"""Runs that one call gives, so that years of downtime do not make one enormous commit."""

MOST_SKIPPED = 1_000
"""How far skipped occurrences are counted: a job that runs each minute misses millions in ten years."""


class Missed(StrEnum):
    """What to do about the runs that were missed while nothing was running."""

    SKIP = "skip"  # none but the latest, and that only if it is no more than GRACE late
    ONCE = "once"  # the latest
    ALL = "all"  # each of them, oldest first


class Due(NamedTuple):
    """What to do now, and when to ask again."""

    runs: list[datetime]  # due times to run now, in order
    next_due: datetime | None  # None when the schedule has come to its end
    skipped: int  # occurrences that came and are not run; MOST_SKIPPED stands for that many or more


def due(schedule: Schedule, *, next_due: datetime, now: datetime, missed: Missed, made: int) -> Due:
    """Say which of the occurrences from ``next_due`` on have come by ``now`` and are to run; ``made`` runs count already.

    Under ALL, next_due may lie in the past: more has come than one call gives, and the caller asks again. Skipped
    occurrences do not count toward ``count``.
    """
    left = MOST if schedule.count is None else min(MOST, schedule.count - made)
    if left <= 0:
        return Due([], None, 0)
    if next_due > now:
        return Due([], next_due, 0)
    came = takewhile(lambda time: time <= now, occurrences(schedule, after=next_due - timedelta.resolution))
    if missed is Missed.ALL:
        runs, skipped = list(islice(came, left)), 0
    else:
        counted = len(list(islice(came, MOST_SKIPPED + 1)))
        newest = latest(schedule, by=now) if counted else None
        runs = [newest] if newest and (missed is Missed.ONCE or now - newest <= GRACE) else []
        skipped = min(counted - len(runs), MOST_SKIPPED)
    if schedule.count is not None and made + len(runs) >= schedule.count:
        return Due(runs, None, skipped)
    dealt_with = runs[-1] if len(runs) == MOST else now
    return Due(runs, next(occurrences(schedule, after=dealt_with), None), skipped)
