"""The values that the ledger is about. Amounts are minor units (``int``) throughout.

They are named tuples and not dataclasses because tens of thousands are made a second, straight from rows.
"""

from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from core.ledger.rules.log_row import LogRow


class Kind(IntEnum):
    """What a posting does. Stored as its number."""

    TRANSFER = 1
    """Moves money at once."""
    HOLD = 2
    """Reserves money on both sides (``inflight``)."""
    COMMIT_INFLIGHT = 3
    """Moves held money, in part or whole."""
    VOID_INFLIGHT = 4
    """Releases what is left of a hold."""
    SPLIT = 5
    """Moves nothing itself: its legs do, which follow it in the log. It is in no queue and has no outcome."""
    REFUND = 6
    """Gives back what another posting moved, in part or whole."""


class Status(StrEnum):
    """The state of a transaction, as clients see it."""

    SCHEDULED = "SCHEDULED"
    QUEUED = "QUEUED"
    INFLIGHT = "INFLIGHT"
    APPLIED = "APPLIED"
    VOID = "VOID"
    REJECTED = "REJECTED"


STATUS_NUMBERS = {Status.APPLIED: 1, Status.INFLIGHT: 2, Status.VOID: 3, Status.REJECTED: 4}
"""How an outcome's status is stored. QUEUED has no number: it is the absence of an outcome."""

STATUS_OF_NUMBER = {number: status for status, number in STATUS_NUMBERS.items()}

FINAL = frozenset({Status.INFLIGHT, Status.APPLIED, Status.VOID, Status.REJECTED})
"""Statuses that a wait ends at. INFLIGHT is decided: it moves on only when the client commits or voids."""


class RejectReason(IntEnum):
    """Why a posting was rejected, in the order in which the engine checks. Stored as its number."""

    NOT_INFLIGHT = 1
    """The transaction to commit or void holds nothing: it is not a hold, or was itself rejected."""
    ALREADY_VOIDED = 2
    """The hold's remainder has been released."""
    ALREADY_COMMITTED = 3
    """The hold has been committed whole."""
    COMMIT_EXCEEDS_ORIGINAL = 4
    """More than the hold ever held."""
    COMMIT_EXCEEDS_REMAINDER = 5
    """More than is left of the hold."""
    ALREADY_REFUNDED = 9
    """All of it has been given back."""
    REFUND_EXCEEDS_REMAINDER = 10
    """More than was not yet given back."""
    INSUFFICIENT_FUNDS = 6
    """The source's available balance is too small and no overdraft was asked for."""
    OVERDRAFT_LIMIT = 7
    """The source would go below the overdraft limit of this transaction."""
    ATOMIC_GROUP = 8
    """Another member of the same atomic group was rejected."""


SHORT_OF_MONEY = frozenset({RejectReason.INSUFFICIENT_FUNDS, RejectReason.OVERDRAFT_LIMIT})
"""The reasons that an earlier credit could remove, so the drain looks for one before it rejects."""


class Posting(NamedTuple):
    """One accepted row of the log, as the engine needs it."""

    seq: int
    """Place in the order of acceptance. Outcomes follow it."""
    kind: int
    """A ``Kind``."""
    queue: int
    source: int
    """Key of the balance that is debited."""
    destination: int
    """Key of the balance that is credited."""
    amount: int
    """0 in a commit, void or refund: all that is left."""
    allow_overdraft: bool
    overdraft_limit: int | None
    """How far below zero the source may go; None with ``allow_overdraft`` is unlimited."""
    hold_seq: int | None
    """The hold that a commit or void settles."""
    group_first: int | None
    """First and last seq of the atomic group; None outside one."""
    group_last: int | None
    refund_of: int | None = None
    """What a refund gives back."""


class Balance(NamedTuple):
    """The sums of one balance."""

    id: int
    credit: int
    debit: int
    inflight_credit: int
    inflight_debit: int
    version: int
    """Goes up by one with each posting that touches the balance."""
    last_credit_seq: int
    """Highest seq that credited it."""

    @property
    def balance(self) -> int:
        return self.credit - self.debit


class Hold(NamedTuple):
    """How far a hold is settled."""

    seq: int
    amount: int
    committed: int
    voided: int

    @property
    def remaining(self) -> int:
        return self.amount - self.committed - self.voided

    @property
    def status(self) -> Status:
        """APPLIED once settled with any money moved, VOID once settled with none."""
        if self.remaining:
            return Status.INFLIGHT
        return Status.APPLIED if self.committed else Status.VOID


class Refunded(NamedTuple):
    """How far something that moved money has been given back."""

    seq: int
    amount: int
    """That it moved."""
    refunded: int

    @property
    def remaining(self) -> int:
        return self.amount - self.refunded


class Rejection(NamedTuple):
    """Why not, with the sum that did not work out. Of a hold or refund, ``available`` is what is left of it."""

    reason: RejectReason
    available: int | None = None
    requested: int | None = None
    held: int | None = None
    """Money of the source that holds reserve."""
    overdraft_limit: int | None = None
    short_by: int | None = None
    culprit: int | None = None
    """Seq of the member that made an atomic group fail."""


class Outcome(NamedTuple):
    """What the engine decided. A rejected posting changes nothing; else the new values are here."""

    seq: int
    status: Status
    amount: int
    """Moved, held or released; 0 when rejected."""
    source: Balance | None = None
    destination: Balance | None = None
    hold: Hold | None = None
    rejection: Rejection | None = None
    refunded: Refunded | None = None
    """Of what a refund gives back, after it."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A validated transaction that has no position in the log yet."""

    row: LogRow
    route: int
    """The source's part in routing: it decides the queue when the row is appended."""
    legs: tuple["Draft", ...] = ()
    """The legs of a split, which follow it in the log."""
    atomic: bool = False
    """A split decides its legs together; a settlement is decided together with the others of its request."""
    due_at: datetime | None = None
    """When to accept it into the log; None is now."""
    settle_at: tuple[tuple[int, datetime], ...] = ()
    """When to settle a hold: pairs of COMMIT_INFLIGHT or VOID_INFLIGHT and the time."""

    def with_row(self, **values: Any) -> "Draft":
        """The draft with other values in some columns."""
        return replace(self, row=replace(self.row, **values))


class Accepted(NamedTuple):
    """A draft that is in the log for good, or was there before (``replayed``), or waits for its due date."""

    transaction_id: str
    seq: int
    """0 of one that is scheduled."""
    queue: int
    """-1 of a split and of one that is scheduled: they are in no queue."""
    accepted_at: datetime
    parent: str | None
    replayed: bool
    digest: bytes | None = None
    legs: tuple["Accepted", ...] = ()


class BalanceRef(NamedTuple):
    """What never changes about a balance, so it may be remembered for ever."""

    key: int
    balance_id: str
    currency: str
    indicator: str | None
    route: int


GENERAL_LEDGER = "general_ledger_id"
"""The ledger of all internal balances."""

BATCH_PREFIX, RUN_PREFIX = BATCH_PREFIXES = ("bulk_", "run_")
"""The ID of a batch begins with one of these: that of a bulk, and that of a run, which is posted little by little."""

Json = dict[str, Any]
