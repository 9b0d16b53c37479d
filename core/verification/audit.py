"""Recompute everything from the history; report, never repair.

One snapshot is read while drains go on. The log is decided once more from nothing, one posting at a time, in the order
of acceptance, by the same engine as ever; what is not decided yet is decided in passing, as later rows may rest on it.
So the verifier proves the promise that queues and workers change nothing, and finds any row that was altered.

Beside that it computes every digest and every hash of the chains once more, and compares them with the checkpoints. From
a checkpoint on, that can be done without starting over: ``verify_since_checkpoint`` decides nothing anew, and looks
instead whether each balance goes on where it was.

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

from core.ledger.rules import chain
from core.ledger.rules.engine import Book, decide, decide_group
from core.ledger.rules.model import (
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
from core.ledger.rules.routing import queue_of, route_of
from core.ledger.store import outcomes as outcome_store
from core.ledger.store.balances import BALANCE_PREFIX
from core.verification import checkpoint_store, checkpoints
from core.verification import store as audit_store
from core.verification.checkpoints import NOTHING, Checkpoint, Heads
from core.verification.store import HistoryRow, Logged, Recorded

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
    holds: int | None = None
    """None when it went on from a checkpoint: a hold is looked at as a whole, or not at all."""
    currencies: int = 0
    problems: list[Problem] = field(default_factory=list)
    """The first ones: of the log and its outcomes in seq order, then of what follows from them."""
    problem_count: int = 0
    from_sequence: int = 1
    to_sequence: int = 0
    complete: bool = True
    """Whether it came to the end of the log."""
    checkpoint: Checkpoint | None = None
    """The newest valid one before it began."""
    reached: Heads = NOTHING
    """Where the chains were when all was decided: for a checkpoint, if nothing is wrong."""

    @property
    def ok(self) -> bool:
        return self.problem_count == 0

    @property
    def summary(self) -> dict[str, Any]:
        """For programs."""
        checkpoint = self.checkpoint and {
            "id": self.checkpoint.id,
            "sequence": self.checkpoint.heads.sequence,
            "at": self.checkpoint.at,
        }
        counts = ("transactions", "undecided", "rejected", "balances", "holds", "currencies", "problem_count")
        return {
            "ok": self.ok,
            "from_sequence": self.from_sequence,
            "to_sequence": self.to_sequence,
            "complete": self.complete,
            **{name: getattr(self, name) for name in counts},
            "problems": [problem._asdict() for problem in self.problems],
            "checkpoint": checkpoint,
            "signed": self.checkpoint is not None and self.checkpoint.signed,
        }

    def add(self, table: str, key: object, what: str, expected: object, found: object) -> None:
        self.problem_count += 1
        if len(self.problems) < LISTED:
            self.problems.append(Problem(table, str(key), what, str(expected), str(found)))


def verify(engine: Engine, *, key: bytes | None = None, progress: Progress = lambda what, done, of: None) -> Report:
    """Read the whole ledger, in one snapshot, and say all that is wrong with it.

    ``key`` is what checkpoints are signed with; without it their signatures are not checked.

    Raises:
        TransientError: the database went away.
    """
    report = Report()
    with audit_store.snapshot(engine) as conn:
        walk = _Replay(conn, report, progress)
        walk.checkpoints = _valid_checkpoints(conn, report, key)
        walk.history()
        _check_balances(conn, report, walk.sums, progress)
        _check_holds(conn, report, walk.holds, progress)
        _check_refunds(conn, report, walk.refunds)
        _check_dates(conn, report)
        _check_funding(conn, report)
        _check_entries(conn, report, progress)
    return report


def verify_since_checkpoint(
    engine: Engine,
    *,
    key: bytes | None = None,
    limit: int | None = None,
    progress: Progress = lambda what, done, of: None,
) -> Report:
    """Go on from the newest valid checkpoint, and stop after ``limit`` rows of the log or a little later.

    Every digest and hash is computed anew, every outcome goes on where the one before it has left its balances, the
    balances that were touched are what their last outcomes have left, and all add up to zero. What was decided is not
    decided anew: that takes the whole log.

    Raises:
        TransientError: the database went away.
    """
    report = Report()
    with audit_store.snapshot(engine) as conn:
        found, wrong = checkpoints.newest(conn, key)
        for row, expected in wrong:
            report.add("checkpoints", f"id {row.id}", "signature", expected, row.signature)
        report.checkpoint = found
        walk = _Continuation(conn, report, progress, found.heads if found is not None else NOTHING, limit)
        walk.history()
        walk.check_touched()
        _check_totals(conn, report)
        _check_dates(conn, report)
    return report


def _valid_checkpoints(conn: Connection, report: Report, key: bytes | None) -> list[Checkpoint]:
    """All of them that are, by the place in the log that they vouch for. The others are reported."""
    valid, before = [], None
    for row in checkpoint_store.every(conn):
        found = checkpoints.read(row, before, key)
        before = row
        if isinstance(found, Checkpoint):
            valid.append(found)
            report.checkpoint = found
        else:
            report.add("checkpoints", f"id {row.id}", "signature", found, row.signature)
    return sorted(valid, key=lambda checkpoint: checkpoint.heads.sequence)


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


@dataclass(slots=True)
class _OpenSplit:
    """A split whose legs are being read."""

    logged: Logged
    atomic: bool
    legs: int = 0
    amount: int = 0
    left_open: bool = False
    """Whether a leg refunds all that is left, which only its outcome says."""

    @property
    def transaction_id(self) -> str:
        return f"txn_{self.logged.id}"


class _Walk:
    """One walk along the log, with its outcomes beside it: what each row is by itself, and the chains."""

    def __init__(
        self, conn: Connection, report: Report, progress: Progress, since: Heads = NOTHING, limit: int | None = None
    ) -> None:
        self.checkpoints: list[Checkpoint] = []
        """To compare the chains with, by their place in the log."""
        self._conn, self._report, self._progress, self._since = conn, report, progress, since
        self._last_seq = audit_store.last_seq(conn)
        self._stop_after = since.sequence + limit if limit is not None else None
        self._queues = audit_store.queues(conn)
        self._cursors = {number: queue.cursor for number, queue in self._queues.items()}
        self._chained_after = max((queue.chained_after for queue in self._queues.values()), default=0)
        self._currencies: dict[int, str] = {}
        self._next_seq = since.sequence + 1
        self._heads = dict(since.queues)
        self._digest = since.digest
        self._waiting = False
        self._split: _OpenSplit | None = None
        report.from_sequence, report.to_sequence, report.reached = self._next_seq, since.sequence, since

    def history(self) -> None:
        """Check every row of the log and every outcome."""
        numbers = list(self._cursors)
        if numbers != list(range(len(numbers))):
            self._report.add("queues", "all", "numbers", f"0 to {len(numbers) - 1}", numbers)
        for _, members in groupby(self._rows(), key=_group_of):
            group = list(members)
            if not self._is_leg(group[0]):
                self._pause_before(group[0].seq)
                if self._stop_after is not None and self._report.to_sequence >= self._stop_after:
                    self._report.complete = False
                    break
            for row in group:
                self._check_row(row)
            self._replay(group)
            for row in group:
                self._check_chain(row)
            self._report.to_sequence = group[-1].seq
        self._close_split()
        if self._report.complete:
            self._pause_before(max(self._next_seq, self._last_seq + 1))
            self._check_ends()
        self._check_cursors()

    def _rows(self) -> Iterator[HistoryRow]:
        """Every row. Seqs may have gaps if something is wrong, so a batch begins where there is something."""
        last = self._since.sequence or audit_store.BEFORE_ALL
        while (first := audit_store.next_seq(self._conn, last)) is not None:
            last = first + BATCH - 1
            rows = audit_store.history(self._conn, first, last)
            self._look_up(rows)
            self._check_routes(rows)
            yield from rows
            self._progress("transactions", min(last, self._last_seq), self._last_seq)

    def _look_up(self, rows: Sequence[HistoryRow]) -> None:
        """Read what a batch refers to."""
        keys = {key for row in rows if row.posting for key in (row.posting.source, row.posting.destination)}
        if unknown := keys - self._currencies.keys() - {None}:
            found = audit_store.currencies_of(self._conn, unknown)
            self._currencies |= {key: intern(currency) for key, currency in found.items()}

    def _pause_before(self, seq: int) -> None:
        """Between two rows that nothing binds together: note how far it is, and compare with the checkpoints there."""
        if not self._waiting:
            self._report.reached = Heads(self._report.to_sequence, self._digest, dict(self._heads))
        while self.checkpoints and self.checkpoints[0].heads.sequence < seq:
            self._check_checkpoint(self.checkpoints.pop(0))

    def _check_checkpoint(self, checkpoint: Checkpoint) -> None:
        where = f"at sequence {checkpoint.heads.sequence}"
        if checkpoint.heads.digest != self._digest:
            should, found = checkpoint.heads.digest.hex(), self._digest.hex()
            self._report.add("checkpoints", f"id {checkpoint.id}", f"{where}, of the log", should, found)
        then = checkpoint.heads.queues
        for number in sorted(then.keys() | self._heads.keys()):
            head, mine = then.get(number, _NO_HEAD), self._heads.get(number, _NO_HEAD)
            if head != mine:
                what = f"{where}, of queue {number}"
                self._report.add("checkpoints", f"id {checkpoint.id}", what, _head(head), _head(mine))

    def _check_ends(self) -> None:
        """The log reaches as far as the checkpoints say, and each chain ends where its queue says."""
        for checkpoint in self.checkpoints[-1:]:
            self._check_log_reaches(checkpoint.heads.sequence, f"checkpoint {checkpoint.id}")
        for number, queue in self._queues.items():
            _, hash = self._heads.get(number, _NO_HEAD)
            if queue.hash != hash:
                expected = f"{hash.hex()}, the hash of its last outcome"
                self._report.add("queues", f"number {number}", "hash", expected, queue.hash.hex())

    def _check_log_reaches(self, sequence: int, who: str) -> None:
        if self._last_seq < sequence:
            expected = f"a row, for {who} vouches for the log up to {sequence}"
            self._report.add("log", _seq(self._last_seq + 1), "row", expected, f"none after {self._last_seq}")

    def _replay(self, group: Sequence[HistoryRow]) -> None:
        """What else is to be said about rows that are decided together."""

    def _check_cursors(self) -> None:
        for number, cursor in self._cursors.items():
            if not 0 <= cursor <= self._last_seq:
                expected = f"at most {self._last_seq}, where the log ends"
                self._report.add("queues", f"number {number}", "cursor", expected, cursor)

    def _check_chain(self, row: HistoryRow) -> None:
        """The digest of a row of the log, and the hash of its outcome. After a wrong one it goes on with what is stored."""
        logged, recorded = row.logged, row.recorded
        # What is older than the chain has no digest.
        if logged is not None and (logged.digest is not None or self._digest != chain.START):
            digest = chain.digest(self._digest, logged[:-1])
            if logged.digest != digest:
                expected = f"{digest.hex()}, over the row and the digest before it"
                self._report.add("log", _place(logged), "digest", expected, _hex(logged.digest))
            self._digest = logged.digest or digest
        if logged is None or logged.queue is None or recorded is None:
            return
        _, before = self._heads.get(logged.queue, _NO_HEAD)
        if recorded.hash is None and before == chain.START and logged.seq <= self._chained_after:
            self._heads[logged.queue] = logged.seq, chain.START
            return
        link = chain.link(before, outcome_store.line_of_row(recorded[:-1]))
        if recorded.hash != link:
            expected = f"{link.hex()}, over the row and the hash before it in its queue"
            self._report.add("outcomes", _place(logged), "hash", expected, _hex(recorded.hash))
        self._heads[logged.queue] = logged.seq, recorded.hash or link

    # Splits

    def _is_leg(self, row: HistoryRow) -> bool:
        """Whether a row belongs to the split before it. Refunds of the split are splits themselves."""
        return (
            self._split is not None
            and row.logged is not None
            and row.logged.kind in (Kind.TRANSFER, Kind.HOLD, Kind.REFUND)
            and row.logged.parent == self._split.transaction_id
        )

    def _check_split(self, row: HistoryRow, logged: Logged) -> None:
        """Legs come right after their split, in order, add up to it, and are in its group."""
        if self._is_leg(row) and (split := self._split) is not None:
            self._check_leg(split, logged)
            return
        self._close_split()
        if logged.kind == Kind.SPLIT:
            terms = json.loads(logged.terms) if logged.terms is not None else {}
            self._split = _OpenSplit(logged, bool(terms.get("atomic")))
        elif logged.kind in (Kind.TRANSFER, Kind.HOLD) and (logged.parent or "").startswith("txn_"):
            self._report.add("log", _seq(logged.seq), "parent", "the split right before it", logged.parent)

    def _check_leg(self, split: _OpenSplit, leg: Logged) -> None:
        split.legs += 1
        split.amount += leg.amount
        refund = leg.kind == Kind.REFUND
        split.left_open |= refund and leg.amount == 0
        expected = f"{split.logged.reference}_{split.legs}"
        if leg.reference not in (expected, f"txn_{leg.id}"):
            whose = f"{expected}, as leg {split.legs} of seq {split.logged.seq}"
            self._report.add("log", _seq(leg.seq), "reference", whose, leg.reference)
        group, found = (split.logged.group_first, split.logged.group_last), (leg.group_first, leg.group_last)
        if found != group or (found == (None, None) and (split.atomic or refund)):
            of = (
                f"that of its split, {group[0]} to {group[1]}"
                if group != (None, None)
                else "one, as its split is atomic"
            )
            self._report.add("log", _seq(leg.seq), "group", of, f"{found[0]} to {found[1]}")

    def _close_split(self) -> None:
        split, self._split = self._split, None
        if split is None:
            return
        if split.legs == 0:
            self._report.add("log", _seq(split.logged.seq), "legs", "legs right after it", "none")
        elif split.amount != split.logged.amount and not split.left_open:
            expected = f"{split.amount}, which its {split.legs} legs add up to"
            self._report.add("log", _seq(split.logged.seq), "amount", expected, split.logged.amount)

    def _check_routes(self, rows: Sequence[HistoryRow]) -> None:
        """What waits is in the queue of its source. What is decided may be from before a resize."""
        unrecorded = (row.posting for row in rows if row.posting is not None and row.recorded is None)
        waiting = [posting for posting in unrecorded if posting.kind != Kind.SPLIT]
        if not waiting or not self._cursors:
            return
        ids = audit_store.balance_ids(self._conn, {posting.source for posting in waiting})
        for posting in waiting:
            if (key := ids.get(posting.source)) is None:
                continue
            queue = queue_of(route_of(f"{BALANCE_PREFIX}{key}"), len(self._cursors))
            if posting.queue != queue:
                self._report.add("log", _seq(posting.seq), "queue", queue, posting.queue)

    def _check_row(self, row: HistoryRow) -> None:
        seq, logged, posting, recorded = row
        if seq > self._next_seq:
            expected = "a row, for the log has no gaps"
            self._report.add("log", _seq(self._next_seq), "row", expected, f"none before {seq}")
        self._next_seq = seq + 1
        if posting is None or logged is None:
            self._close_split()
            self._report.add("log", _seq(seq), "row", "the row that its outcome is of", "none")
            return
        currency = logged.currency
        self._check_split(row, logged)
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
            self._waiting = True
            self._report.undecided += 1
            if cursor is None or seq <= cursor:
                why = "no longer exists" if cursor is None else f"is decided up to {cursor}"
                self._report.add("outcomes", _seq(seq), "row", f"an outcome, as queue {posting.queue} {why}", "none")
        elif cursor is not None and seq > cursor:
            expected = f"none yet, as queue {posting.queue} is decided up to {cursor}"
            self._report.add("outcomes", _seq(seq), "row", expected, _status_text(recorded.status))


class _Replay(_Walk):
    """Decides everything anew along the way."""

    def __init__(self, conn: Connection, report: Report, progress: Progress) -> None:
        super().__init__(conn, report, progress)
        self.sums: dict[int, _Sums] = {}
        self.holds: dict[int, _Settled] = {}
        self.refunds: dict[int, Refunded] = {}
        """How far each thing has been given back, by the outcomes."""
        self._book = Book(_FromNothing(), {})
        self._refunded = audit_store.refunded_seqs(conn)
        self._moved: dict[int, tuple[int, int, int]] = {}
        """Of what refunds give back: source, destination and amount."""

    def _replay(self, group: Sequence[HistoryRow]) -> None:
        """Decide the postings over the book, and compare with what is recorded."""
        rows = [row for row in group if row.posting is not None and row.posting.kind != Kind.SPLIT]
        postings = [row.posting for row in rows if row.posting is not None]
        if not postings:
            return
        try:
            outcomes = self._decide(postings, [row.posting for row in group if row.posting is not None])
        except (AssertionError, KeyError) as error:
            self._report.add("log", _seq(postings[0].seq), "row", "a posting that can be decided", repr(error))
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

    def _check_refunded_parties(self, posting: Posting) -> None:
        moved = self._moved.get(posting.refund_of or 0)
        if moved is not None and (posting.destination, posting.source) != moved[:2]:
            expected = f"the balances of what it gives back the other way round, keys {moved[1]} and {moved[0]}"
            found = f"{posting.source} and {posting.destination}"
            self._report.add("log", _seq(posting.seq), "source and destination", expected, found)

    def _compare(self, outcome: Outcome, posting: Posting, recorded: Recorded) -> None:
        rejection = outcome.rejection
        expected_sum = _sum_of(outcome)
        found_sum = json.loads(recorded.rejection_json) if recorded.rejection_json is not None else None
        reason = int(rejection.reason) if rejection is not None else None
        for what, should, found in (
            ("status", _status_text(STATUS_NUMBERS[outcome.status]), _status_text(recorded.status)),
            ("amount", outcome.amount, recorded.amount),
            ("reason", _reason_text(reason), _reason_text(recorded.reason)),
            ("rejection", expected_sum, found_sum),
            ("source", posting.source if rejection is None else None, recorded.source),
            ("destination", posting.destination if rejection is None else None, recorded.destination),
        ):
            if should != found:
                self._report.add("outcomes", _seq(outcome.seq), what, f"{should}, by the log up to here", found)

    def _add(self, posting: Posting, recorded: Recorded) -> None:
        """Add the outcome, as it is recorded, to the sums of its balances and its hold."""
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
            self.holds[posting.seq] = _Settled(posting.source, posting.destination, amount)
        elif (hold := self.holds.get(posting.hold_seq or 0)) is not None:
            if status is Status.APPLIED:
                hold.committed += amount
            else:
                hold.voided += amount
            if hold.committed + hold.voided == hold.amount:
                hold.settled_at = recorded.decided_at


class _Continuation(_Walk):
    """Goes on from a checkpoint, and follows each balance instead of deciding anew."""

    def __init__(self, conn: Connection, report: Report, progress: Progress, since: Heads, limit: int | None) -> None:
        super().__init__(conn, report, progress, since, limit)
        self._touched: set[int] = set()

    def history(self) -> None:
        """Check what the checkpoint says of what is there now, and every row after it."""
        self._check_log_reaches(self._since.sequence, "the checkpoint")
        if self._since.digest != chain.START:
            found = audit_store.digest_at(self._conn, self._since.sequence)
            if found != self._since.digest:
                expected = f"{self._since.digest.hex()}, as the checkpoint says"
                self._report.add("log", _seq(self._since.sequence), "digest", expected, _hex(found))
        hashes = audit_store.hashes(self._conn, [seq for seq, _ in self._since.queues.values()])
        for number, (seq, hash) in self._since.queues.items():
            if hashes.get(seq) != hash and (hash != chain.START or seq not in hashes):
                expected = f"{hash.hex()}, as the checkpoint says"
                self._report.add("outcomes", f"{_seq(seq)}, queue {number}", "hash", expected, _hex(hashes.get(seq)))
            if (cursor := self._cursors.get(number, seq)) < seq:
                self._report.add(
                    "queues", f"number {number}", "cursor", f"at least {seq}, as the checkpoint says", cursor
                )
        super().history()

    def _look_up(self, rows: Sequence[HistoryRow]) -> None:
        """Each outcome of a batch makes the next version of its balances, and leaves them what they were and its amount."""
        super()._look_up(rows)
        entries = [entry for row in rows if row.recorded is not None for entry in _entries_of(row.recorded)]
        known = {(entry.balance, entry.version): entry.after for entry in entries}
        before = {(entry.balance, entry.version - 1) for entry in entries if entry.version > FIRST_VERSION + 1}
        known |= audit_store.entries_at(self._conn, before - known.keys())
        for entry in entries:
            self._touched.add(entry.balance)
            at = known.get((entry.balance, entry.version - 1))
            if entry.version == FIRST_VERSION + 1:
                at = 0
            if at is None:
                expected = f"one more than that of an outcome of balance key {entry.balance}"
                self._report.add("outcomes", _seq(entry.seq), f"{entry.side}_version", expected, entry.version)
            elif at + entry.change != entry.after:
                expected = f"{at + entry.change}, after version {entry.version - 1} of balance key {entry.balance}"
                self._report.add("outcomes", _seq(entry.seq), f"{entry.side}_balance", expected, entry.after)

    def _replay(self, group: Sequence[HistoryRow]) -> None:
        """Outcomes are of the balances and the amount that the log says. Only deciding anew tells more."""
        for _, _, posting, recorded in group:
            if posting is None or recorded is None:
                continue
            if recorded.source is None:
                self._report.rejected += 1
                continue
            for what, should, found in (
                ("source", posting.source, recorded.source),
                ("destination", posting.destination, recorded.destination),
                ("amount", posting.amount or recorded.amount, recorded.amount),
            ):
                if should != found:
                    self._report.add("outcomes", _seq(recorded.seq), what, f"{should}, by its row of the log", found)

    def check_touched(self) -> None:
        """The balances that were touched are what the outcomes with their versions have left, and those are the last."""
        rows = audit_store.current(self._conn, self._touched)
        at = {(key, version) for key, _, version, _ in rows}
        left = audit_store.entries_at(self._conn, at | {(key, version + 1) for key, version in at})
        for key, name, version, balance in rows:
            self._report.balances += 1
            if (key, version) not in left or (key, version + 1) in left:
                self._report.add("balances", name, "version", "that of its last outcome", version)
            elif left[key, version] != balance:
                self._report.add("balances", name, "balance", f"{left[key, version]}, by its last outcome", balance)
        for key in sorted(self._touched - {key for key, *_ in rows}):
            self._report.add("balances", f"key {key}", "row", "a balance, for there are outcomes that touch it", "none")


FIRST_VERSION = 1
"""Of a balance that nothing has touched."""


class _Entry(NamedTuple):
    """One side of an outcome."""

    seq: int
    side: str
    balance: int
    version: int
    after: int
    change: int


def _entries_of(recorded: Recorded) -> Iterator[_Entry]:
    """Both sides of an outcome that has them. What is missing shows in the chain."""
    seq, status, amount, source, source_version, source_balance, destination, version, balance, *_ = recorded
    moved = amount if STATUS_OF_NUMBER.get(status) is Status.APPLIED else 0
    if source is not None and source_version is not None and source_balance is not None:
        yield _Entry(seq, "source", source, source_version, source_balance, -moved)
    if destination is not None and version is not None and balance is not None:
        yield _Entry(seq, "destination", destination, version, balance, moved)


def _check_totals(conn: Connection, report: Report) -> None:
    """All balances of a currency add up to zero."""
    for currency, balance, inflight in audit_store.totals(conn):
        report.currencies += 1
        for what, total in (("balance", balance), ("inflight", inflight)):
            if total:
                report.add("balances", f"all in {currency}", what, "0, for debits equal credits", total)


def _check_dates(conn: Connection, report: Report) -> None:
    """What waits for a date is not in the log, and what has one to be settled at is."""
    for id, seq in audit_store.scheduled_and_accepted(conn, LISTED):
        report.add("scheduled", id, "row", f"none, for it is in the log at {_seq(seq)}", "one")
    for id in audit_store.due_without_transaction(conn, LISTED):
        report.add("due", id, "transaction", "a hold, or a split of holds, in the log", "none")


def _check_funding(conn: Connection, report: Report) -> None:
    """Each row of a funding run is one transaction, which is what the row says, and each of those is one row."""
    for run, row, seq in audit_store.misposted(conn, LISTED):
        key = f"{run}, row {row}" if row is not None else run
        if row is None:
            report.add("funding_postings", key, "row", f"one, for {_seq(seq or 0)} belongs to the run", "none")
        else:
            found = "none" if seq is None else f"another at {_seq(seq)}"
            report.add("funding_postings", key, "transaction", "the one that the row of its list describes", found)
    for run, says, posted in audit_store.miscounted_runs(conn, LISTED):
        report.add("funding_runs", run, "posted", posted, says)


def _check_refunds(conn: Connection, report: Report, refunds: dict[int, Refunded]) -> None:
    """Each thing has been given back as far as its refunds say, and not further than it moved."""
    for stored in audit_store.refunds(conn):
        expected = refunds.pop(stored.seq, None)
        if expected is None:
            report.add("refunds", _seq(stored.seq), "row", "none, for no outcome made it", _refund_text(stored))
            continue
        for what, should, found in (
            ("amount", expected.amount, stored.amount),
            ("refunded", expected.refunded, stored.refunded),
        ):
            if should != found:
                report.add("refunds", _seq(stored.seq), what, f"{should}, by its refunds", found)
    for seq, expected in refunds.items():
        report.add("refunds", _seq(seq), "row", _refund_text(expected), "none")


def _check_balances(conn: Connection, report: Report, sums: dict[int, _Sums], progress: Progress) -> None:
    """Each balance is the sum of its outcomes, and all of a currency add up to zero."""
    totals: dict[str, list[int]] = {}
    for name, currency, balance, stored in audit_store.balances(conn):
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
    report.holds = 0
    for hold, settled_at in audit_store.holds(conn):
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
    broken = audit_store.broken_entries(conn, LISTED)
    ids = audit_store.balance_ids(conn, {entry.balance for entry in broken})
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


def _place(logged: Logged) -> str:
    return f"seq {logged.seq}" if logged.queue is None else f"seq {logged.seq}, queue {logged.queue}"


_NO_HEAD = (0, chain.START)
"""Of a queue that has decided nothing yet."""


def _head(head: tuple[int, bytes]) -> str:
    seq, hash = head
    return "no outcome" if head == _NO_HEAD else f"{hash.hex()} of seq {seq}"


def _hex(hash: bytes | None) -> str:
    return "none" if hash is None else hash.hex()


def _refund_text(refund: Refunded) -> str:
    return f"{refund.refunded} of {refund.amount}"


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
