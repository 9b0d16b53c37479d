"""Recompute everything from the history; report, never repair.

One snapshot is read while drains go on. The log is decided once more from nothing, one posting at a time, in the order
of acceptance, by the same engine as ever; what is not decided yet is decided in passing, as later rows may rest on it.
So the verifier proves the promise that queues and workers change nothing, and finds any row that was altered.

Memory holds one entry for each balance and each hold. Everything else is streamed.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from sys import intern
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine

from core import store
from core.engine import Book, decide, decide_group
from core.model import (
    STATUS_NUMBERS,
    STATUS_OF_NUMBER,
    Balance,
    Hold,
    Kind,
    Outcome,
    Posting,
    Refunded,
    RejectReason,
    Status,
)
from core.routing import queue_of, route_of
from core.store.audit import HistoryRow, Recorded
from core.store.balances import BALANCE_PREFIX

BATCH = 5_000
"""Rows of the log that are read at a time."""

LISTED = 100
"""Problems that are kept word for word. All are counted."""

Progress = Callable[[str, int, int], None]
"""Told what is being read, how many rows of it are done, and of how many; 0 when that is not known."""


class Problem(NamedTuple):
    """A row that is not what the history makes it."""

    table: str
    key: str
    what: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.table}, {self.key}, {self.what}: expected {self.expected}, found {self.found}"


@dataclass
class Report:
    """What was read, and what is wrong with it."""

    transactions: int = 0
    undecided: int = 0
    rejected: int = 0
    balances: int = 0
    holds: int = 0
    currencies: int = 0
    problems: list[Problem] = field(default_factory=list)
    """The first ones: of the log and its outcomes in seq order, then of what follows from them."""
    problem_count: int = 0

    @property
    def ok(self) -> bool:
        return self.problem_count == 0

    def add(self, table: str, key: object, what: str, expected: object, found: object) -> None:
        self.problem_count += 1
        if len(self.problems) < LISTED:
            self.problems.append(Problem(table, str(key), what, str(expected), str(found)))


def verify(engine: Engine, *, progress: Progress = lambda what, done, of: None) -> Report:
    """Read the whole ledger, in one snapshot, and say all that is wrong with it.

    Raises:
        TransientError: the database went away.
    """
    report = Report()
    with store.audit.snapshot(engine) as conn:
        walk = _Walk(conn, report, progress)
        walk.history()
        _check_balances(conn, report, walk.sums, progress)
        _check_holds(conn, report, walk.holds, progress)
        _check_refunds(conn, report, walk.refunds)
        _check_entries(conn, report, progress)
    return report


@dataclass(slots=True)
class _Sums:
    """What the outcomes of a balance add up to."""

    credit: int = 0
    debit: int = 0
    inflight_credit: int = 0
    inflight_debit: int = 0
    version: int = 1
    last_credit_seq: int = 0


@dataclass(slots=True)
class _Settled:
    """What the outcomes of a hold and its settlements add up to."""

    source: int
    destination: int
    amount: int
    committed: int = 0
    voided: int = 0
    settled_at: datetime | None = None


class _FromNothing(dict[int, Balance]):
    """Balances that all start with nothing. One that does not exist is a problem elsewhere, and must not stop the walk."""

    def __missing__(self, key: int) -> Balance:
        balance = self[key] = Balance(key, 0, 0, 0, 0, 1, 0)
        return balance


class _Walk:
    """One walk along the log, with its outcomes beside it."""

    def __init__(self, conn: Connection, report: Report, progress: Progress) -> None:
        self.sums: dict[int, _Sums] = {}
        self.holds: dict[int, _Settled] = {}
        self._conn, self._report, self._progress = conn, report, progress
        self._book = Book(_FromNothing(), {})
        self._last_seq = store.audit.last_seq(conn)
        self._cursors = store.audit.cursors(conn)
        self._currencies = {key: intern(currency) for key, currency in store.audit.currencies_of_balances(conn)}
        self._next_seq = 1
        self._refunded = store.audit.refunded_seqs(conn)

    @property
    def refunds(self) -> dict[int, Refunded]:
        """How far each thing has been given back, by the log."""
        return self._book.refunds

    def history(self) -> None:
        """Check every row of the log and every outcome."""
        numbers = list(self._cursors)
        if numbers != list(range(len(numbers))):
            self._report.add("queues", "all", "numbers", f"0 to {len(numbers) - 1}", numbers)
        for _, members in groupby(self._rows(), key=_group_of):
            group = list(members)
            for row in group:
                self._check_row(row)
            self._replay(group)
            for row in group:
                self._add(row)
        self._check_cursors()

    def _rows(self) -> Iterator[HistoryRow]:
        """Every row. Seqs may have gaps if something is wrong, so a batch begins where there is something."""
        last = store.audit.BEFORE_ALL
        while (first := store.audit.next_seq(self._conn, last)) is not None:
            last = first + BATCH - 1
            rows = store.audit.history(self._conn, first, last)
            self._check_routes(rows)
            yield from rows
            self._progress("transactions", min(last, self._last_seq), self._last_seq)

    def _check_cursors(self) -> None:
        for number, cursor in self._cursors.items():
            if not 0 <= cursor <= self._last_seq:
                expected = f"at most {self._last_seq}, where the log ends"
                self._report.add("queues", f"number {number}", "cursor", expected, cursor)

    def _check_routes(self, rows: Sequence[HistoryRow]) -> None:
        """What waits is in the queue of its source. What is decided may be from before a resize."""
        postings = [row.posting for row in rows if row.posting is not None and row.recorded is None]
        waiting = [posting for posting in postings if posting.kind != Kind.SPLIT]
        if not waiting or not self._cursors:
            return
        ids = store.audit.balance_ids(self._conn, {posting.source for posting in waiting})
        for posting in waiting:
            if (key := ids.get(posting.source)) is None:
                continue
            queue = queue_of(route_of(f"{BALANCE_PREFIX}{key}"), len(self._cursors))
            if posting.queue != queue:
                self._report.add("log", _seq(posting.seq), "queue", queue, posting.queue)

    def _check_row(self, row: HistoryRow) -> None:
        seq, posting, currency, recorded = row
        if seq > self._next_seq:
            expected = "a row, for the log has no gaps"
            self._report.add("log", _seq(self._next_seq), "row", expected, f"none before {seq}")
        self._next_seq = seq + 1
        if posting is None:
            self._report.add("log", _seq(seq), "row", "the row that its outcome is of", "none")
            return
        self._report.transactions += 1
        for side, key in (("source", posting.source), ("destination", posting.destination)):
            if key is None and posting.kind == Kind.SPLIT:
                continue
            found = self._currencies.get(key)
            if found is None:
                self._report.add("log", _seq(seq), side, "a balance that exists", f"key {key}")
            elif found != currency:
                self._report.add("log", _seq(seq), "currency", f"{found}, which is the {side}'s", currency)

        if posting.kind == Kind.SPLIT:
            if recorded is not None:
                self._report.add("outcomes", _seq(seq), "row", "none, for a split has no outcome", "one")
            return
        cursor = self._cursors.get(posting.queue)
        if recorded is None:
            self._report.undecided += 1
            if cursor is None or seq <= cursor:
                why = "no longer exists" if cursor is None else f"is decided up to {cursor}"
                self._report.add("outcomes", _seq(seq), "row", f"an outcome, as queue {posting.queue} {why}", "none")
        elif cursor is not None and seq > cursor:
            expected = f"none yet, as queue {posting.queue} is decided up to {cursor}"
            self._report.add("outcomes", _seq(seq), "row", expected, _status_text(recorded.status))

    def _replay(self, group: Sequence[HistoryRow]) -> None:
        """Decide the postings over the book, and compare with what is recorded."""
        rows = [row for row in group if row.posting is not None and row.posting.kind != Kind.SPLIT]
        postings = [row.posting for row in rows if row.posting is not None]
        if not postings:
            return
        try:
            outcomes = self._decide(postings, [row.posting for row in group if row.posting is not None])
        except (AssertionError, KeyError) as error:
            self._report.add("log", _seq(postings[0].seq), "row", "a posting that can be decided", error)
            return
        for outcome, posting, row in zip(outcomes, postings, rows, strict=True):
            if row.recorded is not None:
                self._compare(outcome, posting, row.recorded)

    def _decide(self, postings: Sequence[Posting], group: Sequence[Posting]) -> list[Outcome]:
        """Decide one posting, or the postings of an atomic group, and write it to the book."""
        for posting in postings:
            if posting.hold_seq is not None:
                self._check_settled_parties(posting)
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
        """Whether the atomic group is there in full, with all members saying the same of it."""
        first, last = postings[0].group_first, postings[0].group_last
        for posting in postings:
            if posting.group_last != last:
                self._report.add("log", _seq(posting.seq), "group_last", last, posting.group_last)
                return False
        seqs = [posting.seq for posting in postings]
        if first is None or last is None or seqs != list(range(first, last + 1)):
            expected = f"an atomic group from {first} to {last}"
            self._report.add("log", _seq(postings[0].seq), "group", expected, f"{len(seqs)} members to {seqs[-1]}")
            return False
        return True

    def _check_settled_parties(self, posting: Posting) -> None:
        hold = self.holds.get(posting.hold_seq or 0)
        if hold is not None and (posting.source, posting.destination) != (hold.source, hold.destination):
            expected = f"the balances of its hold, keys {hold.source} and {hold.destination}"
            found = f"{posting.source} and {posting.destination}"
            self._report.add("log", _seq(posting.seq), "source and destination", expected, found)

    def _compare(self, outcome: Outcome, posting: Posting, recorded: Recorded) -> None:
        status, rejection = STATUS_NUMBERS[outcome.status], outcome.rejection
        if rejection is None:
            expected = Recorded(status, outcome.amount, posting.source, posting.destination, None, None, None)
        else:
            expected = Recorded(status, 0, None, None, int(rejection.reason), None, None)
        expected_sum = _sum_of(outcome)
        found_sum = json.loads(recorded.rejection_json) if recorded.rejection_json is not None else None
        if expected[:5] == recorded[:5] and expected_sum == found_sum:
            return
        for what, should, found in (
            ("status", _status_text(expected.status), _status_text(recorded.status)),
            ("amount", expected.amount, recorded.amount),
            ("reason", _reason_text(expected.reason), _reason_text(recorded.reason)),
            ("rejection", expected_sum, found_sum),
            ("source", expected.source, recorded.source),
            ("destination", expected.destination, recorded.destination),
        ):
            if should != found:
                self._report.add("outcomes", _seq(outcome.seq), what, f"{should}, by the log up to here", found)

    def _add(self, row: HistoryRow) -> None:
        """Add the outcome, as it is recorded, to the sums of its balances and its hold."""
        _, posting, _, recorded = row
        if posting is None or recorded is None:
            return
        status = STATUS_OF_NUMBER.get(recorded.status)
        if status is Status.REJECTED or status is None:
            self._report.rejected += 1
            return
        amount, kind = recorded.amount, posting.kind
        if (source := self.sums.get(posting.source)) is None:
            source = self.sums[posting.source] = _Sums()
        if (destination := self.sums.get(posting.destination)) is None:
            destination = self.sums[posting.destination] = _Sums()
        source.version += 1
        destination.version += 1
        if status is Status.APPLIED:
            source.debit += amount
            destination.credit += amount
            destination.last_credit_seq = posting.seq
        if kind in (Kind.TRANSFER, Kind.REFUND):
            return
        held = amount if kind == Kind.HOLD else -amount
        source.inflight_debit += held
        destination.inflight_credit += held
        if kind == Kind.HOLD:
            self.holds[posting.seq] = _Settled(posting.source, posting.destination, amount)
        elif (hold := self.holds.get(posting.hold_seq or 0)) is not None:
            if status is Status.APPLIED:
                hold.committed += amount
            else:
                hold.voided += amount
            if hold.committed + hold.voided == hold.amount:
                hold.settled_at = recorded.decided_at


def _check_refunds(conn: Connection, report: Report, refunds: dict[int, Refunded]) -> None:
    """What is stored of refunds is what the log makes of them. What is not decided yet is in the log's alone."""
    undecided = store.audit.undecided_refunds(conn)
    for stored in store.audit.refunds(conn):
        expected = refunds.pop(stored.seq, None)
        if stored.seq not in undecided and stored != expected:
            report.add("refunds", _seq(stored.seq), "row", expected, stored)
    for seq, expected in refunds.items():
        if expected.refunded and seq not in undecided:
            report.add("refunds", _seq(seq), "row", expected, "none")


