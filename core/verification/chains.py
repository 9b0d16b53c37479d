"""Check the hash chains: compute the digest of the log and the hash of each queue's outcomes again, row by row."""

from collections.abc import Mapping

from core.ledger.rules import chain
from core.ledger.rules.log_row import LogRow, digest_of
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


class Chains:
    """The hash chains up to one row of the log.

    After a wrong hash the chains go on with the stored one, so one fault is one problem.
    """

    def __init__(self, report: Report, since: Heads, queues: Mapping[int, Queue]) -> None:
        self._report, self._queues = report, queues
        self._digest, self._heads = since.digest, dict(since.queues)
        self._older_after_newer: list[int] = []
        self._is_newer = False
        self._chained_after = max((queue.chained_after for queue in queues.values()), default=0)

    def follow(self, row: HistoryRow) -> None:
        """Check the digest of a row of the log, and the hash of its outcome."""
        logged = row.logged
        # A row that is older than the chain has no digest.
        if logged is not None and (logged.digest is not None or self._digest != chain.START):
            key = seq_key(logged.seq, logged.queue)
            digest = self._digest_of(logged, key)
            if digest is not None and logged.digest != digest:
                expected = f"{digest.hex()}, over the row and the digest before it"
                self._report.add("log", key, "digest", expected=expected, found=hash_text(logged.digest))
            self._digest = logged.digest or digest or chain.START
        self.follow_outcome(row)

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

    def _digest_of(self, logged: LogRow, key: str) -> bytes | None:
        """Compute the digest of a row by its version. Report a version that there is not, and what the version leaves out."""
        if logged.digest_version not in VERSIONS:
            expected = f"one of {', '.join(map(str, VERSIONS))}"
            self._report.add("log", key, "digest_version", expected=expected, found=logged.digest_version)
            return None
        if logged.digest_version == VERSIONS[-1]:
            self._is_newer = True
        elif self._is_newer:
            self._older_after_newer.append(logged.seq)
        if logged.digest_version == 1:
            for name in NEWER:
                if (found := getattr(logged, name)) is not None:
                    expected = "none, for version 1 of the digest does not cover it"
                    self._report.add("log", key, name, expected=expected, found=found)
        return digest_of(logged, self._digest)

    def heads(self, sequence: int) -> Heads:
        """Return the heads of the chains. ``sequence`` is the seq of the last row that they followed."""
        return Heads(sequence, self._digest, dict(self._heads))

    def warn_of_older(self) -> None:
        """Warn of rows that an older release wrote beside a newer one. Their digests do not cover every column."""
        if rows := self._older_after_newer:
            text = f"an older release wrote {len(rows)} rows up to seq {rows[-1]}, and their digests do not cover who did it"
            self._report.warn("log", seq_key(rows[0]), "digest_version", text)

    def check_ends(self) -> None:
        """Check that the stored hash of each queue is the hash of its last outcome."""
        for number, queue in self._queues.items():
            _, hash = self._heads.get(number, _NO_HEAD)
            if queue.hash != hash:
                expected = f"{hash.hex()}, the hash of its last outcome"
                self._report.add("queues", f"number {number}", "hash", expected=expected, found=queue.hash.hex())
