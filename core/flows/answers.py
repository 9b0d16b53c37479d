"""Defines the answers about flows and activity."""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from core.base.answers import Major, Time


class NodeKind(StrEnum):
    """The kinds of things that a node stands for."""

    BALANCE = "balance"
    """One internal balance, which has an @Name."""
    LEDGER = "ledger"
    """All balances of a ledger that have no @Name."""
    OTHERS = "others"
    """The nodes that are too small to be shown by themselves."""


OTHERS = "others"
"""The ID of the node of that kind. There is one for all currencies."""


class FlowNode(Struct, frozen=True, kw_only=True):
    """A place where money is: an internal balance, all other balances of a ledger, or the rest."""

    id: str
    """The ID of the balance or ledger, or the word others."""
    kind: NodeKind
    name: str
    """The @Name of the balance, or the name of the ledger."""
    ledger_id: str
    """The ledger of it. It is empty for others."""


class Flow(Struct, frozen=True, kw_only=True):
    """The money that moved from one node to another within the time. Both may be the same node."""

    source: str
    """The ID of a node."""
    destination: str
    currency: str
    precision: int
    precise_amount: int
    """The sum in minor units."""
    amount: Major
    """The sum in major units."""
    count: int
    """The number of transactions that it adds up."""


class Gathered(Struct, frozen=True, kw_only=True):
    """How many nodes of a currency the node others stands for."""

    currency: str
    nodes: int


class Flows(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """The flows between nodes within a time. Amounts of different currencies are never added."""

    from_: Time
    """The start of the time, at a whole minute."""
    to: Time
    """The end of the time, at a whole minute. What was accepted at it does not count."""
    complete_to: Time
    """Everything that was accepted before this time is counted. Later transactions count as soon as they are decided."""
    nodes: list[FlowNode]
    flows: list[Flow]
    """The flows by currency, the largest first. They add up to all that moved within the time."""
    others: list[Gathered]


class NodeSides(Struct, frozen=True, kw_only=True):
    """The sums that came into and went out of a balance, or of a counterparty, within the time, in one currency."""

    id: str
    kind: NodeKind
    name: str
    ledger_id: str
    currency: str
    precision: int
    precise_amount_in: int
    """The sum that came in, in minor units. For a counterparty, it came into the node from there."""
    amount_in: Major
    count_in: int
    precise_amount_out: int
    """The sum that went out, in minor units. For a counterparty, it went from the node to there."""
    amount_out: Major
    count_out: int


class FlowsOfNode(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """The inside of a node, and what it exchanged with others within a time."""

    from_: Time
    to: Time
    complete_to: Time
    node: FlowNode
    counterparties: list[NodeSides]
    """The nodes that it exchanged money with, the largest first. For a ledger, itself may be one of them."""
    balances: list[NodeSides]
    """The balances of a ledger that moved most. It is empty for an internal balance, which is only itself."""
    balances_from: Time
    """The time from which balances are added up. It is later than from where only the latest transactions were looked at."""
    truncated: bool
    """Whether counterparties or balances are left out, or transactions were not looked at."""


class ActivityStep(StrEnum):
    """The length of time that one point of activity stands for."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


class ActivityMinute(Struct, frozen=True, kw_only=True):
    """The fate of the transactions that were accepted within one step."""

    at: Time
    """The start of the step."""
    accepted: int
    """All that were accepted and are decided, each leg of a split by itself."""
    applied: int
    """Those of them that moved money."""
    inflight: int
    """Those that hold money."""
    rejected: int


class Activity(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """How much was done within a time, step by step without a gap. What is left of accepted are voids of holds."""

    from_: Time
    to: Time
    step: ActivityStep
    complete_to: Time
    minutes: list[ActivityMinute]
    """One for each step."""


class Between(Struct, frozen=True):
    """A time from ``first`` on, and before ``end``."""

    first: datetime
    end: datetime
