"""Follows the chains of the log and of its outcomes from one seal to the next, and gathers the leaves of the next seal.

Every leaf, digest and hash is computed again from the columns, many rows at a time. Where a row is not as the newest release
writes it, its piece is followed row by row, which also finds what is wrong.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection

from core.base.errors import InvariantBroken
from core.ledger.rules import chain
from core.ledger.rules.log_row import COLUMNS, DIGEST_VERSION, LogRow, digest_of, leaf_of
from core.ledger.store.outcomes import Recorded
from core.notary import proof_store, seal_store
from core.notary.leaves import NO_PARTY, Sides, outcome_leaves, party_leaf, sealed_leaves
from core.notary.seals import Statement

ROWS = 10_000
"""One seal covers at most so many rows of the log, and so many outcomes of each queue that were decided late."""

_PIECE = 500
"""So many rows are read at once. Their values are still in the processor's cache when they are hashed."""

_QUEUE = list(COLUMNS).index("queue")
_sides_of = itemgetter(*map(list(COLUMNS).index, ("source", "destination")))

Parties = dict[int | None, bytes]
"""The hashes of balances by their keys. None is for the side that a split does not have."""


class Altered(InvariantBroken):
    """The database does not follow from the last seal. The message says where."""


@dataclass(slots=True)
class _Queue:
    """The chain of the outcomes of a queue, as far as it was followed."""

    cursor: int
    """Its outcomes are followed up to here."""
    seq: int
    hash: bytes
    leaves: list[bytes] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)
    """The seqs of the outcomes whose leaves there are."""


class Following:
    """The chains up to some row of the log, from where the last seal left them."""

    def __init__(self, conn: Connection, parties: Parties, last: Statement | None) -> None:
        """``parties`` has the balances that are known, and learns the others."""
        self._conn, self._parties = conn, parties
        self._heads = dict(last.queues) if last is not None else {}
        self.digest = bytes.fromhex(last.digest) if last is not None else chain.START
        self.versions = dict(last.versions) if last is not None else {}
        """The last row of each version of the digest."""
        self.leaves: list[bytes] = []
        """The sealed leaves of the rows."""
        self._queues: dict[int | None, _Queue] = {}

    def follow(self, first: int, last: int) -> None:
        """Follow the log from one row to another, both included, and the outcomes of all rows up to there.

        Raises:
            Altered: something does not follow from the last seal.
        """
        self._follow_late(first - 1)
        pieces = [range(start, min(start + _PIECE, last + 1)) for start in range(first, last + 1, _PIECE)]
        with seal_store.pieces(self._conn, pieces) as found:
            for seqs, (rows, outcomes) in zip(pieces, found, strict=True):
                self._follow_rows(seqs, rows)
                self._follow_outcomes(seqs.start, [row[_QUEUE] for row in rows], outcomes)

    @property
    def queues(self) -> dict[int, tuple[int, str]]:
        """Seq and hash of the last outcome of each queue."""
        moved = {number: each for number, each in self._queues.items() if number is not None and each.leaves}
        return self._heads | {number: (each.seq, each.hash.hex()) for number, each in moved.items()}

    @property
    def outcomes(self) -> list[bytes]:
        """The leaves of the outcomes, by queue and then by seq."""
        return [leaf for each in self._queues.values() for leaf in each.leaves]

    @property
    def places(self) -> list[tuple[int, int]]:
        """Queue and seq of each outcome, as ``outcomes`` has them."""
        queues = ((number, each) for number, each in self._queues.items() if number is not None)
        return [(number, seq) for number, each in queues for seq in each.seqs]

    def _follow_late(self, sealed: int) -> None:
        """Follow the outcomes of rows that an earlier seal covers."""
        for number, cursor in seal_store.cursors(self._conn).items():
            seq, hash = self._heads.get(number, (0, chain.START.hex()))
            queue = self._queues[number] = _Queue(cursor, seq, bytes.fromhex(hash))
            if seq < (last := min(cursor, sealed)):
                late = seal_store.decided(self._conn, number, after=seq, last=last, limit=ROWS)
                _link(number, queue, late)
                if len(late) == ROWS:
                    queue.cursor = queue.seq  # The rest is for the next seal.

    def _follow_rows(self, seqs: range, rows: Sequence[Sequence[Any]]) -> None:
        """Follow some rows of the log."""
        leaves = chain.leaves_of(DIGEST_VERSION, [row[:-2] for row in rows])
        digests = chain.digests_of(self.digest, leaves)
        if (
            digests == [row[-2] for row in rows]
            and {row[-1] for row in rows} == {DIGEST_VERSION}
            and [row[0] for row in rows] == list(seqs)
        ):
            self._seal(leaves, list(map(_sides_of, rows)))
            self.digest, self.versions[DIGEST_VERSION] = digests[-1], seqs[-1]
        else:
            self._follow_each(seqs)

    def _follow_each(self, seqs: range) -> None:
        """Follow rows one by one. Some are of older versions, have very large amounts, or are wrong."""
        found = proof_store.rows(self._conn, seqs)
        rows = [found[seq] for seq in seqs if seq in found]
        leaves = []
        for seq, row in zip(seqs, rows, strict=False):
            leaves.append(leaf_of(row) if row.digest_version in chain.LEAVES else b"")
            self.digest = _digest_of(row, seq, self.digest, leaves[-1])
            self.versions[row.digest_version] = seq
        if len(rows) != len(seqs):
            raise Altered(f"the log has no row {seqs.start + len(rows)}")
        self._seal(leaves, [(row.source, row.destination) for row in rows])

    def _seal(self, leaves: Sequence[bytes], sides: Sequence[Sides]) -> None:
        """Add the sealed leaves of rows."""
        try:
            self.leaves += sealed_leaves(leaves, sides, self._parties)
        except KeyError:
            self.leaves += sealed_leaves(leaves, sides, self._look_up({key for each in sides for key in each}))

    def _look_up(self, keys: set[int | None]) -> Parties:
        """Learn the hashes of balances, and return them. A balance that is missing stands there for this time only."""
        parties = self._parties
        unknown = {key for key in keys - parties.keys() if key is not None}
        for key, party in seal_store.parties(self._conn, unknown).items():
            parties[key] = party_leaf(party)
        missing = dict.fromkeys(keys - parties.keys(), NO_PARTY)
        return parties | missing if missing else parties

    def _follow_outcomes(self, first: int, numbers: Sequence[int | None], outcomes: Iterable[Recorded]) -> None:
        """Follow the outcomes of rows of the log, from the seq ``first`` on, which are in the queues with these numbers."""
        of_queues: dict[Any, list[Recorded]] = {number: [] for number in self._queues}
        of_queues |= {number: [] for number in set(numbers)}
        for outcome in outcomes:
            of_queues[numbers[outcome[0] - first]].append(outcome)
        for number, queue in self._queues.items():
            if found := of_queues[number]:
                _link(number, queue, found if found[-1][0] <= queue.cursor else _up_to(queue.cursor, found))


