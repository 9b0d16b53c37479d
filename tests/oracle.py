"""A ledger in a dictionary and a loop. It decides operations one at a time, in the order of acceptance.

It knows no queues, batches or database, and shares nothing with ``core.ledger.rules.engine`` but the words of its answers.
"""

from collections.abc import Hashable, Sequence
from itertools import groupby
from typing import NamedTuple

from core.ledger.rules.model import Kind, RejectReason, Status


class Operation(NamedTuple):
    kind: Kind
    source: Hashable = None
    destination: Hashable = None
    amount: int = 0
    allow_overdraft: bool = False
    overdraft_limit: int | None = None
    hold: int | None = None
    """The position of the hold that a commit or void settles. The hold names both balances."""
    refund_of: int | None = None
    """The position of the operation that a refund gives back. It names both balances, the other way round."""


Share = tuple[Hashable, int]
"""A balance and its part of a split."""


class Split(NamedTuple):
    """One transaction of several sources or destinations. Both sides add up to the same."""

    kind: Kind
    """The kind of all its legs."""
    sources: tuple[Share, ...]
    destinations: tuple[Share, ...]
    allow_overdraft: bool = False
    overdraft_limit: int | None = None
    atomic: bool = False

    def legs(self) -> list[Operation]:
        """Cut the split into legs unit by unit: the first unit that leaves is the first to arrive."""
        leaving = [position for position, (_, amount) in enumerate(self.sources) for _ in range(amount)]
        arriving = [position for position, (_, amount) in enumerate(self.destinations) for _ in range(amount)]
        return [
            Operation(
                self.kind,
                self.sources[source][0],
                self.destinations[destination][0],
                len(list(units)),
                self.allow_overdraft,
                self.overdraft_limit,
            )
            for (source, destination), units in groupby(zip(leaving, arriving, strict=True))
        ]


class Verdict(NamedTuple):
    status: Status
    amount: int = 0
    reason: RejectReason | None = None
    available: int | None = None
    culprit: int | None = None


class Sums(NamedTuple):
    credit: int = 0
    debit: int = 0
    inflight_credit: int = 0
    inflight_debit: int = 0


UNDECIDED = Verdict(Status.QUEUED)
"""The verdict of a split itself, which never changes. Its legs are decided in its place."""


