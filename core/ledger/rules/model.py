"""Defines the values of the ledger: postings, balances, holds, outcomes and drafts. Amounts are minor units (``int``).

Most are named tuples instead of dataclasses, because tens of thousands are made from rows each second.
"""

from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from core.ledger.rules.log_row import LogRow


class Kind(IntEnum):
    """The effect of a posting. The database stores its number."""

    TRANSFER = 1
    """Moves money at once."""
    HOLD = 2
    """Reserves money on both sides. Clients call it ``inflight``."""
    COMMIT_INFLIGHT = 3
    """Moves held money, in part or whole."""
    VOID_INFLIGHT = 4
    """Releases what is left of a hold."""
    SPLIT = 5
    """Groups the legs that follow it in the log, which move the money. It is in no queue and has no outcome."""
    REFUND = 6
    """Gives back what another posting moved, in part or whole."""


TRANSFER, HOLD, COMMIT_INFLIGHT, VOID_INFLIGHT, SPLIT, REFUND = map(int, Kind)
"""The kinds as plain integers, for hot loops: a comparison with an enum's member costs several times as much."""

LEG_KINDS = TRANSFER, HOLD, REFUND
"""The kinds that a leg of a split may have."""


class Status(StrEnum):
    """The state of a transaction, as clients see it."""

    SCHEDULED = "SCHEDULED"
    QUEUED = "QUEUED"
    INFLIGHT = "INFLIGHT"
    APPLIED = "APPLIED"
    VOID = "VOID"
    REJECTED = "REJECTED"


STATUS_NUMBERS = {Status.APPLIED: 1, Status.INFLIGHT: 2, Status.VOID: 3, Status.REJECTED: 4}
"""The number by which an outcome's status is stored. QUEUED has none, because it is the absence of an outcome."""

STATUS_OF_NUMBER = {number: status for status, number in STATUS_NUMBERS.items()}

FINAL = frozenset({Status.INFLIGHT, Status.APPLIED, Status.VOID, Status.REJECTED})
"""The statuses that end a wait. INFLIGHT is one of them, because it moves on only when the client settles the hold."""


class RejectReason(IntEnum):
    """Why a posting was rejected, in the order in which the engine checks. The database stores its number."""

    NOT_INFLIGHT = 1
    """The transaction to settle holds nothing, because it is no hold or was itself rejected."""
    ALREADY_VOIDED = 2
    """A void_inflight has released what was left of the hold."""
    ALREADY_COMMITTED = 3
    """The whole hold has been committed."""
    COMMIT_EXCEEDS_ORIGINAL = 4
    """The amount is more than the hold ever held."""
    COMMIT_EXCEEDS_REMAINDER = 5
    """The amount is more than is left of the hold."""
    SOURCE_FROZEN = 11
    """The source is frozen: nothing leaves it."""
    DESTINATION_FROZEN = 12
    """The destination is frozen: nothing comes in."""
    ALREADY_REFUNDED = 9
    """All of the posting has been refunded."""
    REFUND_EXCEEDS_REMAINDER = 10
    """The amount is more than is left to refund."""
    INSUFFICIENT_FUNDS = 6
    """The source's available balance is too small and no overdraft was asked for."""
    OVERDRAFT_LIMIT = 7
    """The source would go below the overdraft limit of this transaction."""
    FLOOR = 13
    """The source would go below its own floor, which no request lifts."""
    ATOMIC_GROUP = 8
    """Another member of the same atomic group was rejected."""


SHORT_OF_MONEY = frozenset({RejectReason.INSUFFICIENT_FUNDS, RejectReason.OVERDRAFT_LIMIT, RejectReason.FLOOR})
"""The reasons that an earlier credit could remove. The drain looks for such a credit before it rejects."""


class Posting(NamedTuple):
    """One accepted row of the log, as the engine needs it."""

    seq: int
    """The position in the order of acceptance. Outcomes follow it."""
    kind: int
    """A ``Kind``."""
    queue: int
    source: int
    """The key of the debited balance."""
    destination: int
    """The key of the credited balance."""
    amount: int
    """The amount. In a commit_inflight, void_inflight or refund, 0 stands for all that is left."""
    allow_overdraft: bool
    overdraft_limit: int | None
    """How far below zero the source may go. None with ``allow_overdraft`` is unlimited."""
    hold_seq: int | None
    """The hold that a commit_inflight or void_inflight settles."""
    group_first: int | None
    """The first seq of the atomic group, and then the last. None outside of a group."""
    group_last: int | None
    refund_of: int | None = None
    """The posting that a refund gives back."""
    id: str = ""
    """The text of its UUID, which the log of the service names."""
    request_id: str | None = None


