"""Decides postings: ``decide(posting, book) -> outcome``. It is pure, without a clock, I/O or SQL.

The web server, the workers, dry runs, the verifier and the tests all call this one function.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.ledger.rules.model import (
    HOLD,
    REFUND,
    TRANSFER,
    VOID_INFLIGHT,
    Balance,
    Freeze,
    Hold,
    Limit,
    Outcome,
    Posting,
    Refunded,
    Rejection,
    RejectReason,
    Status,
)

_APPLIED = Status.APPLIED
"""The status that most outcomes have, because an access to an enum's member costs several times as much."""

_new = tuple.__new__
"""Makes a named tuple from all its values, in half the time of its own constructor."""


@dataclass(slots=True)
class Book:
    """Holds the balances, holds and refunds over which a batch of postings is decided."""

    balances: dict[int, Balance]
    holds: dict[int, Hold]
    later_credits: Mapping[int, list[tuple[int, int]]] = field(default_factory=dict)
    """Credits, by balance, that are already in it but may be later than a posting to decide: pairs of seq and amount."""
    refunds: dict[int, Refunded] = field(default_factory=dict)
    """How much is refunded of each posting that a refund in the batch gives back, by seq."""
    limits: Mapping[int, Sequence[Limit]] = field(default_factory=dict)
    """The limits of those balances that ever had any, in the order in which they were set."""

    def limit_of(self, balance: int, seq: int) -> Limit | None:
        """Return the limits of a balance that count for a posting."""
        for limit in reversed(self.limits.get(balance, ())):
            if limit.after_seq < seq:
                return limit
        return None

    def credited_after(self, balance: int, seq: int) -> int:
        """Sum the money in the balance that was accepted after ``seq``. An earlier posting must not spend it."""
        later = self.later_credits.get(balance)
        return sum(amount for credit_seq, amount in later if credit_seq > seq) if later else 0

    def write(self, outcome: Outcome) -> None:
        """Put the new values of an outcome into the book."""
        _, _, _, source, destination, hold, _, refunded = outcome
        if source is not None and destination is not None:
            self.balances[source[0]] = source
            self.balances[destination[0]] = destination
        if hold is not None:
            self.holds[hold.seq] = hold
        elif refunded is not None:
            self.refunds[refunded.seq] = refunded


def decide(posting: Posting, book: Book) -> Outcome:
    """Decide one posting over the book. The book does not change until its ``write`` is called.

    The book must have both balances. It must also have the hold of a commit_inflight or void_inflight, if there is one,
    and the posting that a refund gives back.
    """
    kind = posting.kind
    if kind in (TRANSFER, HOLD):
        return _transfer(posting, book)
    return _refund(posting, book) if kind == REFUND else _settle(posting, book)


def decide_group(group: Sequence[Posting], book: Book) -> list[Outcome]:
    """Decide the members of an atomic group in order, all or none.

    A group that succeeds is written to the book. A group that fails leaves the book as it was.
    """
    balances: dict[int, Balance] = {}
    holds: dict[int, Hold | None] = {}
    refunds: dict[int, Refunded] = {}
    outcomes: list[Outcome] = []
    for posting in group:
        outcome = decide(posting, book)
        if outcome.status is Status.REJECTED:
            book.balances.update(balances)
            book.refunds.update(refunds)
            for seq, hold in holds.items():
                if hold is None:
                    del book.holds[seq]
                else:
                    book.holds[seq] = hold
            others = Rejection(RejectReason.ATOMIC_GROUP, culprit=posting.seq)
            rejected = [Outcome(member.seq, Status.REJECTED, 0, rejection=others) for member in group]
            rejected[len(outcomes)] = outcome
            return rejected
        # These values are put back if a later member fails.
        balances.setdefault(posting.source, book.balances[posting.source])
        balances.setdefault(posting.destination, book.balances[posting.destination])
        if outcome.hold is not None:
            holds.setdefault(outcome.hold.seq, book.holds.get(outcome.hold.seq))
        if outcome.refunded is not None:
            refunds.setdefault(outcome.refunded.seq, book.refunds[outcome.refunded.seq])
        book.write(outcome)
        outcomes.append(outcome)
    return outcomes


def _transfer(posting: Posting, book: Book) -> Outcome:
    """Decide a transfer or a hold."""
    seq, kind, _, source_id, destination_id, amount, allow_overdraft, limit = posting[:8]
    source, destination = book.balances[source_id], book.balances[destination_id]
    if book.limits and (frozen := _why_frozen(posting, book)) is not None:
        return Outcome(seq, Status.REJECTED, 0, rejection=frozen)
    _, credit, debit, inflight_credit, inflight_debit, version, last_credit_seq = source

    # The flag without a limit allows any overdraft. A limit counts with the flag (0 too), and without it when above 0.
    if not allow_overdraft or limit is not None:
        available = credit - debit - inflight_debit
        if last_credit_seq > seq:
            available -= book.credited_after(source_id, seq)
        floor = limit or 0
        short_by = amount - available - floor
        if short_by > 0:
            limited = limit is not None and (allow_overdraft or limit > 0)
            reason = RejectReason.OVERDRAFT_LIMIT if limited else RejectReason.INSUFFICIENT_FUNDS
            rejection = Rejection(reason, available, amount, inflight_debit, limit if limited else None, short_by)
            return Outcome(seq, Status.REJECTED, 0, rejection=rejection)
    if book.limits and (below := _why_below_floor(posting, amount, book)) is not None:
        return Outcome(seq, Status.REJECTED, 0, rejection=below)

    # From here on it succeeds.
    _, d_credit, d_debit, d_inflight_credit, d_inflight_debit, d_version, d_last_credit_seq = destination
    if kind == TRANSFER:
        last = seq if seq > d_last_credit_seq else d_last_credit_seq
        debited = (source_id, credit, debit + amount, inflight_credit, inflight_debit, version + 1, last_credit_seq)
        credited = (
            destination_id,
            d_credit + amount,
            d_debit,
            d_inflight_credit,
            d_inflight_debit,
            d_version + 1,
            last,
        )
        source, destination = _new(Balance, debited), _new(Balance, credited)
        return _new(Outcome, (seq, _APPLIED, amount, source, destination, None, None, None))
    return Outcome(
        seq,
        Status.INFLIGHT,
        amount,
        source._replace(inflight_debit=inflight_debit + amount, version=version + 1),
        destination._replace(inflight_credit=d_inflight_credit + amount, version=d_version + 1),
        Hold(seq, amount, 0, 0),
    )


