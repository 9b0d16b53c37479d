"""The clock of this host, by which pages say how long ago something was, and sessions end. No money depends on it."""

from datetime import UTC, datetime


def now() -> datetime:
    """Return the time of this host."""
    return datetime.now(UTC)