class Oracle:
    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.verdicts: list[Verdict] = []
        self.sums: dict[Hashable, Sums] = {}
        self.held: dict[int, tuple[int, int, int]] = {}
        """Amount, committed and voided, by the position of the hold."""
        self.moved: dict[int, tuple[int, int]] = {}
        """The amount moved and the amount given back, by the position of the operation that moved it."""
        self.floors: dict[Hashable, int] = {}
        self.frozen: dict[Hashable, str] = {}
        """``debits`` or ``all``, by balance."""
        self.legs: dict[int, range] = {}
        """The positions of the legs, by the position of their split, which comes before them."""

    def accept(self, *group: Operation | Split) -> None:
        """Decide one transaction, or the members of an atomic group: all or none."""
        rows: list[Operation] = []
        for each in group:
            position = len(self.operations) + len(rows)
            rows.append(Operation(Kind.SPLIT) if isinstance(each, Split) else each)
            if isinstance(each, Split):
                rows += each.legs()
                self.legs[position] = range(position + 1, len(self.operations) + len(rows))
        if len(group) == 1 and isinstance(group[0], Split) and not group[0].atomic:
            for row in rows:
                self._decide_group([row])
        else:
            self._decide_group(rows)

    def limit(self, name: Hashable, floor: int | None, frozen: str | None) -> None:
        """Limit a balance from now on."""
        self.floors.pop(name, None)
        self.frozen.pop(name, None)
        if floor is not None:
            self.floors[name] = floor
        if frozen is not None:
            self.frozen[name] = frozen

    def status(self, position: int) -> Status:
        """Return the status that a client reads in the end. A settled hold moves on; a split has the status of its legs."""
        if position in self.legs:
            statuses = {self.status(leg) for leg in self.legs[position]}
            return next(s for s in (Status.INFLIGHT, Status.APPLIED, Status.VOID, Status.REJECTED) if s in statuses)
        amount, committed, voided = self.held.get(position, (0, 0, 0))
        if amount == 0 or amount > committed + voided:
            return self.verdicts[position].status
        return Status.APPLIED if committed else Status.VOID

    def sides(self, op: Operation) -> tuple[Hashable, Hashable]:
        """Return source and destination."""
        if op.hold is not None:
            return self.sides(self.operations[op.hold])
        if op.refund_of is not None:
            source, destination = self.sides(self.operations[op.refund_of])
            return destination, source
        return op.source, op.destination

    def _decide_group(self, group: Sequence[Operation]) -> None:
        first = len(self.operations)
        self.operations += group
        before = dict(self.sums), dict(self.held), dict(self.moved)
        for position in range(first, first + len(group)):
            verdict = self._decide(position, self.operations[position])
            if verdict.status is Status.REJECTED:
                self.sums, self.held, self.moved = before
                others = Verdict(Status.REJECTED, reason=RejectReason.ATOMIC_GROUP, culprit=position)
                self.verdicts[first:] = [others] * len(group)
                self.verdicts[position] = verdict
                return
            self.verdicts.append(verdict)

    def _decide(self, position: int, op: Operation) -> Verdict:
        if op.kind is Kind.SPLIT:
            return UNDECIDED
        if op.hold is not None:
            return self._settle(position, op, op.hold)
        if op.refund_of is not None:
            return self._refund(position, op, op.refund_of)
        if (frozen := self._why_frozen(op)) is not None:
            return Verdict(Status.REJECTED, reason=frozen)
        available = self._available(op.source)
        limited = bool(op.overdraft_limit) or (op.allow_overdraft and op.overdraft_limit is not None)
        unlimited = op.allow_overdraft and op.overdraft_limit is None
        if not unlimited and available + (op.overdraft_limit or 0) < op.amount:
            reason = RejectReason.OVERDRAFT_LIMIT if limited else RejectReason.INSUFFICIENT_FUNDS
            return Verdict(Status.REJECTED, reason=reason, available=available)
        if op.source in self.floors and available - op.amount < self.floors[op.source]:
            return Verdict(Status.REJECTED, reason=RejectReason.FLOOR, available=available)
        if op.kind is Kind.HOLD:
            self.held[position] = (op.amount, 0, 0)
            self._add(op.source, inflight_debit=op.amount)
            self._add(op.destination, inflight_credit=op.amount)
            return Verdict(Status.INFLIGHT, op.amount)
        return self._move(position, op, op.amount)

    def _settle(self, position: int, op: Operation, hold: int) -> Verdict:
        if hold not in self.held:
            return Verdict(Status.REJECTED, reason=RejectReason.NOT_INFLIGHT)
        held, committed, voided = self.held[hold]
        left = held - committed - voided
        if left == 0:
            reason = RejectReason.ALREADY_VOIDED if voided else RejectReason.ALREADY_COMMITTED
            return Verdict(Status.REJECTED, reason=reason)
        if op.amount > left:
            beyond_all = op.amount > held
            reason = RejectReason.COMMIT_EXCEEDS_ORIGINAL if beyond_all else RejectReason.COMMIT_EXCEEDS_REMAINDER
            return Verdict(Status.REJECTED, reason=reason, available=left)
        if op.kind is Kind.COMMIT_INFLIGHT and (frozen := self._why_frozen(op)) is not None:
            return Verdict(Status.REJECTED, reason=frozen)
        amount, (source, destination) = op.amount or left, self.sides(op)
        self._add(source, inflight_debit=-amount)
        self._add(destination, inflight_credit=-amount)
        if op.kind is Kind.VOID_INFLIGHT:
            self.held[hold] = (held, committed, voided + amount)
            return Verdict(Status.VOID, amount)
        self.held[hold] = (held, committed + amount, voided)
        return self._move(position, op, amount)

    def _refund(self, position: int, op: Operation, what: int) -> Verdict:
        """Take the money back from the balance that got it, even if it is no longer there."""
        if (frozen := self._why_frozen(op)) is not None:
            return Verdict(Status.REJECTED, reason=frozen)
        moved, given_back = self.moved[what]
        left = moved - given_back
        if left == 0:
            return Verdict(Status.REJECTED, reason=RejectReason.ALREADY_REFUNDED, available=0)
        if op.amount > left:
            return Verdict(Status.REJECTED, reason=RejectReason.REFUND_EXCEEDS_REMAINDER, available=left)
        amount = op.amount or left
        source, _ = self.sides(op)
        if source in self.floors and (available := self._available(source)) - amount < self.floors[source]:
            return Verdict(Status.REJECTED, reason=RejectReason.FLOOR, available=available)
        self.moved[what] = (moved, given_back + amount)
        return self._move(position, op, amount)

    def _why_frozen(self, op: Operation) -> RejectReason | None:
        source, destination = self.sides(op)
        if source in self.frozen:
            return RejectReason.SOURCE_FROZEN
        return RejectReason.DESTINATION_FROZEN if self.frozen.get(destination) == "all" else None

    def _available(self, name: Hashable) -> int:
        has = self.sums.get(name, Sums())
        return has.credit - has.debit - has.inflight_debit

    def _move(self, position: int, op: Operation, amount: int) -> Verdict:
        source, destination = self.sides(op)
        self._add(source, debit=amount)
        self._add(destination, credit=amount)
        self.moved[position] = (amount, 0)
        return Verdict(Status.APPLIED, amount)

    def _add(self, name: Hashable, **changes: int) -> None:
        sums = self.sums.get(name, Sums())._asdict()
        self.sums[name] = Sums(**{column: value + changes.get(column, 0) for column, value in sums.items()})
