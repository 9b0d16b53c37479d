"""Cuts a time into the periods that have sums: as few as possible, the longest first."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

MINUTE_S, HOUR_S, DAY_S, BLOCK_S = 60, 3_600, 86_400, 32 * 86_400

LENGTHS_S = (MINUTE_S, HOUR_S, DAY_S, BLOCK_S)
"""The lengths of the periods, each a multiple of the one before it. All of them begin at 1970-01-01T00:00:00Z.

A block of days makes a year short: without it, a year is 365 periods, and with it some 70 at most.
"""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Piece(NamedTuple):
    """Adjacent periods of one length."""

    length_s: int
    first: datetime
    end: datetime


def rounded_down(at: datetime, length_s: int) -> datetime:
    """Return the start of the period that a time is in."""
    return at - (at - _EPOCH) % timedelta(seconds=length_s)


def rounded_up(at: datetime, length_s: int) -> datetime:
    """Return the first start of a period that is not before a time."""
    return rounded_down(at + timedelta(seconds=length_s) - timedelta.resolution, length_s)


def pieces(first: datetime, end: datetime, latest: datetime, lengths_s: Sequence[int] = LENGTHS_S) -> list[Piece]:
    """Cut the time from ``first`` to before ``end``, both at whole minutes, into pieces that do not overlap.

    Only minutes have sums from the period on that ``latest`` is in: the longer ones follow when they are over.
    """
    if first >= end or not lengths_s:
        return []
    *shorter, length_s = lengths_s
    closed = rounded_down(end if length_s == MINUTE_S else min(end, latest), length_s)
    inner = Piece(length_s, rounded_up(first, length_s), closed)
    if inner.first >= inner.end:
        return pieces(first, end, latest, shorter)
    return [
        *pieces(first, inner.first, latest, shorter),
        inner,
        *pieces(inner.end, end, latest, shorter),
    ]
