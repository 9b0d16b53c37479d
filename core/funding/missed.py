"""Decides which occurrences of a schedule run now, and which are skipped because nothing ran when they came due.

The caller asks ``due`` each time a job comes due, whether it is late or not. A job that is on time has one occurrence,
which runs.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice, takewhile
from typing import NamedTuple

from core.funding.schedule import GRACE, Schedule, latest, occurrences

MOST = 100
"""The largest number of runs that one call returns, so that years of downtime do not make one enormous commit."""

MOST_SKIPPED = 1_000
"""Skipped occurrences are counted up to this number, because a job that runs each minute misses millions in ten years."""


class Missed(StrEnum):
    """The choice of runs to make up for after a time in which nothing ran."""

    SKIP = "skip"  # the latest, if it is at most GRACE late; otherwise none
    ONCE = "once"  # the latest
    ALL = "all"  # each of them, oldest first


class Due(NamedTuple):
    """The runs to make now, and the time of the next question."""

    runs: list[datetime]  # due times to run now, in order
    next_due: datetime | None  # None when the schedule has come to its end
    skipped: int  # occurrences that came and are not run; MOST_SKIPPED stands for that many or more


def due(schedule: Schedule, *, next_due: datetime, now: datetime, missed: Missed, made: int) -> Due:
    """Choose which occurrences between ``next_due`` and ``now`` run, and find when the next one is due.

    ``made`` is the number of runs that the job has made, and counts toward the schedule's ``count``. Skipped occurrences
    do not. Under ALL, the returned ``next_due`` may lie in the past if more than ``MOST`` came due: the caller asks again.
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
