"""Decide the whole log again with the engine that decided it, and compare the outcomes with those that are recorded.

The postings are decided one at a time, in the order of acceptance. Undecided postings are decided too, because
later rows may depend on them. Memory holds one entry for each balance and each hold.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from core.ledger.rules.engine import Book, decide, decide_group
from core.ledger.rules.model import STATUS_NUMBERS, STATUS_OF_NUMBER, Balance, Kind, Outcome, Posting, Refunded, Status
from core.ledger.store import limits as limit_store
from core.verification import history_store
from core.verification.history_store import HistoryRow, Queue, Recorded
from core.verification.report import Report, reason_text, seq_key, status_text


@dataclass(slots=True)
class Sums:
    """The sums of a balance's outcomes."""

    credit: int = 0
    debit: int = 0
    inflight_credit: int = 0
    inflight_debit: int = 0
    version: int = 1
    last_credit_seq: int = 0


@dataclass(slots=True)
class Settled:
    """The sums of the outcomes of a hold and its settlements."""

    source: int
    destination: int
    amount: int
    committed: int = 0
    voided: int = 0
    settled_at: datetime | None = None


class _EmptyBalances(dict[int, Balance]):
    """Balances that all start at zero.

    An unknown balance starts at zero too, so that it does not stop the walk. ``walk.py`` reports it.
    """

    def __missing__(self, key: int) -> Balance:
        balance = self[key] = Balance(key, 0, 0, 0, 0, 1, 0)
        return balance


