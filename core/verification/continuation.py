"""Verify from a checkpoint: follow each balance from outcome to outcome, without deciding the log again."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from core.ledger.rules import chain
from core.ledger.rules.model import STATUS_OF_NUMBER, Status
from core.verification import history_store, state_store
from core.verification.checkpoints import Heads
from core.verification.history_store import HistoryRow, Queue, Recorded
from core.verification.report import Report, hash_text, seq_key
from core.verification.walk import check_log_reaches

FIRST_VERSION = 1
"""The version of a balance that no outcome has touched."""


class Continuation:
    """A judge that checks whether each outcome goes on from the balances that the outcome before it left."""

    def __init__(self, conn: Connection, report: Report, since: Heads) -> None:
        self._conn, self._report, self._since = conn, report, since
        self._touched: set[int] = set()

    def begin(self, queues: dict[int, Queue]) -> None:
        """Check that the log, the outcomes and the queues still agree with the checkpoint."""
        since, said = self._since, "as the checkpoint says"
        check_log_reaches(self._report, history_store.last_seq(self._conn), since.sequence, "the checkpoint")
        if since.digest != chain.START:
            found = history_store.digest_at(self._conn, since.sequence)
            if found != since.digest:
                expected = f"{since.digest.hex()}, {said}"
                self._report.add("log", seq_key(since.sequence), "digest", expected=expected, found=hash_text(found))
        hashes = history_store.hashes(self._conn, [seq for seq, _ in since.queues.values()])
        for number, (seq, hash) in since.queues.items():
            if hashes.get(seq) != hash and (hash != chain.START or seq not in hashes):
                key, expected = seq_key(seq, number), f"{hash.hex()}, {said}"
                self._report.add("outcomes", key, "hash", expected=expected, found=hash_text(hashes.get(seq)))
            if number in queues and (cursor := queues[number].cursor) < seq:
                expected = f"at least {seq}, {said}"
                self._report.add("queues", f"number {number}", "cursor", expected=expected, found=cursor)

    def prepare(self, rows: Sequence[HistoryRow]) -> None:
        """Check that each outcome makes the next version of its balances, and changes them by its amount."""
        entries = [entry for row in rows if row.recorded is not None for entry in _entries_of(row.recorded)]
        known = {(entry.balance, entry.version): entry.after for entry in entries}
        before = {(entry.balance, entry.version - 1) for entry in entries if entry.version > FIRST_VERSION + 1}
        known |= state_store.entries_at(self._conn, before - known.keys())
        for entry in entries:
            self._touched.add(entry.balance)
            at = known.get((entry.balance, entry.version - 1))
            if entry.version == FIRST_VERSION + 1:
                at = 0
            key = seq_key(entry.seq)
            if at is None:
                expected = f"one more than that of an outcome of balance key {entry.balance}"
                self._report.add("outcomes", key, f"{entry.side}_version", expected=expected, found=entry.version)
            elif at + entry.change != entry.after:
                expected = f"{at + entry.change}, after version {entry.version - 1} of balance key {entry.balance}"
                self._report.add("outcomes", key, f"{entry.side}_balance", expected=expected, found=entry.after)

    def judge(self, group: Sequence[HistoryRow]) -> None:
        """Check that each outcome has the balances and the amount of its row of the log."""
        for _, _, posting, recorded in group:
            if posting is None or recorded is None:
                continue
            if recorded.source is None:
                self._report.rejected += 1
                continue
            self._report.compare(
                "outcomes",
                seq_key(recorded.seq),
                "by its row of the log",
                (
                    ("source", posting.source, recorded.source),
                    ("destination", posting.destination, recorded.destination),
                    ("amount", posting.amount or recorded.amount, recorded.amount),
                ),
            )

    def check_touched(self) -> None:
        """Check that each touched balance has the version and the amount that its last outcome left."""
        rows = state_store.current(self._conn, self._touched)
        at = {(key, version) for key, _, version, _ in rows}
        left = state_store.entries_at(self._conn, at | {(key, version + 1) for key, version in at})
        for key, name, version, balance in rows:
            self._report.balances += 1
            if (key, version) not in left or (key, version + 1) in left:
                expected = "that of its last outcome"
                self._report.add("balances", name, "version", expected=expected, found=version)
            elif left[key, version] != balance:
                expected = f"{left[key, version]}, by its last outcome"
                self._report.add("balances", name, "balance", expected=expected, found=balance)
        for key in sorted(self._touched - {key for key, *_ in rows}):
            expected = "a balance, for there are outcomes that touch it"
            self._report.add("balances", f"key {key}", "row", expected=expected, found="none")


class _Entry(NamedTuple):
    """One side of an outcome."""

    seq: int
    side: str
    balance: int
    version: int
    after: int
    change: int


def _entries_of(recorded: Recorded) -> Iterator[_Entry]:
    """Yield the sides of an outcome that are complete. A missing value breaks the hash, so ``chains.py`` reports it."""
    seq, status, amount, source, source_version, source_balance, destination, version, balance, *_ = recorded
    moved = amount if STATUS_OF_NUMBER.get(status) is Status.APPLIED else 0
    if source is not None and source_version is not None and source_balance is not None:
        yield _Entry(seq, "source", source, source_version, source_balance, -moved)
    if destination is not None and version is not None and balance is not None:
        yield _Entry(seq, "destination", destination, version, balance, moved)
