"""A ledger in a dictionary and a loop: what every operation must come to, one at a time, in the order of acceptance.

It knows no queues, batches or database, and shares nothing with ``core.engine`` but the words of its answers.
"""

from collections.abc import Hashable
from typing import NamedTuple

from core.model import Kind, RejectReason, Status


class Operation(NamedTuple):
    kind: Kind
    source: Hashable = None
    destination: Hashable = None
    amount: int = 0
    allow_overdraft: bool = False
    overdraft_limit: int | None = None
    hold: int | None = None
    """Place of what a commit or void settles. It names both balances."""


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


class Oracle:
    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.verdicts: list[Verdict] = []
        self.sums: dict[Hashable, Sums] = {}
        self.held: dict[int, tuple[int, int, int]] = {}
        """Of each hold: amount, committed, voided."""

    def accept(self, *group: Operation) -> None:
        """Decide one operation, or the members of an atomic group: all or none."""
        first = len(self.operations)
        self.operations += group
        before = dict(self.sums), dict(self.held)
        for place in range(first, first + len(group)):
            verdict = self._decide(place, self.operations[place])
            if verdict.status is Status.REJECTED:
                self.sums, self.held = before
                others = Verdict(Status.REJECTED, reason=RejectReason.ATOMIC_GROUP, culprit=place)
                self.verdicts[first:] = [others] * len(group)
                self.verdicts[place] = verdict
                return
            self.verdicts.append(verdict)

    def status(self, place: int) -> Status:
        """As a client reads it in the end: a hold moves on when it is settled."""
        amount, committed, voided = self.held.get(place, (0, 0, 0))
        if amount == 0 or amount > committed + voided:
            return self.verdicts[place].status
        return Status.APPLIED if committed else Status.VOID

    def _decide(self, place: int, op: Operation) -> Verdict:
        if op.hold is not None:
            return self._settle(op, op.hold)
        has = self.sums.get(op.source, Sums())
        available = has.credit - has.debit - has.inflight_debit
        limited = bool(op.overdraft_limit) or (op.allow_overdraft and op.overdraft_limit is not None)
        unlimited = op.allow_overdraft and op.overdraft_limit is None
        if not unlimited and available + (op.overdraft_limit or 0) < op.amount:
            reason = RejectReason.OVERDRAFT_LIMIT if limited else RejectReason.INSUFFICIENT_FUNDS
            return Verdict(Status.REJECTED, reason=reason, available=available)
        if op.kind is Kind.HOLD:
            self.held[place] = (op.amount, 0, 0)
            self._add(op.source, inflight_debit=op.amount)
            self._add(op.destination, inflight_credit=op.amount)
            return Verdict(Status.INFLIGHT, op.amount)
        self._add(op.source, debit=op.amount)
        self._add(op.destination, credit=op.amount)
        return Verdict(Status.APPLIED, op.amount)

    def _settle(self, op: Operation, hold: int) -> Verdict:
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
        amount, source, destination = op.amount or left, self.operations[hold].source, self.operations[hold].destination
        self._add(source, inflight_debit=-amount)
        self._add(destination, inflight_credit=-amount)
        if op.kind is Kind.VOID_INFLIGHT:
            self.held[hold] = (held, committed, voided + amount)
            return Verdict(Status.VOID, amount)
        self.held[hold] = (held, committed + amount, voided)
        self._add(source, debit=amount)
        self._add(destination, credit=amount)
        return Verdict(Status.APPLIED, amount)

    def _add(self, name: Hashable, **changes: int) -> None:
        sums = self.sums.get(name, Sums())._asdict()
        self.sums[name] = Sums(**{column: value + changes.get(column, 0) for column, value in sums.items()})