class Replay:
    """A judge that decides the rows again, from an empty book on."""

    def __init__(self, conn: Connection, report: Report) -> None:
        self.sums: dict[int, Sums] = {}
        self.holds: dict[int, Settled] = {}
        self.refunds: dict[int, Refunded] = {}
        """The refunded amounts by the outcomes, by the seq of the refunded transaction."""
        self._report = report
        self._book = Book(_EmptyBalances(), {}, limits=limit_store.find_all(conn))
        self._refunded = history_store.refunded_seqs(conn)
        self._moved: dict[int, tuple[int, int, int]] = {}
        """Source, destination and amount of each refunded transaction, by its seq."""

    def begin(self, queues: dict[int, Queue]) -> None:
        """Do nothing: an empty book needs no check."""

    def prepare(self, rows: Sequence[HistoryRow]) -> None:
        """Do nothing: the book holds everything that a decision needs."""

    def judge(self, group: Sequence[HistoryRow]) -> None:
        """Decide the postings over the book, and compare the outcomes with the recorded ones."""
        rows = [row for row in group if row.posting is not None and row.posting.kind != Kind.SPLIT]
        postings = [row.posting for row in rows if row.posting is not None]
        if not postings:
            return
        try:
            outcomes = self._decide(postings, [row.posting for row in group if row.posting is not None])
        except (AssertionError, KeyError) as error:
            key = seq_key(postings[0].seq)
            self._report.add("log", key, "row", expected="a posting that can be decided", found=repr(error))
            outcomes = []
        for posting, row in zip(postings, rows, strict=True):
            if row.recorded is not None:
                self._add(posting, row.recorded)
        if not outcomes:
            return
        for outcome, posting, row in zip(outcomes, postings, rows, strict=True):
            if row.recorded is not None:
                self._compare(outcome, posting, row.recorded)

    def _decide(self, postings: Sequence[Posting], group: Sequence[Posting]) -> list[Outcome]:
        """Decide one posting, or the postings of an atomic group, and write it to the book."""
        for posting in postings:
            if posting.hold_seq is not None:
                self._check_settled_parties(posting)
            if posting.refund_of is not None:
                self._check_refunded_parties(posting)
        if postings[0].group_first is not None and self._check_group(group):
            outcomes = decide_group(postings, self._book)
        else:
            outcomes = []
            for posting in postings:
                outcomes.append(decide(posting, self._book))
                self._book.write(outcomes[-1])
        for outcome in outcomes:
            if outcome.seq in self._refunded and outcome.status is Status.APPLIED:
                self._book.refunds[outcome.seq] = Refunded(outcome.seq, outcome.amount, 0)
        return outcomes

    def _check_group(self, postings: Sequence[Posting]) -> bool:
        """Return whether the atomic group is complete and its members agree on its range. Report it if not."""
        first, last = postings[0].group_first, postings[0].group_last
        for posting in postings:
            if posting.group_last != last:
                self._report.add("log", seq_key(posting.seq), "group_last", expected=last, found=posting.group_last)
                return False
        seqs = [posting.seq for posting in postings]
        if first is None or last is None or seqs != list(range(first, last + 1)):
            expected, found = f"an atomic group from {first} to {last}", f"{len(seqs)} members to {seqs[-1]}"
            self._report.add("log", seq_key(postings[0].seq), "group", expected=expected, found=found)
            return False
        return True

    def _check_settled_parties(self, posting: Posting) -> None:
        hold = self.holds.get(posting.hold_seq or 0)
        if hold is not None and (posting.source, posting.destination) != (hold.source, hold.destination):
            expected = f"the balances of its hold, keys {hold.source} and {hold.destination}"
            self._add_parties(posting, expected)

    def _check_refunded_parties(self, posting: Posting) -> None:
        moved = self._moved.get(posting.refund_of or 0)
        if moved is not None and (posting.destination, posting.source) != moved[:2]:
            expected = f"the balances of what it gives back the other way round, keys {moved[1]} and {moved[0]}"
            self._add_parties(posting, expected)

    def _add_parties(self, posting: Posting, expected: str) -> None:
        found = f"{posting.source} and {posting.destination}"
        self._report.add("log", seq_key(posting.seq), "source and destination", expected=expected, found=found)

    def _compare(self, outcome: Outcome, posting: Posting, recorded: Recorded) -> None:
        rejection = outcome.rejection
        status, reason = STATUS_NUMBERS[outcome.status], None if rejection is None else int(rejection.reason)
        source, destination = (posting.source, posting.destination) if rejection is None else (None, None)
        sum, amount = _sum_of_rejection(outcome), outcome.amount
        found_sum = json.loads(recorded.rejection_json) if recorded.rejection_json is not None else None
        expected = status, amount, reason, sum, source, destination
        found = recorded.status, recorded.amount, recorded.reason, found_sum, recorded.source, recorded.destination
        if expected == found:
            return
        values = (
            ("status", status_text(status), status_text(recorded.status)),
            ("amount", amount, recorded.amount),
            ("reason", reason_text(reason), reason_text(recorded.reason)),
            ("rejection", sum, found_sum),
            ("source", source, recorded.source),
            ("destination", destination, recorded.destination),
        )
        self._report.compare("outcomes", seq_key(outcome.seq), "by the log up to here", values)

    def _add(self, posting: Posting, recorded: Recorded) -> None:
        """Add a recorded outcome to the sums of its balances, its hold and its refund."""
        status = STATUS_OF_NUMBER.get(recorded.status)
        if status is Status.REJECTED or status is None:
            self._report.rejected += 1
            return
        amount, kind = recorded.amount, posting.kind
        if (source := self.sums.get(posting.source)) is None:
            source = self.sums[posting.source] = Sums()
        if (destination := self.sums.get(posting.destination)) is None:
            destination = self.sums[posting.destination] = Sums()
        source.version += 1
        destination.version += 1
        if status is Status.APPLIED:
            source.debit += amount
            destination.credit += amount
            destination.last_credit_seq = posting.seq
            if posting.seq in self._refunded:
                self._moved[posting.seq] = posting.source, posting.destination, amount
            if (moved := self._moved.get(posting.refund_of or 0)) is not None:
                before = self.refunds.get(posting.refund_of or 0)
                given_back = amount + (before.refunded if before is not None else 0)
                self.refunds[posting.refund_of or 0] = Refunded(posting.refund_of or 0, moved[2], given_back)
        if kind in (Kind.TRANSFER, Kind.REFUND):
            return
        held = amount if kind == Kind.HOLD else -amount
        source.inflight_debit += held
        destination.inflight_credit += held
        if kind == Kind.HOLD:
            self.holds[posting.seq] = Settled(posting.source, posting.destination, amount)
        elif (hold := self.holds.get(posting.hold_seq or 0)) is not None:
            if status is Status.APPLIED:
                hold.committed += amount
            else:
                hold.voided += amount
            if hold.committed + hold.voided == hold.amount:
                hold.settled_at = recorded.decided_at


def _sum_of_rejection(outcome: Outcome) -> dict[str, Any] | None:
    """Return the values of a rejection in the form in which they are stored."""
    if outcome.rejection is None:
        return None
    values = outcome.rejection._asdict()
    return {name: value for name, value in values.items() if value is not None and name != "reason"}
