"""Makes the calendar of a month of funding: the runs that come, and the last run of each job."""

import calendar
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from msgspec import Struct


class Run(Struct, frozen=True):
    """A run, or several of one job on one day."""

    job: dict[str, Any]
    at: datetime
    count: int = 1
    status: str = ""
    """The status of a run that was made. It is empty for one to come."""
    path: str = ""


class Day(Struct, frozen=True):
    """A day of the month. ``runs`` is in order."""

    date: date
    is_today: bool
    runs: Sequence[Run]


class Month(Struct, frozen=True):
    """A month. ``before`` and ``after`` are the months beside it, as the query names them. Its first day is a ``weekday``."""

    title: str
    days: Sequence[Day]
    weekday: int
    before: str
    after: str

    @property
    def has_runs(self) -> bool:
        """Whether there is anything in it."""
        return any(day.runs for day in self.days)


def month_of(text: str, today: date) -> date | None:
    """Read a month such as 2026-11, and return its first day. The default is the month of today. None is no month."""
    if not text:
        return today.replace(day=1)
    try:
        found = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date()
    except ValueError:
        return None
    return found if 1970 <= found.year < 9000 else None


def make(first: date, today: date, runs: Iterable[Run]) -> Month:
    """Make the calendar of the month that begins with ``first``. Several runs of a job on a day become one entry."""
    by_day: dict[date, dict[tuple[str, str], Run]] = {}
    for run in sorted(runs, key=lambda run: run.at):
        entries = by_day.setdefault(run.at.date(), {})
        same = (run.job["job_id"], run.status)
        known = entries.get(same)
        entries[same] = run if known is None else Run(run.job, known.at, known.count + 1, known.status, known.path)
    weekday, length = calendar.monthrange(first.year, first.month)
    dates = [first + timedelta(days=number) for number in range(length)]
    days = [Day(each, each == today, list(by_day.get(each, {}).values())) for each in dates]
    before, after = first - timedelta(days=1), first + timedelta(days=length)
    return Month(f"{first:%B %Y}", days, weekday + 1, f"{before:%Y-%m}", f"{after:%Y-%m}")
