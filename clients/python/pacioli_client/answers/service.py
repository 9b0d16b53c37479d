"""Answers about the whole service: queues, health and verification."""

from datetime import datetime
from decimal import Decimal

from msgspec import UNSET, Struct, UnsetType


class Queue(Struct, frozen=True, kw_only=True):
    """A queue: how much waits in it, and how fast it moves."""

    number: int
    depth: int
    oldest_age_s: Decimal | None
    cursor: int
    last_drained_at: datetime | None
    rate_per_s: Decimal
    decided: int


class Checks(Struct, frozen=True, kw_only=True):
    """The state of each part of the service: UP, DEGRADED, DOWN, or UNKNOWN."""

    database: str
    append: str | UnsetType = UNSET
    broker: str | UnsetType = UNSET
    workers: str | UnsetType = UNSET
    workers_alive: list[str] | UnsetType = UNSET
    ticks: str | UnsetType = UNSET
    queues: str | UnsetType = UNSET
    oldest_queued_age_s: Decimal | UnsetType | None = UNSET
    clocks: str | UnsetType = UNSET
    verification: str | UnsetType = UNSET
    notary: str | UnsetType = UNSET
    webhooks: str | UnsetType = UNSET
    threads: str | UnsetType = UNSET
    disk: str | UnsetType = UNSET


class Problem(Struct, frozen=True, kw_only=True):
    """One thing that is amiss: which part, since when, and what to do."""

    part: str
    status: str
    since: datetime
    what: str
    advice: str


class Health(Struct, frozen=True, kw_only=True):
    """The health of the service. ``status`` is DOWN while it accepts no transactions, and UP when nothing is amiss."""

    status: str
    reason: str | UnsetType = UNSET
    checks: Checks
    problems: list[Problem] = []


class PartChild(Struct, frozen=True, kw_only=True):
    """A child process of a worker, which runs the tasks."""

    pid: int
    answers: bool
    task: str | None
    busy_s: Decimal
    ended: int
    queue: int | None = None


class Process(Struct, frozen=True, kw_only=True):
    """The last heartbeat of a process of the service."""

    name: str
    part: str
    host: str
    heard_s: Decimal
    clock_off_s: Decimal
    up_s: Decimal | None
    consuming: bool | None
    standing_in: bool | None
    children: list[PartChild]


class TickDone(Struct, frozen=True, kw_only=True):
    """When a tick was last done, and by which process."""

    name: str
    at: datetime | None
    ago_s: Decimal | None
    by: str


class LastVerification(Struct, frozen=True, kw_only=True):
    """The newest verification of a part of the log."""

    kind: str
    at: datetime
    ago_s: Decimal
    last_sequence: int
    problem_count: int


class LastSeal(Struct, frozen=True, kw_only=True):
    """The newest seal of the notary."""

    number: int
    at: datetime
    ago_s: Decimal
    last_sequence: int
    unsealed: int


class Parts(Struct, frozen=True, kw_only=True):
    """The last records of the parts of the service. ``known`` is False while their records cannot be read."""

    known: bool
    processes: list[Process]
    ticks: list[TickDone]
    verification: LastVerification | None
    seal: LastSeal | None = None


class Damage(Struct, frozen=True, kw_only=True):
    """A value that does not follow from the history."""

    table: str
    key: str
    what: str
    expected: str
    found: str


class Warning(Struct, frozen=True, kw_only=True):
    """A row from before a rule of today. It is no damage."""

    table: str
    key: str
    what: str
    message: str


class CheckpointUsed(Struct, frozen=True, kw_only=True):
    """A checkpoint, which vouches for the log up to a sequence."""

    id: int
    sequence: int
    at: datetime


class SealChecked(Struct, frozen=True, kw_only=True):
    """The newest valid seal of the notary."""

    number: int
    sequence: int
    at: str
    key: str
    pinned: bool


class Attested(Struct, frozen=True, kw_only=True):
    """A statement of the notary of how far the ledger was verified."""

    statement: str
    signature: str


class Verification(Struct, frozen=True, kw_only=True):
    """The result of a verification."""

    ok: bool
    from_sequence: int
    to_sequence: int
    complete: bool
    transactions: int
    undecided: int
    rejected: int
    balances: int
    holds: int | None
    currencies: int
    problem_count: int
    problems: list[Damage]
    warning_count: int = 0
    warnings: list[Warning] = []
    checkpoint: CheckpointUsed | None
    signed: bool
    sealed: SealChecked | None = None
    attested: Attested | None = None
    note: str | UnsetType = UNSET
