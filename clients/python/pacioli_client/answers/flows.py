"""Answers about flows and activity."""

from datetime import datetime
from decimal import Decimal
from typing import Literal

from msgspec import Struct


class FlowNode(Struct, frozen=True, kw_only=True):
    """A place where money is: an internal balance, all other balances of a ledger, or the rest."""

    id: str
    kind: Literal["balance", "ledger", "others"]
    name: str
    ledger_id: str


class Flow(Struct, frozen=True, kw_only=True):
    """The money that moved from one node to another, by their ids."""

    source: str
    destination: str
    currency: str
    precision: int
    precise_amount: int
    amount: Decimal
    count: int


class Gathered(Struct, frozen=True, kw_only=True):
    """How many nodes of a currency the node ``others`` stands for."""

    currency: str
    nodes: int


class Flows(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """The flows between nodes within a time. Everything that was accepted before ``complete_to`` is counted."""

    from_: datetime
    to: datetime
    complete_to: datetime
    nodes: list[FlowNode]
    flows: list[Flow]
    others: list[Gathered]


class NodeSides(Struct, frozen=True, kw_only=True):
    """The sums that came in and went out, of a balance or from and to a counterparty, in one currency."""

    id: str
    kind: Literal["balance", "ledger", "others"]
    name: str
    ledger_id: str
    currency: str
    precision: int
    precise_amount_in: int
    amount_in: Decimal
    count_in: int
    precise_amount_out: int
    amount_out: Decimal
    count_out: int


class FlowsOfNode(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """The inside of a node, and what it exchanged with others within a time."""

    from_: datetime
    to: datetime
    complete_to: datetime
    node: FlowNode
    counterparties: list[NodeSides]
    balances: list[NodeSides]
    balances_from: datetime
    truncated: bool


class ActivityMinute(Struct, frozen=True, kw_only=True):
    """The fate of the transactions that were accepted within one step."""

    at: datetime
    accepted: int
    applied: int
    inflight: int
    rejected: int


class Activity(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """How much was done within a time, step by step without a gap."""

    from_: datetime
    to: datetime
    step: Literal["minute", "hour", "day"]
    complete_to: datetime
    minutes: list[ActivityMinute]
