"""Explains a rejection, or a wait in line, to people and programs."""

from enum import StrEnum
from typing import Protocol

from core.base.errors import ErrorCode
from core.base.money import to_text
from core.ledger.rules.model import SHORT_OF_MONEY, Kind, Rejection, RejectReason
from core.ledger.store.transactions import Line


class Priced(Protocol):
    """Anything with a currency and a precision."""

    @property
    def currency(self) -> str: ...
    @property
    def precision(self) -> int: ...


class RejectionName(StrEnum):
    """The name of a reason for a rejection in answers. Several ``RejectReason`` may share one name."""

    NOT_INFLIGHT = "not_inflight"
    ALREADY_VOIDED = "already_voided"
    ALREADY_COMMITTED = "already_committed"
    COMMIT_AMOUNT_EXCEEDED = "commit_amount_exceeded"
    SOURCE_FROZEN = "source_frozen"
    DESTINATION_FROZEN = "destination_frozen"
    ALREADY_REFUNDED = "already_refunded"
    REFUND_AMOUNT_EXCEEDED = "refund_amount_exceeded"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    OVERDRAFT_LIMIT = "overdraft_limit"
    FLOOR = "floor"
    ATOMIC_GROUP = "atomic_group"


WIRE_NAMES = {
    RejectReason.NOT_INFLIGHT: RejectionName.NOT_INFLIGHT,
    RejectReason.ALREADY_VOIDED: RejectionName.ALREADY_VOIDED,
    RejectReason.ALREADY_COMMITTED: RejectionName.ALREADY_COMMITTED,
    RejectReason.COMMIT_EXCEEDS_ORIGINAL: RejectionName.COMMIT_AMOUNT_EXCEEDED,
    RejectReason.COMMIT_EXCEEDS_REMAINDER: RejectionName.COMMIT_AMOUNT_EXCEEDED,
    RejectReason.SOURCE_FROZEN: RejectionName.SOURCE_FROZEN,
    RejectReason.DESTINATION_FROZEN: RejectionName.DESTINATION_FROZEN,
    RejectReason.ALREADY_REFUNDED: RejectionName.ALREADY_REFUNDED,
    RejectReason.REFUND_EXCEEDS_REMAINDER: RejectionName.REFUND_AMOUNT_EXCEEDED,
    RejectReason.INSUFFICIENT_FUNDS: RejectionName.INSUFFICIENT_FUNDS,
    RejectReason.OVERDRAFT_LIMIT: RejectionName.OVERDRAFT_LIMIT,
    RejectReason.FLOOR: RejectionName.FLOOR,
    RejectReason.ATOMIC_GROUP: RejectionName.ATOMIC_GROUP,
}

CODES = {
    RejectReason.NOT_INFLIGHT: ErrorCode.TXN_NOT_INFLIGHT,
    RejectReason.ALREADY_VOIDED: ErrorCode.TXN_ALREADY_VOIDED,
    RejectReason.ALREADY_COMMITTED: ErrorCode.TXN_ALREADY_COMMITTED,
    RejectReason.COMMIT_EXCEEDS_ORIGINAL: ErrorCode.TXN_COMMIT_AMOUNT_EXCEEDED,
    RejectReason.COMMIT_EXCEEDS_REMAINDER: ErrorCode.TXN_COMMIT_AMOUNT_EXCEEDED,
    RejectReason.SOURCE_FROZEN: ErrorCode.BAL_FROZEN,
    RejectReason.DESTINATION_FROZEN: ErrorCode.BAL_FROZEN,
    RejectReason.ALREADY_REFUNDED: ErrorCode.TXN_ALREADY_REFUNDED,
    RejectReason.REFUND_EXCEEDS_REMAINDER: ErrorCode.TXN_INVALID_AMOUNT,
    RejectReason.INSUFFICIENT_FUNDS: ErrorCode.TXN_INSUFFICIENT_FUNDS,
    RejectReason.OVERDRAFT_LIMIT: ErrorCode.TXN_VALIDATION_ERROR,
    RejectReason.FLOOR: ErrorCode.TXN_INSUFFICIENT_FUNDS,
    RejectReason.ATOMIC_GROUP: ErrorCode.TXN_VALIDATION_ERROR,
}
"""The error code of a rejection that ``skip_queue`` answers with."""

