"""Verify pieces of the log, each by itself, and put the results together in their order.

A piece is read and tallied first, which needs nothing from before it but stored hashes. Then it is decided from the standing
that the tallies of the pieces before it make. So pieces are read and decided side by side, and only tallies are added up in
turn. A boundary never cuts a split or an atomic group.
"""

from typing import NamedTuple

from msgspec import Struct, field
from sqlalchemy import Connection

from core.ledger.rules import chain
from core.verification import history_store
from core.verification.chains import Versions
from core.verification.checkpoints import NOTHING, Heads
from core.verification.quick import QuickPiece
from core.verification.replay import Pile, Replay, always
from core.verification.report import LISTED, Problem, Report
from core.verification.sealed import Part, check_root
from core.verification.tally import PRIME, Needs, Salt, Standing, Start, Tally
from core.verification.walk import Known, Walk

ROWS = 10_000
"""The rows of a piece, or a few more."""


_MOST_IN_VAIN = 4


class Piece(NamedTuple):
    """The rows of the log after one, up to another. None is for the last row of the log."""

    number: int
    after: int
    until: int | None


class Done(NamedTuple):
    """The result of a piece."""

    piece: Piece
    transactions: int
    undecided: int
    rejected: int
    problems: list[Problem]
    problem_count: int
    versions: Versions
    parts: list[Part]
    reached: Heads


class _Careful(NamedTuple):
    """A piece that was read row by row."""

    report: Report
    pile: Pile
    walk: Walk


class Reader:
    """Reads, tallies and decides pieces, in one snapshot of the database."""

    def __init__(self, conn: Connection, salt: Salt) -> None:
        self._conn, self._salt = conn, salt
        self._known, self._always = Known(conn), always(conn)
        self._in_vain, self._rest = 0, 0
        """How often pieces were read by columns in vain, one after the other, and how many are not tried now."""
        self._open: tuple[Piece, QuickPiece | _Careful] | None = None

    def read(self, piece: Piece) -> tuple[Tally, Needs]:
        """Check the rows of a piece, and tally its outcomes."""
        quick = self._read_quickly(piece)
        if quick is not None:
            self._open = piece, quick
            return quick.tally, quick.needs()
        careful = self._read_carefully(piece)
        self._open = piece, careful
        return careful.pile.tally, careful.pile.needs()

    def decide(self, start: Start) -> Done:
        """Decide the piece that was read last."""
        assert self._open is not None
        (piece, read), self._open = self._open, None
        if isinstance(read, QuickPiece):
            if read.agrees(start):
                versions, rejected = Versions(is_newer=True), read.tally.rejected
                return Done(piece, read.transactions, 0, rejected, [], 0, versions, read.parts, read.reached)
            read = self._read_carefully(piece)
        report, pile, walk = read
        replay = Replay(report, self._always, start)
        for group in pile.groups:
            replay.judge(group)
        problems = sorted(report.problems, key=_place) if report.problems else []
        return Done(
            piece, report.transactions, report.undecided, pile.tally.rejected, problems, report.problem_count,
            walk.versions, walk.roots.parts, report.reached,
        )  # fmt: skip

    def _read_quickly(self, piece: Piece) -> QuickPiece | None:
        """Check a piece by columns. Return None when it must be checked row by row, as the first and the last are."""
        if not piece.after or piece.until is None:
            return None
        if self._rest:
            self._rest -= 1
            return None
        quick = QuickPiece(self._known, self._always)
        if quick.read(self._conn, self._salt, self._since(piece.after), piece.until):
            self._in_vain = 0
            return quick
        # Where amounts are very large, or rows are old, the next pieces are not for columns either.
        self._in_vain = min(self._in_vain + 1, _MOST_IN_VAIN)
        self._rest = 2**self._in_vain - 1
        return None

    def _read_carefully(self, piece: Piece) -> "_Careful":
        """Check a piece row by row."""
        report, pile = Report(), Pile(self._always, self._salt)
        walk = Walk(self._conn, report, pile, self._since(piece.after), self._known)
        walk.run_piece(piece.until)
        return _Careful(report, pile, walk)

    def _since(self, after: int) -> Heads:
        """Return the heads of the chains where a piece begins, as they are stored. The piece before has checked them."""
        if not after:
            return NOTHING
        digest = history_store.digest_before(self._conn, after + 1)
        return Heads(after, digest or chain.START, history_store.heads_at(self._conn, after))


_OF_CHAINS = frozenset({"digest", "digest_version", "hash"})


def _place(problem: Problem) -> tuple[float, bool]:
    """Sort problems by their rows. A row that differs comes before its hash, which follows from it."""
    word, _, rest = problem.key.partition(" ")
    if word == "seq":
        return float(rest.partition(",")[0]), problem.what in _OF_CHAINS
    return float("-inf" if problem.what == "numbers" else "inf"), False


class Course(Struct):
    """How far a verification has come: what all pieces up to one have shown. It can be kept in a file."""

    salt: Salt
    standing: Standing = field(default_factory=Standing)
    tallied: int = 0
    """The number of the piece whose tally is the next to add."""
    ended: int = 0
    """The number of the piece whose result is the next to add."""
    position: int = 0
    """The last row of the pieces that have ended."""
    after: int = 1
    before: int = 1
    is_whole: bool = True
    transactions: int = 0
    undecided: int = 0
    rejected: int = 0
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    versions: Versions = field(default_factory=Versions)
    parts: dict[int, Part] = field(default_factory=dict)
    """The seals that are not complete yet."""

    def begin(self, tally: Tally, needs: Needs) -> Start:
        """Add the tally of the next piece, and return what it begins with."""
        start = self.standing.start(needs)
        self.standing.add(tally)
        self.after = self.after * tally.after % PRIME
        self.before = self.before * tally.before % PRIME
        self.is_whole = self.is_whole and tally.is_whole
        self.tallied += 1
        return start

    def end(self, done: Done) -> None:
        """Add the result of the next piece."""
        report = Report(problems=list(done.problems), problem_count=done.problem_count)
        for part in done.parts:
            if (open := self.parts.get(part.number)) is not None:
                open.leaves.extend(part.leaves)
            else:
                self.parts[part.number] = part
        self.position = done.piece.until if done.piece.until is not None else done.reached.sequence
        for number in [number for number, part in self.parts.items() if part.last_seq <= self.position]:
            check_root(report, self.parts.pop(number))
        self.transactions += done.transactions
        self.undecided += done.undecided
        self.rejected += done.rejected
        self.problems += report.problems[: max(0, LISTED - len(self.problems))]
        self.problem_count += report.problem_count
        self.versions.go_on(done.versions)
        self.ended += 1

    def tell(self, report: Report) -> None:
        """Put what the pieces have shown into a report."""
        report.transactions, report.undecided, report.rejected = self.transactions, self.undecided, self.rejected
        report.take(self.problems, self.problem_count)
        report.to_sequence = self.position
        self.versions.warn(report)


def next_piece(conn: Connection, number: int, after: int) -> Piece:
    """Find where the next piece ends: before the first row, from some on, that belongs to no split or group before it."""
    first = history_store.first_of_next(conn, after, ROWS)
    return Piece(number, after, None if first is None else first - 1)