def _up_to(cursor: int, outcomes: Iterable[Recorded]) -> list[Recorded]:
    return [each for each in outcomes if each.seq <= cursor]


def _link(number: int | None, queue: _Queue, outcomes: Sequence[Recorded]) -> None:
    """Follow the chain of a queue over its next outcomes."""
    if not outcomes:
        return
    lines = [line.encode() for _, line, _ in outcomes]
    hashes = chain.links_of(queue.hash, lines)
    if hashes == [stored for _, _, stored in outcomes]:
        queue.hash = hashes[-1]
    else:
        _link_each(number, queue, outcomes)
    queue.seq = outcomes[-1].seq
    queue.seqs += [outcome[0] for outcome in outcomes]
    queue.leaves += outcome_leaves(lines)


def _link_each(number: int | None, queue: _Queue, outcomes: Sequence[Recorded]) -> None:
    """Follow outcomes one by one. One from before the chain has no hash."""
    for seq, line, stored in outcomes:
        if stored is None and queue.hash == chain.START:
            continue
        queue.hash = chain.link(queue.hash, line)
        if stored != queue.hash:
            raise Altered(f"the outcome of seq {seq} in queue {number} does not have the hash of its row")


def _digest_of(row: LogRow, seq: int, before: bytes, leaf: bytes) -> bytes:
    """Compute the digest of a row, and compare it with the stored one. Rows from before the chain have none."""
    if row.seq != seq:
        raise Altered(f"the log has no row {seq}")
    if row.digest is None and before == chain.START:
        return before
    if row.digest_version not in chain.LEAVES:
        raise Altered(f"row {seq} has a version of the digest that there is not")
    digest = digest_of(row, before) if row.digest_version == 1 else chain.digest(before, leaf)
    if digest != row.digest:
        raise Altered(f"row {seq} of the log does not have the digest of its columns and the row before it")
    return digest
