"""Compute when a job runs: at one time, or by a cron expression in a time zone.

A cron expression names times of the wall clock. Each is due when that clock first reaches or passes it. A time that the
clock skips (spring) is due at the first moment after the gap. All times that are due at one moment make one run, because
the due time is the identity of a run. A time that comes twice (autumn) is due the first time only. That holds for every
expression: ``*/30 * * * *`` makes no run while an hour repeats.
"""

from bisect import bisect
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

GRACE = timedelta(minutes=1)
"""The time that a run may be late and still counts as in time."""

_LONGEST = 255
"""The number of characters that an expression or the name of a zone may have."""

_FIELDS = (
    ("minute", "0 to 59", "*/15"),
    ("hour", "0 to 23", "9-17"),
    ("day of month", "1 to 31, L (the last day) or LW (the last weekday)", "1,15"),
    ("month", "1 to 12 or JAN to DEC", "JAN,JUL"),
    (
        "day of week",
        "0 to 7 (0 and 7 are Sunday), SUN to SAT, 5L (the last Friday) or MON#1 (the first Monday)",
        "MON-FRI",
    ),
)
"""The fields of a cron expression: name, accepted values, and an example."""


class Schedule(NamedTuple):
    """The schedule of a job: one time, or a cron expression in a time zone.

    The caller checks an expression and a zone with ``schedule_problems`` first. Nothing else checks them.
    """

    at: datetime | None = None  # aware, UTC; exactly one of at and cron is given
    cron: str | None = None  # five fields
    zone: str = "UTC"  # IANA name
    ends_at: datetime | None = None  # nothing is due after it; an occurrence at this very moment still is
    count: int | None = None  # type: ignore[assignment]  # runs in all; a tuple's method of that name is not missed


def schedule_problems(cron: str | None, zone: str | None) -> list[tuple[str, str]]:
    """Return the problems of an expression and a zone, as pairs of field (``cron``, ``timezone``) and text."""
    return [
        *(("cron", text) for text in (_cron_problems(cron) if cron is not None else ())),
        *(("timezone", text) for text in (_zone_problems(zone) if zone is not None else ())),
    ]


def occurrences(schedule: Schedule, *, after: datetime) -> Iterator[datetime]:
    """Yield the due times after a moment, in UTC and in order, to the end of the schedule or of the calendar.

    ``count`` is ignored, because the number of runs that were made is not known here.
    """
    for time in _times(schedule, after):
        if schedule.ends_at is not None and time > schedule.ends_at:
            return
        # In the second pass of a repeated hour the clock shows times that came before; in a gap many fall together.
        if time > after:
            yield time
            after = time


def _cron_problems(cron: str) -> Iterator[str]:
    if len(cron) > _LONGEST:
        yield f"must not be longer than {_LONGEST} characters"
        return
    parts = cron.split()
    if len(parts) != len(_FIELDS):
        names = ", ".join(name for name, _, _ in _FIELDS)
        yield f"must have five fields ({names}) and has {len(parts)}: 30 4 * * MON-FRI is half past four on weekdays"
        return
    bad = False
    for position, (part, (name, takes, example)) in enumerate(zip(parts, _FIELDS, strict=True)):
        alone = ["*"] * len(_FIELDS)
        alone[position] = part
        # Only ASCII, because cronsim reads what becomes an ASCII letter in upper case, such as the long s.
        if not part.isascii() or _first(" ".join(alone)) is None:
            bad = True
            yield f"{name} {part!r} is not understood: it takes {takes}, and lists, ranges and steps, as in {example}"
    if not bad and _first(cron) is None:
        yield "never matches: no month has such a day, as with 30 February (0 0 30 2 *)"


def _first(cron: str) -> datetime | None:
    """Return a time that an expression matches; None when it matches none or is wrong.

    cronsim gives up after fifty years. The rarest day, a 29 February on a given weekday, comes back within forty, so
    an expression without a match from one start has none from any start.
    """
    try:
        return next(CronSim(cron, datetime(2000, 1, 1)), None)
    except CronSimError:
        return None


def _zone_problems(zone: str) -> Iterator[str]:
    names = _zone_names()
    # The name is looked up in a list. It is never opened as a file, because a caller could name any path.
    if zone in names.values():
        return
    near = get_close_matches(zone.lower(), names, n=3) if len(zone) <= _LONGEST else []
    meant = f"; did you mean {' or '.join(names[name] for name in near)}?" if near else ", such as Europe/Berlin or UTC"
    yield f"must be the name of an IANA time zone{meant}"


@cache
def _zone_names() -> dict[str, str]:
    """Return the names of all zones by their lower case. The result is cached, because reading them opens many files."""
    # localtime is the zone that this machine is set to, and Factory means that nobody has set it.
    return {name.lower(): name for name in sorted(available_timezones() - {"localtime", "Factory"})}


def _times(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """Yield the times after a moment in order. Times may repeat, and the first ones may lie before the moment."""
    if schedule.cron is None:
        assert schedule.at is not None
        yield schedule.at
        return
    zone = ZoneInfo(schedule.zone)
    try:
        # cronsim has other rules for changes of the clock, so it gets times without a zone.
        for wall in CronSim(schedule.cron, _wall(after, zone)):
            yield _moment(wall, zone)
    except OverflowError:
        return  # the calendar ends with the year 9999


def latest(schedule: Schedule, *, by: datetime) -> datetime | None:
    """Return the last occurrence at or before a moment.

    The search goes backwards from the moment, because going forward through years of downtime takes too long.
    """
    if schedule.ends_at is not None:
        by = min(by, schedule.ends_at)
    if schedule.cron is None:
        return schedule.at
    zone = ZoneInfo(schedule.zone)
    wall = _wall(by, zone)
    # In the second pass of a repeated hour the clock has shown later times already: by the length of the hour at most.
    furthest = wall + (by - wall.replace(tzinfo=zone).astimezone(UTC))
    backwards = CronSim(schedule.cron, furthest.replace(microsecond=0) + timedelta(seconds=1), reverse=True)
    return next((moment for moment in (_moment(wall, zone) for wall in backwards) if moment <= by), None)


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    """Return the time that the wall clock shows at a moment, without a zone."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _moment(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment at which the wall clock first shows or passes a time."""
    moment = wall.replace(tzinfo=zone).astimezone(UTC)
    if _wall(moment, zone) == wall:
        return moment
    # In a gap, the clock of before gives a moment after the change, and the clock of after one before it.
    early = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    moments = range(int((moment - early).total_seconds()) + 1)
    return early + timedelta(
        seconds=bisect(moments, wall, key=lambda seconds: _wall(early + timedelta(seconds=seconds), zone))
    )
