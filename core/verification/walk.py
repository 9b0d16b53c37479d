"""Read the log and its outcomes in ranges of sequence numbers, and check each row by itself.

A row must follow the one before it without a gap and no earlier, name balances of its currency, and have an outcome exactly
when its queue is decided so far. ``splits.py`` checks splits and their legs, and ``chains.py`` checks the hashes. A judge checks
rows that are decided together: ``replay.py`` and ``continuation.py`` have one each.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from sys import intern
from typing import Protocol

from sqlalchemy import Connection

from core.ledger.rules.model import SPLIT
from core.ledger.rules.routing import queue_of, route_of
from core.ledger.store import balances as balance_store
from core.ledger.store.balances import BALANCE_PREFIX
from core.verification import history_store
from core.verification.chains import Chains, Versions
from core.verification.checkpoints import Heads
from core.verification.history_store import HistoryRow, Queue
from core.verification.report import Report, TellProgress, seq_key, silent, status_text
from core.verification.sealed import Roots
from core.verification.splits import Splits

ROWS_AT_A_TIME = 5_000
"""The number of rows of the log that one statement reads."""

_source_of, _destination_of = attrgetter("source"), attrgetter("destination")

_NEVER = 2**63 - 1


class Judge(Protocol):
    """The checks of a verification that a walk calls as it reads the log, for each group of rows."""

    def begin(self, queues: dict[int, Queue]) -> None:
        """Check everything that comes before the first row."""

    def prepare(self, rows: Sequence[HistoryRow]) -> None:
        """Read what the judge needs for the rows of a range."""

    def judge(self, group: Sequence[HistoryRow]) -> None:
        """Check rows that are decided together: an atomic group, or one row."""


class Known:
    """The facts that a process reads once for all its walks in one snapshot."""

    def __init__(self, conn: Connection) -> None:
        self.last_seq = history_store.last_seq(conn)
        self.queues = history_store.queues(conn)
        self.falls = history_store.clock_falls(conn)
        self.currencies: dict[int, str] = {}
        self.parties: dict[int | None, bytes] = {}


class Walk:
    """One walk along the log, from the heads ``since`` to the end of the log, to a row, or to a limit."""

    def __init__(
        self, conn: Connection, report: Report, judge: Judge, since: Heads, known: Known | None = None
    ) -> None:
        self._conn, self._report, self._judge, self._since = conn, report, judge, since
        known = known or Known(conn)
        self._last_seq, self._queues, self._currencies = known.last_seq, known.queues, known.currencies
        self._falls, self._accepted_at = known.falls, history_store.accepted_at(conn, since.sequence)
        self._next_seq = since.sequence + 1
        self._splits = Splits(report)
        self._chains = Chains(report, since, self._queues)
        self.roots = Roots(conn, report, since.sequence, known.parties)
        report.from_sequence, report.to_sequence, report.reached = self._next_seq, since.sequence, since

    @property
    def versions(self) -> Versions:
        """The versions of the digest that were read."""
        return self._chains.versions

    def run(self, *, limit: int | None = None, progress: TellProgress = silent) -> None:
        """Check every row of the log and every outcome, and first the outcomes that were not there at the start yet.

        It stops after ``limit`` rows, or a little later, so that no split or atomic group is cut.
        """
        self._judge.begin(self._queues)
        self._check_numbers()
        if not self._catch_up(limit):
            return
        self._go(None, limit, progress)
        self.versions.warn(self._report)
        self._check_ends()

    def run_piece(self, until: int | None) -> None:
        """Check the rows up to one after which no split or atomic group is open. None is for the last row of the log."""
        if not self._since.sequence:
            self._check_numbers()
        self._go(until, None, silent)
        if until is None:
            self._check_ends()
        else:
            self._check_gap(until + 1)

    def _check_numbers(self) -> None:
        numbers = list(self._queues)
        if numbers != list(range(len(numbers))):
            self._report.add("queues", "all", "numbers", expected=f"0 to {len(numbers) - 1}", found=numbers)

    def _check_ends(self) -> None:
        """Check where the queues end."""
        if self._report.complete:
            self._chains.check_ends()
        self._check_cursors()

    def _go(self, until: int | None, limit: int | None, progress: TellProgress) -> None:
        stop_after = self._since.sequence + limit if limit is not None else None
        for _, members in groupby(self._rows(until, progress), key=group_of):
            group = list(members)
            if stop_after is not None and self._report.to_sequence >= stop_after and not self._splits.owns(group[0]):
                self._report.complete = False
                break
            for row in group:
                self._check_row(row)
            self._judge.judge(group)
            for row in group:
                self.roots.follow(row, self._chains.follow(row))
            self._report.to_sequence = group[-1].seq
        self._splits.close()
        self.roots.end()
        self._pause()

    def _rows(self, until: int | None, progress: TellProgress) -> Iterator[HistoryRow]:
        """Yield every row. A damaged log may have gaps, so each range begins at the next row that exists."""
        last = self._since.sequence or history_store.BEFORE_ALL
        end = _NEVER if until is None else until
        while last < end and (first := history_store.next_seq(self._conn, last)) is not None and first <= end:
            last = min(first + ROWS_AT_A_TIME - 1, end)
            rows = history_store.history(self._conn, first=first, last=last)
            self._look_up_currencies(rows)
            self._judge.prepare(rows)
            self._check_queues(rows)
            yield from rows
            progress("transactions", min(last, self._last_seq), self._last_seq)

    def _look_up_currencies(self, rows: Sequence[HistoryRow]) -> None:
        postings = [row.posting for row in rows if row.posting is not None]
        keys = set(map(_source_of, postings)).union(map(_destination_of, postings))
        if unknown := keys - self._currencies.keys() - {None}:
            found = history_store.currencies_of(self._conn, unknown)
            self._currencies |= {key: intern(currency) for key, currency in found.items()}

    def _catch_up(self, limit: int | None) -> bool:
        """Check the outcomes of the rows up to the start that waited then. Return False when ``limit`` is reached by them."""
        last, read = self._since.sequence, 0
        for late in history_store.late_queues(self._conn, self._since.queues, last) if last else []:
            self._report.undecided += history_store.waiting(self._conn, late, last)
            while rows := history_store.of_queue(self._conn, late, ROWS_AT_A_TIME):
                self._judge.prepare(rows)
                for row in rows:
                    if row.recorded is None:
                        self._check_undecided(row.seq, late.queue)
                    self._judge.judge([row])
                    self._chains.follow_outcome(row)
                late = late._replace(after=rows[-1].seq)
                read += len(rows)
                if limit is not None and read >= limit:
                    self._report.complete = False
                    self._pause()
                    return False
        return True

    def _pause(self) -> None:
        """Note the heads of the chains. No split or group is open."""
        self._report.reached = self._chains.heads(self._report.to_sequence)

    def _check_queues(self, rows: Sequence[HistoryRow]) -> None:
        """Check that each undecided row is in the queue of its source. A decided row may be older than a resize of the queues."""
        unrecorded = (row.posting for row in rows if row.posting is not None and row.recorded is None)
        waiting = [posting for posting in unrecorded if posting.kind != SPLIT]
        if not waiting or not self._queues:
            return
        ids = balance_store.public_ids(self._conn, {posting.source for posting in waiting})
        for posting in waiting:
            if (key := ids.get(posting.source)) is None:
                continue
            queue = queue_of(route_of(f"{BALANCE_PREFIX}{key}"), len(self._queues))
            if posting.queue != queue:
                self._report.add("log", seq_key(posting.seq), "queue", expected=queue, found=posting.queue)

    def _check_row(self, row: HistoryRow) -> None:
        seq, logged, posting, recorded = row
        self._check_gap(seq)
        self._next_seq = seq + 1
        if posting is None or logged is None:
            self._splits.close()
            self._report.add("log", seq_key(seq), "row", expected="the row that its outcome is of", found="none")
            return
        currency = logged.currency
        self._check_time(seq, logged.accepted_at)
        self._splits.check(row, logged)
        self._report.transactions += 1
        currencies = self._currencies
        if currencies.get(posting.source) == currencies.get(posting.destination) == currency and recorded is not None:
            queue = self._queues.get(posting.queue)
            if queue is not None and seq <= queue.cursor and posting.kind != SPLIT:
                return  # Nothing is amiss, as with nearly every row.
        for side, key in (("source", posting.source), ("destination", posting.destination)):
            if key is None and posting.kind == SPLIT:
                continue
            found_currency = self._currencies.get(key)
            if found_currency is None:
                self._report.add("log", seq_key(seq), side, expected="a balance that exists", found=f"key {key}")
            elif found_currency != currency:
                expected = f"{found_currency}, which is the {side}'s"
                self._report.add("log", seq_key(seq), "currency", expected=expected, found=currency)

        if posting.kind == SPLIT:
            if recorded is not None:
                expected = "none, for a split has no outcome"
                self._report.add("outcomes", seq_key(seq), "row", expected=expected, found="one")
            return
        queue = self._queues.get(posting.queue)
        if recorded is None:
            self._report.undecided += 1
            self._check_undecided(seq, posting.queue)
        elif queue is not None and seq > queue.cursor:
            expected = f"none yet, as queue {posting.queue} is decided up to {queue.cursor}"
            self._report.add("outcomes", seq_key(seq), "row", expected=expected, found=status_text(recorded.status))

    def _check_time(self, seq: int, accepted_at: datetime | None) -> None:
        """Check that the row was accepted no earlier than the one before, or is named as one where the clock was set back."""
        before, self._accepted_at = self._accepted_at, accepted_at
        has_fallen = before is not None and accepted_at is not None and accepted_at < before
        if has_fallen != (seq in self._falls):
            expected = "a row, for the time falls here" if has_fallen else "none, for the time does not fall here"
            self._report.add(
                "clock_falls", seq_key(seq), "row", expected=expected, found="none" if has_fallen else "one"
            )

    def _check_gap(self, seq: int) -> None:
        if seq > self._next_seq:
            expected, found = "a row, for the log has no gaps", f"none before {seq}"
            self._report.add("log", seq_key(self._next_seq), "row", expected=expected, found=found)

    def _check_undecided(self, seq: int, number: int) -> None:
        """Check that a row without an outcome is one that its queue has yet to decide."""
        queue = self._queues.get(number)
        if queue is None or seq <= queue.cursor:
            why = "no longer exists" if queue is None else f"is decided up to {queue.cursor}"
            expected = f"an outcome, as queue {number} {why}"
            self._report.add("outcomes", seq_key(seq), "row", expected=expected, found="none")

    def _check_cursors(self) -> None:
        for number, queue in self._queues.items():
            if not 0 <= queue.cursor <= self._last_seq:
                expected = f"at most {self._last_seq}, where the log ends"
                self._report.add("queues", f"number {number}", "cursor", expected=expected, found=queue.cursor)


def check_log_reaches(report: Report, last_seq: int, sequence: int, who: str) -> None:
    """Check that the log, whose last row is ``last_seq``, reaches the ``sequence`` of a checkpoint."""
    if last_seq < sequence:
        expected = f"a row, for {who} vouches for the log up to {sequence}"
        report.add("log", seq_key(last_seq + 1), "row", expected=expected, found=f"none after {last_seq}")


def group_of(row: HistoryRow) -> int:
    """Return the first seq of the row's atomic group, or the row's own seq. Members of a group are neighbours."""
    posting = row.posting
    return row.seq if posting is None or posting.group_first is None else posting.group_first