class Balance(NamedTuple):
    """The sums of one balance."""

    id: int
    credit: int
    debit: int
    inflight_credit: int
    inflight_debit: int
    version: int
    """A number that goes up by one with each posting that touches the balance."""
    last_credit_seq: int
    """The highest seq that credited the balance."""

    @property
    def balance(self) -> int:
        """Credits less debits."""
        return self.credit - self.debit


class Freeze(IntEnum):
    """The directions in which a balance may be frozen. The database stores its number."""

    NONE = 0
    DEBITS = 1
    """Nothing leaves it."""
    ALL = 2
    """Nothing leaves it, and nothing comes in."""


class Limit(NamedTuple):
    """The limits of a balance from a position in the log on."""

    after_seq: int
    """It counts for what is accepted after this."""
    floor: int | None
    """The least that the available balance may become."""
    frozen: int
    """A ``Freeze``."""


class Hold(NamedTuple):
    """A hold, and how far it is settled."""

    seq: int
    amount: int
    committed: int
    voided: int

    @property
    def remaining(self) -> int:
        """The amount that is neither committed nor voided."""
        return self.amount - self.committed - self.voided

    @property
    def status(self) -> Status:
        """INFLIGHT until all is settled. Then APPLIED if any money moved, and VOID if none did."""
        if self.remaining:
            return Status.INFLIGHT
        return Status.APPLIED if self.committed else Status.VOID


class Refunded(NamedTuple):
    """A posting that moved money, and how much of it is refunded."""

    seq: int
    amount: int
    """The amount that the posting moved."""
    refunded: int

    @property
    def remaining(self) -> int:
        """The amount that is not refunded."""
        return self.amount - self.refunded


class Rejection(NamedTuple):
    """Why a posting was rejected, and the sum that did not work out.

    For a settlement or refund, ``available`` is what is left of the hold or posting.
    """

    reason: RejectReason
    available: int | None = None
    requested: int | None = None
    held: int | None = None
    """The money of the source that holds reserve."""
    overdraft_limit: int | None = None
    short_by: int | None = None
    culprit: int | None = None
    """The seq of the member that made an atomic group fail."""
    floor: int | None = None
    """The floor of the source."""


class Outcome(NamedTuple):
    """The engine's decision about a posting, with the new values. A rejected posting changes nothing."""

    seq: int
    status: Status
    amount: int
    """The amount that was moved, held or released. It is 0 for a rejected posting."""
    source: Balance | None = None
    destination: Balance | None = None
    hold: Hold | None = None
    rejection: Rejection | None = None
    refunded: Refunded | None = None
    """The new value of the posting that a refund gives back."""


class Draft(msgspec.Struct, frozen=True, gc=False):
    """A validated transaction that has no position in the log yet."""

    row: LogRow
    route: int
    """The route of the source balance. It decides the queue when the row is appended."""
    legs: tuple["Draft", ...] = ()
    """The legs of a split, which follow it in the log."""
    atomic: bool = False
    """Whether a split's legs, or the settlements of one request, are decided together."""
    due_at: datetime | None = None
    """The time at which to accept it into the log. None is now."""
    settle_at: tuple[tuple[int, datetime], ...] = ()
    """The dates at which to settle a hold: pairs of COMMIT_INFLIGHT or VOID_INFLIGHT and the time."""

    def with_row(self, **values: Any) -> "Draft":
        """Copy the draft with other values in some columns."""
        return replace(self, row=replace(self.row, **values))


class Accepted(NamedTuple):
    """A draft that was put into the log, was there before (``replayed``), or waits for its date."""

    transaction_id: str
    seq: int
    """The position in the log. It is 0 for a scheduled transaction."""
    queue: int
    """The number of the queue. It is -1 for a split or a scheduled transaction, which are in no queue."""
    accepted_at: datetime
    parent: str | None
    replayed: bool
    digest: bytes | None = None
    legs: tuple["Accepted", ...] = ()


GENERAL_LEDGER = "general_ledger_id"
"""The ID of the General Ledger, which holds all internal balances."""


class BalanceRef(NamedTuple):
    """The part of a balance that never changes, so a process may keep it for ever."""

    key: int
    balance_id: str
    currency: str
    indicator: str | None
    route: int
    ledger_id: str = GENERAL_LEDGER


BATCH_PREFIX, RUN_PREFIX = BATCH_PREFIXES = ("bulk_", "run_")
"""The prefixes of batch IDs: a batch that was sent together, and a funding run, which is posted little by little."""

Json = dict[str, Any]