CANNOT_VOID = "cannot void. Transaction already committed"

_TEXTS = {
    RejectReason.NOT_INFLIGHT: "transaction is not in inflight status",
    RejectReason.ALREADY_VOIDED: "transaction has already been voided",
    RejectReason.ALREADY_COMMITTED: "cannot commit. Transaction already committed",
    RejectReason.SOURCE_FROZEN: "the source balance is frozen",
    RejectReason.DESTINATION_FROZEN: "the destination balance is frozen",
    RejectReason.ALREADY_REFUNDED: "transaction has already been refunded",
    RejectReason.INSUFFICIENT_FUNDS: "insufficient funds in source balance",
    RejectReason.OVERDRAFT_LIMIT: "transaction exceeds overdraft limit",
    RejectReason.FLOOR: "transaction takes the source below its floor",
    RejectReason.ATOMIC_GROUP: "another transaction of the atomic batch was rejected",
}


def major(minor: int, priced: Priced) -> str:
    """Write minor units for people, such as ``USD12.50``, with at least two decimal places, as in Blnk's texts."""
    whole, _, fraction = to_text(minor, priced.precision).partition(".")
    return f"{priced.currency}{whole}.{fraction.ljust(2, '0')}"


def blnk_text(rejection: Rejection, priced: Priced) -> str:
    """Write the reason of a rejection in Blnk's words, which its clients may look for."""
    # A funding job is priced too, and has no kind.
    if rejection.reason is RejectReason.ALREADY_COMMITTED and getattr(priced, "kind", None) == Kind.VOID_INFLIGHT:
        return CANNOT_VOID
    if rejection.reason is RejectReason.COMMIT_EXCEEDS_ORIGINAL:
        return f"cannot commit more than the original transaction amount. {_available(rejection, priced)}"
    if rejection.reason is RejectReason.COMMIT_EXCEEDS_REMAINDER:
        return f"cannot commit more than the remaining amount. {_available(rejection, priced)}"
    if rejection.reason is RejectReason.REFUND_EXCEEDS_REMAINDER:
        return f"cannot refund more than the remaining amount. {_available(rejection, priced)}"
    return _TEXTS[rejection.reason]


def sum_text(rejection: Rejection, priced: Priced) -> str:
    """Write the reason of a rejection, and for a lack of money the amounts: available, held, limit, asked, short by."""
    text = blnk_text(rejection, priced)
    if rejection.reason not in SHORT_OF_MONEY:
        return text
    parts = [f"available {major(rejection.available or 0, priced)}"]
    if rejection.held:
        parts.append(f"held {major(rejection.held, priced)}")
    if rejection.overdraft_limit is not None:
        parts.append(f"overdraft limit {major(rejection.overdraft_limit, priced)}")
    if rejection.floor is not None:
        parts.append(f"floor {major(rejection.floor, priced)}")
    parts += [f"asked {major(rejection.requested or 0, priced)}", f"short by {major(rejection.short_by or 0, priced)}"]
    return f"{text}: {', '.join(parts)}"


def waiting_text(line: Line) -> str:
    """Write what an undecided posting waits for, to follow the words "waiting for"."""
    if line.ahead:
        return f"the {line.ahead} ahead of it in queue {line.queue}"
    if line.waits_for_queues:
        return f"earlier credits to its source in queue {', '.join(map(str, line.waits_for_queues))}"
    return "a worker"


def _available(rejection: Rejection, priced: Priced) -> str:
    available, requested = rejection.available or 0, rejection.requested or 0
    return f"Available: {major(available, priced)}, Requested: {major(requested, priced)}"
