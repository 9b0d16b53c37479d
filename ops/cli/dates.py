"""The one reader of dates that people type on the command line. ``WHEN`` is the type of every option that takes a time.

A time without a zone is one of the clock on the wall: of the zone that the command was given, else of this machine. Show it
back with ``show.text.clock``, which says the zone.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import click

EXAMPLES = "2026-12-24 08:00, 2026-12-24T08:00:00+01:00, tomorrow 8:00, friday 17:30, or in 2 hours"

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_UNITS = {"minute": "minutes", "min": "minutes", "hour": "hours", "h": "hours", "day": "days", "week": "weeks"}
_SPAN = re.compile(r"(?:in\s+)?\+?(\d{1,6})\s*(minute|min|hour|h|day|week)s?(\s+ago)?")
_HOURS = re.compile(r"(\d{1,2})(?::(\d{2})(?::(\d{2}))?)?\s*(am|pm)?")
_ZONE = re.compile(r"\s+(UTC|Z|[A-Z][A-Za-z_]+/[A-Za-z_/+-]+)$")


class Unread(ValueError):
    """The text is no time. The message says why, and what would be one."""


def read_when(text: str, *, now: datetime, zone: tzinfo | None = None) -> datetime:
    """Read a time that a person typed. ``zone`` is that of a text without one; None is the zone of this machine.

    Raises:
        Unread: it is no time, may mean two, or the clocks leave it out.
    """
    given = text.strip()
    if (named := _ZONE.search(given)) is not None:
        given, zone = given[: named.start()], _zone(named[1])
    lower = given.lower()
    if lower == "now":
        return now
    if (span := _SPAN.fullmatch(lower)) is not None and (lower.startswith(("in ", "+")) != bool(span[3])):
        return _later(text, now, _span(span), back=bool(span[3]))
    try:
        found = datetime.fromisoformat(given)
    except ValueError:
        found = _spoken(text, lower, now.astimezone(zone))
    if found.tzinfo is not None:
        return found
    return _on_the_wall(text, found, zone)


class When(click.ParamType[datetime]):
    """A time, as ``read_when`` reads it. A command with --timezone reads it in that zone."""

    name = "time"

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        name = ctx.params.get("timezone") if ctx is not None else None
        try:
            return read_when(value, now=self._clock(), zone=_zone(name) if isinstance(name, str) else None)
        except Unread as error:
            self.fail(str(error), param, ctx)


WHEN = When()


def _span(found: re.Match[str]) -> timedelta:
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _later(text: str, now: datetime, span: timedelta, *, back: bool) -> datetime:
    try:
        return now - span if back else now + span
    except OverflowError:
        raise Unread(f"{text!r} is too far away") from None


def _spoken(text: str, lower: str, now: datetime) -> datetime:
    """Read a day in words with an hour, or an hour alone, which is today's."""
    word, _, hours = lower.partition(" ")
    days = {"today": 0, "tomorrow": 1, "yesterday": -1}
    if word in days:
        day = now.date() + timedelta(days=days[word])
    elif word in _DAYS:  # The next such day; today is not meant by its name.
        day = now.date() + timedelta(days=(_DAYS.index(word) - now.weekday() - 1) % 7 + 1)
    elif re.fullmatch(r"\d{4}-\d{2}-\d{2}", word):
        day = _day(text, word)
    elif _HOURS.fullmatch(lower) and ":" in lower:
        day, hours = now.date(), lower
    else:
        raise _unread(text)
    clock = _HOURS.fullmatch(hours.strip().removeprefix("at ").strip() or "0:00")
    if clock is None:
        raise _unread(text)
    hour = int(clock[1])
    if clock[4] is not None:
        if not 1 <= hour <= 12:
            raise _unread(text)
        hour = hour % 12 + (12 if clock[4] == "pm" else 0)
    elif clock[2] is None and hours.strip():
        raise Unread(f"{text!r} has an hour without minutes: write 8:00, or 8am")
    try:
        return datetime(day.year, day.month, day.day, hour, int(clock[2] or 0), int(clock[3] or 0))
    except ValueError:
        raise _unread(text) from None


def _day(text: str, word: str) -> date:
    try:
        return date.fromisoformat(word)
    except ValueError:
        raise _unread(text) from None


def _on_the_wall(text: str, found: datetime, zone: tzinfo | None) -> datetime:
    """Give a time its zone. Twice a year the clocks leave an hour out, and repeat one."""
    try:
        first, second = (found.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        back = first.astimezone(zone).replace(tzinfo=None)
    except (OverflowError, ValueError):
        raise Unread(f"{text!r} is too far away") from None
    if back != found:
        raise Unread(
            f"{text!r} does not exist: the clocks are set forward then, from {found:%H}:00 on; say another time"
        )
    if first != second:
        raise Unread(
            f"{text!r} comes twice, because the clocks are set back then: say which one, "
            f"{first.isoformat()} or {second.isoformat()}"
        )
    return first.astimezone(zone)


def _zone(name: str) -> tzinfo:
    if name in ("UTC", "Z"):
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise Unread(f"there is no time zone {name!r}: name one such as Europe/Berlin") from None


def _unread(text: str) -> Unread:
    return Unread(f"{text!r} is not a time: write one such as {EXAMPLES}")