def _check_balances(conn: Connection, report: Report, sums: dict[int, _Sums], progress: Progress) -> None:
    """Each balance is the sum of its outcomes, and all of a currency add up to zero."""
    totals: dict[str, list[int]] = {}
    for name, currency, balance, stored in store.audit.balances(conn):
        report.balances += 1
        expected = sums.pop(stored.id, None) or _Sums()
        for what, should, found in (
            ("credit_balance", expected.credit, stored.credit),
            ("debit_balance", expected.debit, stored.debit),
            ("balance", expected.credit - expected.debit, balance),
            ("inflight_credit_balance", expected.inflight_credit, stored.inflight_credit),
            ("inflight_debit_balance", expected.inflight_debit, stored.inflight_debit),
            ("version", expected.version, stored.version),
            ("last_credit_seq", expected.last_credit_seq, stored.last_credit_seq),
        ):
            if should != found:
                report.add("balances", name, what, f"{should}, by its outcomes", found)
        total = totals.setdefault(currency, [0, 0])
        total[0] += balance
        total[1] += stored.inflight_credit - stored.inflight_debit
        if report.balances % BATCH == 0:
            progress("balances", report.balances, 0)
    for key in sums:
        report.add("balances", f"key {key}", "row", "a balance, for there are outcomes that touch it", "none")
    report.currencies = len(totals)
    for currency, (total_balance, total_inflight) in totals.items():
        if total_balance:
            report.add("balances", f"all in {currency}", "balance", "0, for debits equal credits", total_balance)
        if total_inflight:
            report.add("balances", f"all in {currency}", "inflight", "0, for debits equal credits", total_inflight)
    progress("balances", report.balances, report.balances)


