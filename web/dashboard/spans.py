"""The time that a page shows: the last hour, day, week and so on, or one of one's own."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from msgspec import Struct

from web.dashboard import query
from web.dashboard.now import now

LENGTHS = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
    "year": timedelta(days=365),
}
OWN = "own"


class Span(Struct, frozen=True):
    """A time, and what else the query of the page chooses."""

    period: str
    """A name of ``LENGTHS``, or own."""
    start: datetime
    end: datetime | None
    """None is now."""
    more: dict[str, object] = {}

    def times(self) -> dict[str, object]:
        """Return the time as parameters of the API."""
        return {"from": self.start.isoformat(), "to": self.end and self.end.isoformat()}

    def query(self, **other: object) -> str:
        """Make the query of a page with the same choice, but for what ``other`` says."""
        given: dict[str, object] = {"period": self.period, **self.more}
        if other.get("period", self.period) == OWN:
            end = self.end or now()
            given |= {"from": _minute(self.start), "to": _minute(end)}
        return urlencode({name: value for name, value in (given | other).items() if value not in (None, "")})


def read(names: Sequence[str], default: str, **more: object) -> Span:
    """Read the time from the query of this request. ``more`` is kept in the queries of links."""
    period = query.choice("period", (*names, OWN), default)
    if period != OWN:
        return Span(period, now() - LENGTHS[period], None, more)
    start, end = query.instant("from"), query.instant("to")
    return Span(OWN, start or now() - LENGTHS["day"], end, more)


def _minute(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M}"
