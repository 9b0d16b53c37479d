"""The size of the work that `pacioli bench` measures, and a line of its result."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ops.proving.cpu import Cost

BALANCES = 10_000
BULK = 1_000

Say = Callable[[str], None]
"""A function that shows what is going on."""


class Row(NamedTuple):
    """One line of the result. Rates are postings a second, times are milliseconds, and disk is in bytes."""

    name: str
    rate: float
    against: str = ""
    ratio: float | None = None
    aim: str = ""
    cpu_us: float | None = None
    """The CPU microseconds of all parts of the service together for each posting."""
    shares: dict[str, float] | None = None
    """The fraction of each part in them."""

    @classmethod
    def costing(cls, name: str, count: int, cost: Cost, against: Row | None = None, aim: str = "") -> Row:
        """A line with its rate and cost, and with the ratio of its rate to that of another line."""
        rate = count / cost.seconds
        ratio = None if against is None else rate / against.rate
        return cls(
            name, rate, against.name if against else "", ratio, aim, cpu_us=cost.us_a_row(count), shares=cost.shares()
        )
