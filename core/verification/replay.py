"""Decide the log again, piece by piece, with the engine that decided it, and compare the outcomes with those recorded.

The postings of a piece are decided one at a time, in the order of acceptance, from the standing that the recorded outcomes
before the piece make. When every piece is right, so is the whole log: each piece shows that its outcomes follow from those
before it, and the first begins with nothing.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from core.ledger.rules.engine import Book, decide, decide_group
from core.ledger.rules.model import (
    HOLD,
    SPLIT,
    STATUS_NUMBERS,
    STATUS_OF_NUMBER,
    TRANSFER,
    Balance,
    Hold,
    Limit,
    Outcome,
    Posting,
    Refunded,
    Status,
)
from core.ledger.store import limits as limit_store
from core.verification import history_store
from core.verification.history_store import HistoryRow, Queue, Recorded
from core.verification.report import Report, reason_text, seq_key, status_text
from core.verification.tally import Moved, Needs, Salt, Settled, Start, Tally, balance_of


class _EmptyBalances(dict[int, Balance]):
    """Balances that all start at zero.

    An unknown balance starts at zero too, so that it does not stop the walk. ``walk.py`` reports it.
    """

    def __missing__(self, key: int) -> Balance:
        balance = self[key] = Balance(key, 0, 0, 0, 0, 1, 0)
        return balance


class Always(NamedTuple):
    """The facts that the decisions of every piece need. A process reads them once."""

    limits: Mapping[int, Sequence[Limit]]
    refunded: frozenset[int]
    """The seqs of the postings of which anything is refunded."""


def always(conn: Connection) -> Always:
    """Read the limits of all balances, and which postings are refunded."""
    return Always(limit_store.find_all(conn), frozenset(history_store.refunded_seqs(conn)))


_APPLIED, _APPLIED_NUMBER = Status.APPLIED, STATUS_NUMBERS[Status.APPLIED]
"""The status that most outcomes have, because each look at an enum's member costs several times as much."""


def _is_plain(posting: Posting) -> bool:
    """Tell whether a posting is a transfer for itself, which settles and refunds nothing."""
    return posting.kind == TRANSFER and posting.group_first is posting.hold_seq is posting.refund_of is None


class Pile:
    """A judge that tallies the outcomes of a piece, and keeps its groups for a replay."""

    def __init__(self, known: Always, salt: Salt) -> None:
        self.tally = Tally()
        self.groups: list[Sequence[HistoryRow]] = []
        self._refunded, self._salt = known.refunded, salt
        self._needed: list[Posting] = []
        """The postings that need more than the balances that the tally has."""

    def begin(self, queues: dict[int, Queue]) -> None:
        """Do nothing: an empty tally needs no check."""

    def prepare(self, rows: Sequence[HistoryRow]) -> None:
        """Do nothing: a tally needs nothing but the rows."""

    def judge(self, group: Sequence[HistoryRow]) -> None:
        """Tally the outcomes. What waits decides nothing that is decided, so it is not kept."""
        is_decided = False
        for _, _, posting, recorded in group:
            if recorded is not None:
                self.tally.note(recorded, self._salt)
                if posting is not None and posting.kind != SPLIT:
                    is_decided = True
                    self.tally.add(posting, recorded, self._refunded)
                    if not _is_plain(posting) or recorded.status != _APPLIED_NUMBER:
                        self._needed.append(posting)
        if is_decided:
            self.groups.append(group)
            if len(group) > 1:
                self._needed += [row.posting for row in group if row.posting is not None]

    def needs(self) -> Needs:
        """List what the decisions need from before the piece."""
        postings = self._needed
        balances = {key for posting in postings for key in (posting.source, posting.destination) if key is not None}
        holds = {posting.hold_seq for posting in postings if posting.hold_seq is not None}
        refunds = {posting.refund_of for posting in postings if posting.refund_of is not None}
        balances |= self.tally.sums.keys() - {None}
        return Needs(list(balances), list(holds), list(refunds))


class Replay:
    """Decides the rows of a piece again, from where the recorded outcomes before it lead."""

    def __init__(self, report: Report, known: Always, start: Start) -> None:
        self._report, self._refunded = report, known.refunded
        self._holds, self._moved = start.holds, start.moved
        holds = {seq: Hold(seq, hold.amount, hold.committed, hold.voided) for seq, hold in start.holds.items()}
        balances = _EmptyBalances({key: balance_of(key, sums) for key, sums in start.sums.items()})
        refunds = {seq: Refunded(seq, moved.amount, 0) for seq, moved in start.moved.items()} | start.refunds
        self._book = Book(balances, holds, refunds=refunds, limits=known.limits)

    def judge(self, group: Sequence[HistoryRow]) -> None:
        """Decide the postings over the book, and compare the outcomes with the recorded ones."""
        if len(group) == 1 and self._agrees(group[0]):
            return
        rows = [row for row in group if row.posting is not None and row.posting.kind != SPLIT]
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
                self._note(posting, row.recorded)
        if not outcomes:
            return
        for outcome, posting, row in zip(outcomes, postings, rows, strict=True):
            if row.recorded is not None:
                self._compare(outcome, posting, row.recorded)

    def _agrees(self, row: HistoryRow) -> bool:
        """Decide a plain transfer, and return whether its outcome is the recorded one. If not, nothing has changed."""
        posting, recorded = row.posting, row.recorded
        if posting is None or recorded is None or not _is_plain(posting) or posting.seq in self._refunded:
            return False
        try:
            outcome = decide(posting, self._book)
        except (AssertionError, KeyError):
            return False
        if (
            outcome.status is _APPLIED
            and recorded.reason is None
            and recorded.rejection_json is None
            and recorded.status == _APPLIED_NUMBER
            and recorded.amount == outcome.amount
            and recorded.source == posting.source
            and recorded.destination == posting.destination
        ):
            self._book.write(outcome)
            return True
        return False

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
        hold = self._holds.get(posting.hold_seq or 0)
        if hold is not None and (posting.source, posting.destination) != (hold.source, hold.destination):
            expected = f"the balances of its hold, keys {hold.source} and {hold.destination}"
            self._add_parties(posting, expected)

    def _check_refunded_parties(self, posting: Posting) -> None:
        moved = self._moved.get(posting.refund_of or 0)
        if moved is not None and (posting.destination, posting.source) != (moved.source, moved.destination):
            expected = (
                f"the balances of what it gives back the other way round, keys {moved.destination} and {moved.source}"
            )
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

    def _note(self, posting: Posting, recorded: Recorded) -> None:
        """Note a hold, or a posting that is refunded, for the check of the balances that settle or refund it."""
        if posting.kind == HOLD and STATUS_OF_NUMBER.get(recorded.status) is Status.INFLIGHT:
            self._holds[posting.seq] = Settled(posting.source, posting.destination, recorded.amount)
        if posting.seq in self._refunded and STATUS_OF_NUMBER.get(recorded.status) is Status.APPLIED:
            self._moved[posting.seq] = Moved(posting.source, posting.destination, recorded.amount)


def _sum_of_rejection(outcome: Outcome) -> dict[str, Any] | None:
    """Return the values of a rejection in the form in which they are stored."""
    if outcome.rejection is None:
        return None
    values = outcome.rejection._asdict()
    return {name: value for name, value in values.items() if value is not None and name != "reason"}
