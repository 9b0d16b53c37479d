"""stub until the real one is merged"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim


class Missed(StrEnum):
    SKIP = "skip"
    ONCE = "once"
    ALL = "all"


class Schedule(NamedTuple):  # type: ignore[misc]
    at: datetime | None = None
    cron: str | None = None
    zone: str = "UTC"
    ends_at: datetime | None = None
    count: int | None = None


def problems_of(cron: str | None, zone: str | None) -> list[tuple[str, str]]:
    return []


def occurrences(schedule: Schedule, *, after: datetime) -> Iterator[datetime]:
    if schedule.at:
        if schedule.at > after:
            yield schedule.at
        return
    for x in CronSim(schedule.cron, after.astimezone(ZoneInfo(schedule.zone))):
        yield x


class Due(NamedTuple):
    runs: list[datetime]
    next_due: datetime | None
    skipped: int


GRACE = timedelta(minutes=1)
MOST = 100


def due(schedule: Schedule, *, next_due: datetime, now: datetime, missed: Missed, made: int) -> Due:
    return Due([next_due], next(occurrences(schedule, after=max(now, next_due)), None), 0)
