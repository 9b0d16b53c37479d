"""Adds up recorded outcomes: the sums of balances, holds and refunds that they make.

A tally is of one piece of the log. Tallies in the order of their pieces make the standing of the ledger at the start of each
piece. So every piece can be decided by itself, from where the recorded outcomes before it lead.
"""

import secrets
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from core.ledger.rules.model import HOLD, REFUND, STATUS_OF_NUMBER, TRANSFER, Balance, Posting, Refunded, Status
from core.verification.history_store import Recorded

T = TypeVar("T")

_APPLIED, _REJECTED = (
    next(number for number, status in STATUS_OF_NUMBER.items() if status is one)
    for one in (Status.APPLIED, Status.REJECTED)
)

_MOVES_AT_ONCE = (TRANSFER, REFUND)

PRIME = 2**127 - 1

_LARGE = 2**100
_NEAR = _LARGE // 2
"""Two numbers below it add up to one that is not large."""


class Salt(NamedTuple):
    """Numbers below the prime that nobody knows before a verification, and that turn a state of a balance into one."""

    of_key: int
    of_version: int
    of_balance: int
    of_rest: int
    place: int

    def state(self, key: int, version: int, balance: int) -> int:
        """Return the factor of a balance at a version."""
        of_key, of_version, of_balance, of_rest, place = self
        if -_LARGE < balance < _LARGE:
            return key * of_key + version * of_version + balance * of_balance + place
        low = balance % _LARGE
        return key * of_key + version * of_version + low * of_balance + balance // _LARGE * of_rest + place


def new_salt() -> Salt:
    """Choose a salt."""
    return Salt(*(secrets.randbelow(PRIME) for _ in Salt._fields))


class Sums(Struct, array_like=True, gc=False):
    """The sums of a balance's outcomes."""

    credit: int = 0
    debit: int = 0
    inflight_credit: int = 0
    inflight_debit: int = 0
    version: int = 1
    last_credit_seq: int = 0


