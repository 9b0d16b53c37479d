"""When a job runs: at one time, or by a cron expression that is read on the clock of a time zone.

The times of an expression are those of the clock on the wall, and each comes when that clock first reaches or passes it.
A time that the clock skips (spring) runs at the first moment after the gap, once, together with whatever else would run
at that moment: the due time is the identity of a run. A time that comes twice (autumn) runs the first time it comes,
once. That holds for every expression, also ``*/30 * * * *``, of which nothing runs while an hour repeats.
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
"""How late a run may be that still counts as in time."""

_LONGEST = 255
"""Characters of an expression or the name of a zone."""

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
"""Name, what it takes, and an example."""


class Schedule(NamedTuple):
    """When a job runs: at one time, or by a cron expression in a time zone.

    A wrong expression or zone is refused by ``schedule_problems`` alone, which therefore comes first.
    """

    at: datetime | None = None  # aware, UTC; exactly one of at and cron is given
    cron: str | None = None  # five fields
    zone: str = "UTC"  # IANA name
    ends_at: datetime | None = None  # nothing is due after it; an occurrence at this very moment still is
    count: int | None = None  # type: ignore[assignment]  # runs in all; a tuple's method of that name is not missed


def schedule_problems(cron: str | None, zone: str | None) -> list[tuple[str, str]]:
    """Return what is wrong with an expression and a zone, as field (``cron``, ``timezone``) and text. None is left out."""
    return [
        *(("cron", text) for text in (_cron_problems(cron) if cron is not None else ())),
        *(("timezone", text) for text in (_zone_problems(zone) if zone is not None else ())),
    ]


def occurrences(schedule: Schedule, *, after: datetime) -> Iterator[datetime]:
    """Yield due times in UTC after a moment, strictly increasing, to the end of the schedule or of the calendar.

    ``count`` is not looked at: how many runs were made is not known here.
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
    """Return some match, or None where there is none or the expression is wrong.

    cronsim gives up after fifty years. The rarest day, a 29 February on a given weekday, comes back within forty, so
    what is not found from one start would not be found from any.
    """
    try:
        return next(CronSim(cron, datetime(2000, 1, 1)), None)
    except CronSimError:
        return None


def _zone_problems(zone: str) -> Iterator[str]:
    names = _zone_names()
    # The name is looked up among those that exist and never opened as a file, which it may be made to be.
    if zone in names.values():
        return
    near = get_close_matches(zone.lower(), names, n=3) if len(zone) <= _LONGEST else []
    meant = f"; did you mean {' or '.join(names[name] for name in near)}?" if near else ", such as Europe/Berlin or UTC"
    yield f"must be the name of an IANA time zone{meant}"


@cache
def _zone_names() -> dict[str, str]:
    """Names of all zones, by their lower case. Reading them opens hundreds of files."""
    # localtime is whatever this machine is set to, and Factory says that nobody has set it.
    return {name.lower(): name for name in sorted(available_timezones() - {"localtime", "Factory"})}


def _times(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """Yield what comes after a moment, in order, with repetitions, and perhaps with some that came before it."""
    if schedule.cron is None:
        assert schedule.at is not None
        yield schedule.at
        return
    zone = ZoneInfo(schedule.zone)
    try:
        # cronsim would treat changes of the clock in a way of its own, so it never gets to see the zone.
        for wall in CronSim(schedule.cron, _wall(after, zone)):
            yield _moment(wall, zone)
    except OverflowError:
        return  # the calendar ends with the year 9999


def latest(schedule: Schedule, *, by: datetime) -> datetime | None:
    """Return the last occurrence that is not after a moment.

    It looks backwards from there, as walking through years of downtime takes too long.
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
    """Return what the clock on the wall shows."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _moment(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return when the clock on the wall first shows a time, or first passes it."""
    moment = wall.replace(tzinfo=zone).astimezone(UTC)
    if _wall(moment, zone) == wall:
        return moment
    # In a gap, the clock of before gives a moment after the change, and the clock of after one before it.
    early = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    moments = range(int((moment - early).total_seconds()) + 1)
    return early + timedelta(
        seconds=bisect(moments, wall, key=lambda seconds: _wall(early + timedelta(seconds=seconds), zone))
    )
