"""Answers about monitors."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType


class Condition(Struct, frozen=True, kw_only=True):
    """The condition of a monitor. ``precise_value`` is in minor units."""

    value: Decimal
    precision: int
    precise_value: int
    field: str
    operator: str


class MonitorState(Struct, frozen=True, kw_only=True):
    """The memory of a monitor: whether its condition is true, and how often it has fired."""

    triggered: bool
    version: int
    since: datetime
    fired: int
    fired_at: datetime | None


class Monitor(Struct, frozen=True, kw_only=True):
    """A condition on a balance."""

    monitor_id: str
    balance_id: str
    condition: Condition
    description: str | UnsetType = UNSET
    call_back_url: str | UnsetType = UNSET
    created_at: datetime
    meta_data: dict[str, Any] | None
    mode: Literal["edge", "level"]
    hysteresis: Decimal
    min_interval: float
    once: bool
    active: bool
    state: MonitorState


class Crossed(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """The posting that made a condition true, and the value before and after it, in minor units."""

    from_: int | None
    to: int
    sequence: int | None
    transaction_id: str | None
    reason: Literal["crossed", "already true"]
    at: datetime


class FiringDelivery(Struct, frozen=True, kw_only=True):
    """How the delivery of a firing to the call_back_url went so far."""

    status: Literal["PENDING", "DELIVERED", "FAILED"]
    attempts: int
    answer: int | None
    error: str | None


class Firing(Struct, frozen=True, kw_only=True):
    """One firing of a monitor."""

    event_id: str
    version: int
    crossed: Crossed
    delivery: FiringDelivery | UnsetType = UNSET
