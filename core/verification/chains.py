"""Check the hash chains: compute the digest of the log and the hash of each queue's outcomes again, row by row."""

from collections.abc import Mapping

from msgspec import Struct, field

from core.ledger.rules import chain
from core.ledger.rules.log_row import LogRow, digest_of, leaf_of
from core.ledger.store import outcomes as outcome_store
from core.verification.checkpoints import Heads
from core.verification.history_store import HistoryRow, Queue
from core.verification.report import Report, hash_text, seq_key

VERSIONS = tuple(chain.LEAVES)
"""The versions of the digest."""

NEWER = ("actor", "part")
"""The columns that the writers of version 1 did not know."""

_NO_HEAD = (0, chain.START)
"""The head of a queue that has decided nothing yet."""


class Range(Struct):
    """Rows of the log: how many, the first and the last."""

    count: int = 0
    first: int = 0
    last: int = 0

    def add(self, more: "Range") -> None:
        if more.count:
            self.first = self.first if self.count else more.first
            self.count, self.last = self.count + more.count, more.last


class Versions(Struct):
    """The rows of older versions of the digest, among those of the newest."""

    is_newer: bool = False
    """Whether there was a row of the newest version."""
    before: Range = field(default_factory=Range)
    """Older ones before the first row of the newest version."""
    after: Range = field(default_factory=Range)

    def add(self, seq: int) -> None:
        """Add a row of an older version."""
        (self.after if self.is_newer else self.before).add(Range(1, seq, seq))

    def go_on(self, next: "Versions") -> None:
        """Add the rows of the next piece of the log."""
        (self.after if self.is_newer else self.before).add(next.before)
        self.after.add(next.after)
        self.is_newer = self.is_newer or next.is_newer

    def warn(self, report: Report) -> None:
        """Warn of rows that an older release wrote beside a newer one. Their digests do not cover every column."""
        if (rows := self.after).count:
            text = f"an older release wrote {rows.count} rows up to seq {rows.last}, and their digests do not cover who did it"
            report.warn("log", seq_key(rows.first), "digest_version", text)


class Chains:
    """The hash chains up to one row of the log.

    After a wrong hash the chains go on with the stored one, so one fault is one problem.
    """

    def __init__(self, report: Report, since: Heads, queues: Mapping[int, Queue]) -> None:
        self._report, self._queues = report, queues
        self._digest, self._heads = since.digest, dict(since.queues)
        self.versions = Versions()
        self._leaf: bytes | None = None
        self._chained_after = max((queue.chained_after for queue in queues.values()), default=0)

    def follow(self, row: HistoryRow) -> bytes | None:
        """Check the digest of a row of the log, and the hash of its outcome. Return the leaf of the row if it was computed."""
        logged, self._leaf = row.logged, None
        # A row that is older than the chain has no digest.
        if logged is not None and (logged.digest is not None or self._digest != chain.START):
            digest = self._digest_of(logged)
            if digest is not None and logged.digest != digest:
                key = seq_key(logged.seq, logged.queue)
                expected = f"{digest.hex()}, over the row and the digest before it"
                self._report.add("log", key, "digest", expected=expected, found=hash_text(logged.digest))
            self._digest = logged.digest or digest or chain.START
        self.follow_outcome(row)
        return self._leaf

    def follow_outcome(self, row: HistoryRow) -> None:
        """Check the hash of the outcome of a row. The outcomes of a queue come in seq order."""
        logged, recorded = row.logged, row.recorded
        if logged is None or logged.queue is None or recorded is None:
            return
        _, before = self._heads.get(logged.queue, _NO_HEAD)
        if recorded.hash is None and before == chain.START and logged.seq <= self._chained_after:
            self._heads[logged.queue] = logged.seq, chain.START
            return
        link = chain.link(before, outcome_store.line_of_row(recorded[:-1]))
        if recorded.hash != link:
            expected = f"{link.hex()}, over the row and the hash before it in its queue"
            key = seq_key(logged.seq, logged.queue)
            self._report.add("outcomes", key, "hash", expected=expected, found=hash_text(recorded.hash))
        self._heads[logged.queue] = logged.seq, recorded.hash or link

    def _digest_of(self, logged: LogRow) -> bytes | None:
        """Compute the digest of a row by its version. Report a version that there is not, and what the version leaves out."""
        if logged.digest_version == VERSIONS[-1]:
            self.versions.is_newer = True
            self._leaf = leaf_of(logged)
            return chain.digest(self._digest, self._leaf)
        key = seq_key(logged.seq, logged.queue)
        if logged.digest_version not in VERSIONS:
            expected = f"one of {', '.join(map(str, VERSIONS))}"
            self._report.add("log", key, "digest_version", expected=expected, found=logged.digest_version)
            return None
        self.versions.add(logged.seq)
        if logged.digest_version == 1:
            for name in NEWER:
                if (found := getattr(logged, name)) is not None:
                    expected = "none, for version 1 of the digest does not cover it"
                    self._report.add("log", key, name, expected=expected, found=found)
        return digest_of(logged, self._digest)

    def heads(self, sequence: int) -> Heads:
        """Return the heads of the chains. ``sequence`` is the seq of the last row that they followed."""
        return Heads(sequence, self._digest, dict(self._heads))

    def check_ends(self) -> None:
        """Check that the stored hash of each queue is the hash of its last outcome."""
        for number, queue in self._queues.items():
            _, hash = self._heads.get(number, _NO_HEAD)
            if queue.hash != hash:
                expected = f"{hash.hex()}, the hash of its last outcome"
                self._report.add("queues", f"number {number}", "hash", expected=expected, found=queue.hash.hex())