class SumsByKey(dict[int, Sums]):
    """The sums of balances by their keys. Between processes they go as JSON, which takes a fifth of the time of a pickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        if None in self:  # It stands for the missing side of a damaged row, and is no key in JSON.
            return SumsByKey, (dict(self),)
        return _sums_of, (_encode(dict(self)),)


def balance_of(key: int, sums: Sums) -> Balance:
    """Make a balance from its sums."""
    return Balance(
        key,
        sums.credit,
        sums.debit,
        sums.inflight_credit,
        sums.inflight_debit,
        sums.version,
        sums.last_credit_seq,
    )


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[int, Sums]).decode


def _sums_of(text: bytes) -> SumsByKey:
    return SumsByKey(_decode(text))


class Settled(Struct, array_like=True, gc=False):
    """The sums of the outcomes of a hold and its settlements."""

    source: int
    destination: int
    amount: int
    committed: int = 0
    voided: int = 0
    settled_at: datetime | None = None


class Settlement(NamedTuple):
    """The outcome of a commit_inflight or void_inflight."""

    hold: int
    is_commit: bool
    amount: int
    at: datetime


class Moved(NamedTuple):
    """A posting that moved money and is refunded."""

    source: int
    destination: int
    amount: int


@dataclass(slots=True)
class Tally:
    """The sums of the outcomes of one piece, and what changes in holds and refunds."""

    sums: SumsByKey = field(default_factory=SumsByKey)
    """Their versions begin with 0 here."""
    holds: dict[int, Settled] = field(default_factory=dict)
    settlements: list[Settlement] = field(default_factory=list)
    moved: dict[int, Moved] = field(default_factory=dict)
    refunds: list[tuple[int, int]] = field(default_factory=list)
    """The seq of a refunded posting, and the amount that is given back."""
    rejected: int = 0
    after: int = 1
    """The product of the states of balances that the outcomes left."""
    before: int = 1
    """The product of the states that they went on from."""
    is_whole: bool = True
    """False when an outcome lacks a version or a running balance."""

    def add(self, posting: Posting, recorded: Recorded, refunded: Collection[int]) -> None:
        """Add an outcome. ``refunded`` has the seqs of the postings of which anything is ever refunded."""
        status = recorded.status
        if status == _REJECTED or status not in STATUS_OF_NUMBER:
            self.rejected += 1
            return
        amount, kind = recorded.amount, posting.kind
        if (source := self.sums.get(posting.source)) is None:
            source = self.sums[posting.source] = Sums(version=0)
        if (destination := self.sums.get(posting.destination)) is None:
            destination = self.sums[posting.destination] = Sums(version=0)
        source.version += 1
        destination.version += 1
        if status == _APPLIED:
            source.debit += amount
            destination.credit += amount
            destination.last_credit_seq = max(destination.last_credit_seq, posting.seq)
            if posting.seq in refunded:
                self.moved[posting.seq] = Moved(posting.source, posting.destination, amount)
            if posting.refund_of is not None:
                self.refunds.append((posting.refund_of, amount))
        if kind in _MOVES_AT_ONCE:
            return
        held = amount if kind == HOLD else -amount
        source.inflight_debit += held
        destination.inflight_credit += held
        if kind == HOLD:
            self.holds[posting.seq] = Settled(posting.source, posting.destination, amount)
        else:
            self.settlements.append(Settlement(posting.hold_seq or 0, status == _APPLIED, amount, recorded.decided_at))

    def add_all(
        self, seqs: Sequence[int], sources: Sequence[int], destinations: Sequence[int], amounts: Sequence[int]
    ) -> None:
        """Add outcomes of plain transfers that were applied, as ``add`` does one by one. They come in seq order."""
        sums, last = self.sums, dict(zip(destinations, seqs, strict=True))
        taken, given = dict.fromkeys(sources, 0), dict.fromkeys(destinations, 0)
        for source, destination, amount in zip(sources, destinations, amounts, strict=True):
            taken[source] += amount
            given[destination] += amount
        for key, count in Counter(sources).items():
            if (one := sums.get(key)) is None:
                one = sums[key] = Sums(version=0)
            one.debit += taken[key]
            one.version += count
        for key, count in Counter(destinations).items():
            if (one := sums.get(key)) is None:
                one = sums[key] = Sums(version=0)
            one.credit += given[key]
            one.version += count
            one.last_credit_seq = max(one.last_credit_seq, last[key])

    def note_all(self, columns: Sequence[Sequence[int]], salt: Salt) -> None:
        """Add the steps of outcomes as ``note`` does one by one.

        The columns are those from the status to the running balance of the destination. Their numbers have 63 bits at most.
        """
        status, amount, source, version, balance, destination, version_2, balance_2 = columns
        of_key, of_version, of_balance, _, place = salt
        after, before = self.after, self.before
        for one, moved, key, number, value, key_2, number_2, value_2 in zip(
            status, amount, source, version, balance, destination, version_2, balance_2, strict=True
        ):
            # The state before a step is that after it, less what the step adds.
            step = moved * of_balance if one == _APPLIED else 0
            left = key * of_key + number * of_version + value * of_balance + place
            to = key_2 * of_key + number_2 * of_version + value_2 * of_balance + place
            after = left * to * after % PRIME
            before = (left - of_version + step) * (to - of_version - step) * before % PRIME
        self.after, self.before = after, before

    def note(self, recorded: Recorded, salt: Salt) -> None:
        """Add the steps of an outcome to the products: the states of its balances after it, and before it."""
        _, status, amount, source, version, balance, destination, version_2, balance_2, _, _, _, _ = recorded
        moved = amount if status == _APPLIED else 0
        if (
            source is not None
            and destination is not None
            and version is not None
            and balance is not None
            and version_2 is not None
            and balance_2 is not None
            and -_NEAR < balance < _NEAR
            and -_NEAR < balance_2 < _NEAR
            and moved < _NEAR
        ):
            # Nearly every outcome comes here. The state before a step is that after it, less what the step adds.
            of_key, of_version, of_balance, _, place = salt
            step = moved * of_balance
            left = source * of_key + version * of_version + balance * of_balance + place
            to = destination * of_key + version_2 * of_version + balance_2 * of_balance + place
            self.after = self.after * left % PRIME * to % PRIME
            self.before = self.before * (left - of_version + step) % PRIME * (to - of_version - step) % PRIME
            return
        if source is not None:
            if version is None or balance is None:
                self.is_whole = False
            else:
                self.after = self.after * salt.state(source, version, balance) % PRIME
                self.before = self.before * salt.state(source, version - 1, balance + moved) % PRIME
        if destination is not None:
            if version_2 is None or balance_2 is None:
                self.is_whole = False
            else:
                self.after = self.after * salt.state(destination, version_2, balance_2) % PRIME
                self.before = self.before * salt.state(destination, version_2 - 1, balance_2 - moved) % PRIME


def is_followed(after: int, before: int, salt: Salt, ends: Iterable[tuple[int, int, int]]) -> bool:
    """Tell whether the steps of all balances lead from nothing to their ends: rows of key, version and balance.

    Then each state but the ends is once after a step and once before one, so the two products are equal. Where a version
    repeats, is missing, or does not go on from the one before, they differ: they are two polynomials at a place that nobody
    knew, and two that differ agree at no more places than they have factors.
    """
    for key, version, balance in ends:
        after = after * salt.state(key, 1, 0) % PRIME
        before = before * salt.state(key, version, balance) % PRIME
    return after == before


class Needs(NamedTuple):
    """The facts from before a piece that its decisions need."""

    balances: list[int]
    holds: list[int]
    refunds: list[int]


class Start(NamedTuple):
    """The part of the standing of the ledger that a piece begins with."""

    sums: SumsByKey
    holds: dict[int, Settled]
    moved: dict[int, Moved]
    refunds: dict[int, Refunded]


@dataclass(slots=True)
class Standing:
    """The sums of all outcomes up to the end of a piece."""

    sums: dict[int, Sums] = field(default_factory=dict)
    holds: dict[int, Settled] = field(default_factory=dict)
    moved: dict[int, Moved] = field(default_factory=dict)
    refunds: dict[int, Refunded] = field(default_factory=dict)

    def start(self, needs: Needs) -> Start:
        """Return what the next piece needs."""
        sums = self.sums
        return Start(
            # Copies, because adding the piece changes them.
            SumsByKey((key, copy(one)) for key in needs.balances if (one := sums.get(key)) is not None),
            {key: copy(hold) for key, hold in _of(self.holds, needs.holds).items()},
            _of(self.moved, needs.refunds),
            _of(self.refunds, needs.refunds),
        )

    def add(self, tally: Tally) -> None:
        """Add the tally of the next piece."""
        for key, more in tally.sums.items():
            if (one := self.sums.get(key)) is None:
                self.sums[key] = more
                more.version += 1
                continue
            one.credit += more.credit
            one.debit += more.debit
            one.inflight_credit += more.inflight_credit
            one.inflight_debit += more.inflight_debit
            one.version += more.version
            one.last_credit_seq = more.last_credit_seq or one.last_credit_seq
        self.holds.update(tally.holds)
        for settlement in tally.settlements:
            if (hold := self.holds.get(settlement.hold)) is not None:
                if settlement.is_commit:
                    hold.committed += settlement.amount
                else:
                    hold.voided += settlement.amount
                if hold.committed + hold.voided == hold.amount:
                    hold.settled_at = settlement.at
        self.moved.update(tally.moved)
        for seq, amount in tally.refunds:
            if (moved := self.moved.get(seq)) is not None:
                before = self.refunds.get(seq)
                self.refunds[seq] = Refunded(seq, moved.amount, amount + (before.refunded if before is not None else 0))


def _of(values: Mapping[int, T], keys: Collection[int]) -> dict[int, T]:
    return {key: values[key] for key in keys if key in values}
