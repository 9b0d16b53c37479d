"""Defines the answers of monitors."""

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from core.base.answers import Major, Members, Time, major, members
from core.ledger.balances import Balance
from core.ledger.store.transaction_rows import TRANSACTION_PREFIX
from core.monitors.store import EVENT_PREFIX, FiringRow, MonitorRow


class Condition(Struct, frozen=True, kw_only=True):
    """The condition of a monitor."""

    value: Major
    """The threshold in major units."""
    precision: int
    """The number of minor units in a major unit."""
    precise_value: int
    """value times precision: the threshold in minor units, of any size."""
    field: str
    """The field of the balance that is watched."""
    operator: str
    """It stands between the field and the value."""


class MonitorState(Struct, frozen=True, kw_only=True):
    """The memory of a monitor."""

    triggered: bool
    """Whether the condition became true and has not ended since."""
    version: int
    """The version of the balance when that changed."""
    since: Time
    """The time when that changed."""
    fired: int
    """How often the monitor has fired."""
    fired_at: Time | None
    """When it fired last."""


class Monitor(Struct, frozen=True, kw_only=True):
    """Blnk's monitor object, with what Pacioli adds."""

    monitor_id: str
    balance_id: str
    condition: Condition
    description: str | UnsetType = UNSET
    """It is left out when there is none."""
    call_back_url: str | UnsetType = UNSET
    """It is left out when there is none."""
    created_at: Time
    meta_data: Members | None
    mode: Literal["edge", "level"]
    """edge fires when the condition becomes true, level after each posting while it is true."""
    hysteresis: Major
    """The value must come back by more than this before an edge can fire again."""
    min_interval: float
    """The monitor does not fire again within so many seconds."""
    once: bool
    """Whether it is set to rest when it has fired."""
    active: bool
    """Whether it watches."""
    state: MonitorState


class UpdatedMonitor(Monitor, frozen=True, kw_only=True):
    """The monitor after an update, with Blnk's message."""

    message: str


class MonitorPage(Struct, frozen=True):
    """A page of monitors, and how many there are in all."""

    data: list[Monitor]
    total_count: int
    truncated: bool | UnsetType = UNSET
    """true when the look or the counting ended early. The count is then too low, and the Link header goes on."""


class Crossed(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """The posting that made a condition true, and the value before and after it."""

    from_: int | None
    """The value before the posting, in minor units. It is null when the condition was true already."""
    to: int
    """The value after the posting."""
    sequence: int | None
    """The position of the posting in the order of acceptance."""
    transaction_id: str | None
    reason: Literal["crossed", "already true"]
    """already true is the firing of a monitor that was made, or changed, when its condition was true."""
    at: Time


class FiringDelivery(Struct, frozen=True, kw_only=True):
    """How the delivery of a firing to the call_back_url went so far."""

    status: Literal["PENDING", "DELIVERED", "FAILED"]
    attempts: int
    answer: int | None
    """The status that the receiver answered last."""
    error: str | None


class Firing(Struct, frozen=True, kw_only=True):
    """One firing of a monitor."""

    event_id: str
    """The ID of its event, which webhooks have too."""
    version: int
    """The version of the balance after the posting."""
    crossed: Crossed
    delivery: FiringDelivery | UnsetType = UNSET
    """It is there when the firing was sent to the monitor's call_back_url."""


class MonitorEvent(Monitor, frozen=True, kw_only=True):
    """The data of the event ``balance.monitor``: the monitor, its balance, and what happened."""

    balance: Balance
    """The balance after the posting."""
    crossed: Crossed


def monitor_of(row: MonitorRow) -> Monitor:
    """Make the answer of a monitor from its row."""
    return Monitor(**_values(row))


def updated_of(row: MonitorRow) -> UpdatedMonitor:
    """Make the answer of an update."""
    return UpdatedMonitor(message="BalanceMonitor updated successfully", **_values(row))


def event_of(row: MonitorRow, balance: Balance, crossed: Crossed) -> MonitorEvent:
    """Make the data of the event of a firing."""
    return MonitorEvent(balance=balance, crossed=crossed, **_values(row))


def firing_of(row: FiringRow, delivery: FiringDelivery | UnsetType = UNSET) -> Firing:
    """Make the answer of a firing from its row."""
    crossed = Crossed(
        from_=row.before,
        to=row.after,
        sequence=row.seq,
        transaction_id=None if row.transaction is None else f"{TRANSACTION_PREFIX}{row.transaction}",
        reason="already true" if row.seq is None else "crossed",
        at=row.at,
    )
    return Firing(event_id=f"{EVENT_PREFIX}{row.event}", version=row.version, crossed=crossed, delivery=delivery)


def _values(row: MonitorRow) -> dict[str, Any]:
    condition, state = row.terms.condition, row.state
    return {
        "monitor_id": row.monitor_id,
        "balance_id": row.balance_id,
        "condition": Condition(
            value=major(condition.threshold, row.precision),
            precision=row.precision,
            precise_value=condition.threshold,
            field=condition.field,
            operator=condition.operator,
        ),
        "description": row.description or UNSET,
        "call_back_url": row.call_back_url or UNSET,
        "created_at": row.created_at,
        "meta_data": members(row.meta_data),
        "mode": row.terms.mode,
        "hysteresis": major(condition.hysteresis, row.precision),
        "min_interval": _whole(row.terms.min_interval_s),
        "once": row.terms.once,
        "active": state.active,
        "state": MonitorState(
            triggered=state.triggered,
            version=state.version,
            since=state.since,
            fired=state.fired,
            fired_at=state.fired_at,
        ),
    }


def _whole(seconds: float) -> float:
    """Return a whole number as an integer, because some clients read no other."""
    return int(seconds) if seconds == int(seconds) else seconds