def _refund(posting: Posting, book: Book) -> Outcome:
    """Decide a refund. The source may go below zero for it, as in Blnk, and not below its floor."""
    seq = posting.seq
    if book.limits and (frozen := _why_frozen(posting, book)) is not None:
        return Outcome(seq, Status.REJECTED, 0, rejection=frozen)
    state = book.refunds[posting.refund_of or 0]
    remaining = state.remaining
    if remaining == 0 or posting.amount > remaining:
        reason = RejectReason.REFUND_EXCEEDS_REMAINDER if remaining else RejectReason.ALREADY_REFUNDED
        rejection = Rejection(reason, remaining, posting.amount, short_by=posting.amount - remaining)
        return Outcome(seq, Status.REJECTED, 0, rejection=rejection)

    amount = posting.amount or remaining
    if book.limits and (below := _why_below_floor(posting, amount, book)) is not None:
        return Outcome(seq, Status.REJECTED, 0, rejection=below)

    # From here on it succeeds.
    source, destination = book.balances[posting.source], book.balances[posting.destination]
    return Outcome(
        seq,
        Status.APPLIED,
        amount,
        source._replace(debit=source.debit + amount, version=source.version + 1),
        destination._replace(
            credit=destination.credit + amount,
            version=destination.version + 1,
            last_credit_seq=max(seq, destination.last_credit_seq),
        ),
        refunded=state._replace(refunded=state.refunded + amount),
    )


def _settle(posting: Posting, book: Book) -> Outcome:
    """Decide a commit_inflight of a hold, in part or whole, or a void_inflight of what is left of it.

    A commit moves money, so a frozen balance stops it. A void moves none. Neither changes what is available of the source.
    """
    seq = posting.seq
    hold = book.holds.get(posting.hold_seq or 0)
    rejection = _why_not_settle(posting, hold)
    if rejection is None and book.limits and posting.kind != VOID_INFLIGHT:
        rejection = _why_frozen(posting, book)
    if rejection is not None or hold is None:
        return Outcome(seq, Status.REJECTED, 0, rejection=rejection)

    # From here on it succeeds, because a hold is backed on both sides until it is settled.
    amount = posting.amount or hold.remaining
    source, destination = book.balances[posting.source], book.balances[posting.destination]
    assert source.inflight_debit >= amount and destination.inflight_credit >= amount, "a hold lost its backing"
    source = source._replace(inflight_debit=source.inflight_debit - amount, version=source.version + 1)
    destination = destination._replace(
        inflight_credit=destination.inflight_credit - amount, version=destination.version + 1
    )
    if posting.kind == VOID_INFLIGHT:
        return Outcome(seq, Status.VOID, amount, source, destination, hold._replace(voided=hold.voided + amount))
    return Outcome(
        seq,
        Status.APPLIED,
        amount,
        source._replace(debit=source.debit + amount),
        destination._replace(credit=destination.credit + amount, last_credit_seq=max(seq, destination.last_credit_seq)),
        hold._replace(committed=hold.committed + amount),
    )


def _why_frozen(posting: Posting, book: Book) -> Rejection | None:
    """Check whether one of the two balances is frozen. Returns None when none is."""
    source = book.limit_of(posting.source, posting.seq)
    if source is not None and source.frozen:
        return Rejection(RejectReason.SOURCE_FROZEN)
    destination = book.limit_of(posting.destination, posting.seq)
    if destination is not None and destination.frozen == Freeze.ALL:
        return Rejection(RejectReason.DESTINATION_FROZEN)
    return None


def _why_below_floor(posting: Posting, amount: int, book: Book) -> Rejection | None:
    """Check whether an amount would take the source below its floor. Returns None when it would not."""
    limit = book.limit_of(posting.source, posting.seq)
    if limit is None or limit.floor is None:
        return None
    source = book.balances[posting.source]
    available = source.credit - source.debit - source.inflight_debit
    if source.last_credit_seq > posting.seq:
        available -= book.credited_after(posting.source, posting.seq)
    short_by = amount - available + limit.floor
    if short_by <= 0:
        return None
    held = source.inflight_debit
    return Rejection(RejectReason.FLOOR, available, amount, held, short_by=short_by, floor=limit.floor)


def _why_not_settle(posting: Posting, hold: Hold | None) -> Rejection | None:
    """Check whether a hold can be settled. Returns None when it can."""
    if hold is None:
        return Rejection(RejectReason.NOT_INFLIGHT)
    remaining = hold.remaining
    if remaining == 0 and hold.voided:
        return Rejection(RejectReason.ALREADY_VOIDED)
    if remaining == 0:
        return Rejection(RejectReason.ALREADY_COMMITTED)
    if posting.amount > remaining:
        exceeds_original = posting.amount > hold.amount
        reason = RejectReason.COMMIT_EXCEEDS_ORIGINAL if exceeds_original else RejectReason.COMMIT_EXCEEDS_REMAINDER
        return Rejection(reason, remaining, posting.amount, short_by=posting.amount - remaining)
    return None
