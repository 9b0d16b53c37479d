"""Says when a monitor fires. It is pure: no clock, no database."""

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from operator import eq, ge, gt, le, lt, ne
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace


class Sums(NamedTuple):
    """The sums of a balance in minor units, after the postings up to one."""

    credit: int = 0
    debit: int = 0
    inflight_credit: int = 0
    inflight_debit: int = 0
    version: int = 0

    def plus(self, change: "Sums") -> "Sums":
        """Add what a posting has changed."""
        return Sums(*(one + other for one, other in zip(self, change, strict=True)))

    def minus(self, change: "Sums") -> "Sums":
        """Take back what a posting has changed."""
        return Sums(*(one - other for one, other in zip(self, change, strict=True)))


FIELDS: dict[str, Callable[[Sums], int]] = {
    "balance": lambda sums: sums.credit - sums.debit,
    "credit_balance": lambda sums: sums.credit,
    "debit_balance": lambda sums: sums.debit,
    "inflight_balance": lambda sums: sums.inflight_credit - sums.inflight_debit,
    "inflight_credit_balance": lambda sums: sums.inflight_credit,
    "inflight_debit_balance": lambda sums: sums.inflight_debit,
    "available_balance": lambda sums: sums.credit - sums.debit - sums.inflight_debit,
}
"""The values that can be watched, by the name of the field of a balance."""

OPERATORS = {">": gt, "<": lt, ">=": ge, "<=": le, "=": eq, "!=": ne}

SYNONYMS = {"==": "="}


class Mode(StrEnum):
    """How often a condition fires while it stays true."""

    EDGE = "edge"
    """Once, when it becomes true."""
    LEVEL = "level"
    """After each posting of the balance, as Blnk does."""


class Condition(Struct, frozen=True):
    """The condition: the value that is watched, and when it is true. Amounts are minor units."""

    field: str
    operator: str
    threshold: int
    hysteresis: int = 0
    """How far the value must come back before the condition counts as ended."""

    def value_of(self, sums: Sums) -> int:
        """Return the value that is watched."""
        return FIELDS[self.field](sums)

    def holds(self, value: int) -> bool:
        """Tell whether the condition is true."""
        return bool(OPERATORS[self.operator](value, self.threshold))

    def has_ended(self, value: int) -> bool:
        """Tell whether a condition that was true is over, by more than the hysteresis."""
        if self.operator == "=":
            return abs(value - self.threshold) > self.hysteresis
        if self.operator in (">", ">="):
            return not OPERATORS[self.operator](value, self.threshold - self.hysteresis)
        if self.operator in ("<", "<="):
            return not OPERATORS[self.operator](value, self.threshold + self.hysteresis)
        return not self.holds(value)


class Terms(Struct, frozen=True):
    """The condition of a monitor, and how it fires."""

    condition: Condition
    mode: str = Mode.EDGE
    once: bool = False
    """Whether it is at rest after it has fired."""
    min_interval_s: float = 0.0
    """It does not fire again within so many seconds."""


class State(Struct, frozen=True):
    """The memory of a monitor from one posting to the next."""

    triggered: bool
    """Whether the condition became true and has not ended since."""
    version: int
    """The version of the balance when that changed."""
    since: datetime
    """The time when that changed."""
    active: bool = True
    fired: int = 0
    """How often it has fired."""
    fired_at: datetime | None = None


def start(
    terms: Terms, sums: Sums, now: datetime, *, fire_now: bool, before: State | None = None
) -> tuple[State, bool]:
    """Begin to watch a balance. Returns the state, and whether the monitor fires because its condition is true already.

    ``before`` is the state of a monitor that is changed. It has fired as often as it has.
    """
    triggered = terms.condition.holds(terms.condition.value_of(sums))
    state = State(
        triggered,
        sums.version,
        now,
        fired=before.fired if before is not None else 0,
        fired_at=before.fired_at if before is not None else None,
    )
    return _fire(terms, state, now) if triggered and fire_now else (state, False)


def step(terms: Terms, state: State, sums: Sums, now: datetime) -> tuple[State, bool]:
    """Look at the sums of the balance after a posting. Returns the new state, and whether the monitor fires."""
    if not state.active:
        return state, False
    value = terms.condition.value_of(sums)
    holds = terms.condition.holds(value)
    crosses = holds and not state.triggered
    if crosses or (state.triggered and not holds and terms.condition.has_ended(value)):
        state = replace(state, triggered=holds, version=sums.version, since=now)
    return _fire(terms, state, now) if crosses or (holds and terms.mode == Mode.LEVEL) else (state, False)


def _fire(terms: Terms, state: State, now: datetime) -> tuple[State, bool]:
    """Fire, unless the monitor has fired within its interval."""
    if state.fired_at is not None:
        since = now - state.fired_at  # It is negative when the clock was set back, and then nothing is known of it.
        if timedelta(0) <= since < timedelta(seconds=terms.min_interval_s):
            return state, False
    return replace(state, active=not terms.once, fired=state.fired + 1, fired_at=now), True
