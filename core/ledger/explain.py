"""What a rejection says to people and programs."""

from typing import Protocol

from core.base.money import to_text
from core.ledger.rules.model import Rejection, RejectReason


class Priced(Protocol):
    """Anything with a currency and a precision."""

    @property
    def currency(self) -> str: ...
    @property
    def precision(self) -> int: ...


WIRE_NAMES = {
    RejectReason.NOT_INFLIGHT: "not_inflight",
    RejectReason.ALREADY_VOIDED: "already_voided",
    RejectReason.ALREADY_COMMITTED: "already_committed",
    RejectReason.COMMIT_EXCEEDS_ORIGINAL: "commit_amount_exceeded",
    RejectReason.COMMIT_EXCEEDS_REMAINDER: "commit_amount_exceeded",
    RejectReason.ALREADY_REFUNDED: "already_refunded",
    RejectReason.REFUND_EXCEEDS_REMAINDER: "refund_amount_exceeded",
    RejectReason.INSUFFICIENT_FUNDS: "insufficient_funds",
    RejectReason.OVERDRAFT_LIMIT: "overdraft_limit",
    RejectReason.ATOMIC_GROUP: "atomic_group",
}

_TEXTS = {
    RejectReason.NOT_INFLIGHT: "transaction is not in inflight status",
    RejectReason.ALREADY_VOIDED: "transaction has already been voided",
    RejectReason.ALREADY_COMMITTED: "cannot commit. Transaction already committed",
    RejectReason.ALREADY_REFUNDED: "transaction has already been refunded",
    RejectReason.INSUFFICIENT_FUNDS: "insufficient funds in source balance",
    RejectReason.OVERDRAFT_LIMIT: "transaction exceeds overdraft limit",
    RejectReason.ATOMIC_GROUP: "another transaction of the atomic batch was rejected",
}


def major(minor: int, priced: Priced) -> str:
    """For people: ``USD12.50``. At least two decimal places, as Blnk's texts have them."""
    whole, _, fraction = to_text(minor, priced.precision).partition(".")
    return f"{priced.currency}{whole}.{fraction.ljust(2, '0')}"


def blnk_text(rejection: Rejection, priced: Priced) -> str:
    """The reason in Blnk's words, which its clients may look for."""
    if rejection.reason is RejectReason.COMMIT_EXCEEDS_ORIGINAL:
        return f"cannot commit more than the original transaction amount. {_available(rejection, priced)}"
    if rejection.reason is RejectReason.COMMIT_EXCEEDS_REMAINDER:
        return f"cannot commit more than the remaining amount. {_available(rejection, priced)}"
    if rejection.reason is RejectReason.REFUND_EXCEEDS_REMAINDER:
        return f"cannot refund more than the remaining amount. {_available(rejection, priced)}"
    return _TEXTS[rejection.reason]


def sum_text(rejection: Rejection, priced: Priced) -> str:
    """The sum that did not work out, for people: available, held, limit, asked, short by."""
    text = blnk_text(rejection, priced)
    if rejection.reason not in (RejectReason.INSUFFICIENT_FUNDS, RejectReason.OVERDRAFT_LIMIT):
        return text
    parts = [f"available {major(rejection.available or 0, priced)}"]
    if rejection.held:
        parts.append(f"held {major(rejection.held, priced)}")
    if rejection.overdraft_limit is not None:
        parts.append(f"overdraft limit {major(rejection.overdraft_limit, priced)}")
    parts += [f"asked {major(rejection.requested or 0, priced)}", f"short by {major(rejection.short_by or 0, priced)}"]
    return f"{text}: {', '.join(parts)}"


def _available(rejection: Rejection, priced: Priced) -> str:
    available, requested = rejection.available or 0, rejection.requested or 0
    return f"Available: {major(available, priced)}, Requested: {major(requested, priced)}"