def _check_holds(conn: Connection, report: Report, holds: dict[int, _Settled], progress: Progress) -> None:
    """Each hold is what its settlements have left of it."""
    for hold, settled_at in store.audit.holds(conn):
        report.holds += 1
        expected = holds.pop(hold.seq, None)
        if expected is None:
            report.add("holds", _seq(hold.seq), "row", "none, for no outcome made it", _hold_text(hold))
            continue
        for what, should, found in (
            ("amount", expected.amount, hold.amount),
            ("committed", expected.committed, hold.committed),
            ("voided", expected.voided, hold.voided),
            ("settled_at", expected.settled_at, settled_at),
        ):
            if should != found:
                report.add("holds", _seq(hold.seq), what, f"{should}, by its settlements", found)
        if report.holds % BATCH == 0:
            progress("holds", report.holds, 0)
    for seq, expected in holds.items():
        report.add("holds", _seq(seq), "row", f"a hold of {expected.amount}", "none")
    progress("holds", report.holds, report.holds)


def _check_entries(conn: Connection, report: Report, progress: Progress) -> None:
    """The statement of each balance has no gap, and its running balance follows from line to line."""
    progress("statements", 0, 0)
    broken = store.audit.broken_entries(conn, LISTED)
    ids = store.audit.balance_ids(conn, {entry.balance for entry in broken})
    for entry in broken:
        name = f"{BALANCE_PREFIX}{ids[entry.balance]}" if entry.balance in ids else f"balance key {entry.balance}"
        if entry.version != entry.expected_version:
            expected = f"{entry.expected_version}, the next of {name}"
            report.add("outcomes", _seq(entry.seq), f"{entry.side}_version", expected, entry.version)
        if entry.balance_after != entry.expected_balance:
            expected = f"{entry.expected_balance}, the next of {name}"
            report.add("outcomes", _seq(entry.seq), f"{entry.side}_balance", expected, entry.balance_after)
    progress("statements", report.transactions, report.transactions)


def _group_of(row: HistoryRow) -> int:
    """The members of an atomic group are neighbours, and share their first seq."""
    posting = row.posting
    return row.seq if posting is None or posting.group_first is None else posting.group_first


def _seq(seq: int) -> str:
    return f"seq {seq}"


def _sum_of(outcome: Outcome) -> dict[str, Any] | None:
    """The arithmetic of a rejection, as it is stored."""
    if outcome.rejection is None:
        return None
    values = outcome.rejection._asdict()
    return {name: value for name, value in values.items() if value is not None and name != "reason"}


def _status_text(number: int) -> str:
    status = STATUS_OF_NUMBER.get(number)
    return str(number) if status is None else f"{status}"


def _reason_text(number: int | None) -> str:
    return next((reason.name for reason in RejectReason if reason == number), str(number))


def _hold_text(hold: Hold) -> str:
    return f"{hold.amount}, committed {hold.committed}, voided {hold.voided}"
