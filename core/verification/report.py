"""The report of a verification: how much it read, and each problem as a value."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from core.ledger.rules.model import STATUS_OF_NUMBER, RejectReason
from core.notary.attestations import Attestation
from core.verification.checkpoints import NOTHING, Checkpoint, Heads

LISTED = 100
"""The number of problems that are kept in full. All are counted."""

TellProgress = Callable[[str, int, int], None]
"""A callback for progress: the name of what is read, the rows that are done, and all rows (0 when unknown)."""


def silent(what: str, done: int, of: int) -> None:
    """Report no progress."""


class Problem(Struct, frozen=True):
    """A stored value that differs from the value that the history gives."""

    table: str
    key: str
    what: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.table}, {self.key}, {self.what}: expected {self.expected}, found {self.found}"


class RowWarning(Struct, frozen=True):
    """A row from before a rule, which no new row may break. It is no damage, and can be used as before."""

    table: str
    key: str
    what: str
    message: str

    def __str__(self) -> str:
        return f"{self.table}, {self.key}, {self.what}: {self.message}"


class SealUsed(Struct, frozen=True, kw_only=True):
    """The newest seal of the notary that is valid."""

    number: int
    sequence: int
    """Rows of the log up to it are sealed."""
    at: str
    key: str
    """The public key by which it was checked."""
    pinned: bool
    """Whether that key is known from elsewhere, or was named by one that is."""


@dataclass
class Report:
    """The counts of rows read, and the problems found. The parts of a verification add to it as they go."""

    transactions: int = 0
    undecided: int = 0
    rejected: int = 0
    balances: int = 0
    holds: int | None = None
    """The number of holds; None when the verification went on from a checkpoint, which does not check holds."""
    currencies: int = 0
    problems: list[Problem] = field(default_factory=list)
    """The first problems: those of the log and its outcomes in seq order, then those of the state."""
    problem_count: int = 0
    warnings: list[RowWarning] = field(default_factory=list)
    """The first warnings. A ledger with warnings is sound."""
    warning_count: int = 0
    from_sequence: int = 1
    to_sequence: int = 0
    went_on_after: int | None = None
    """The row after which it went on from where another verification was stopped."""
    complete: bool = True
    """True when the log was read to its end."""
    checkpoint: Checkpoint | None = None
    """The newest valid checkpoint from before the verification."""
    sealed: SealUsed | None = None
    """The newest valid seal."""
    attested: Attestation | None = None
    """The notary's newest statement of how far the ledger was verified, if it is valid."""
    reached: Heads = NOTHING
    """The newest heads between two rows that belong together. They become a checkpoint if nothing is wrong."""

    @property
    def ok(self) -> bool:
        return self.problem_count == 0

    def add(self, table: str, key: str, what: str, *, expected: object, found: object) -> None:
        """Count a problem, and keep it while fewer than ``LISTED`` are kept."""
        self.problem_count += 1
        if len(self.problems) < LISTED:
            self.problems.append(Problem(table, key, what, str(expected), str(found)))

    def take(self, problems: Sequence[Problem], count: int) -> None:
        """Add the problems of another report, which has counted so many."""
        self.problem_count += count
        self.problems += problems[: max(0, LISTED - len(self.problems))]

    def warn(self, table: str, key: str, what: str, message: str) -> None:
        """Count a warning, and keep it while fewer than ``LISTED`` are kept."""
        self.warning_count += 1
        if len(self.warnings) < LISTED:
            self.warnings.append(RowWarning(table, key, what, message))

    def compare(self, table: str, key: str, because: str, values: Iterable[tuple[str, object, object]]) -> None:
        """Add a problem for each name whose expected value and found value differ.

        ``because`` names what the expected values follow from.
        """
        for what, expected, found in values:
            if expected != found:
                self.add(table, key, what, expected=f"{expected}, {because}", found=found)


def seq_key(seq: int, queue: int | None = None) -> str:
    """Return the key that a problem shows for a row of the log or its outcome."""
    return f"seq {seq}" if queue is None else f"seq {seq}, queue {queue}"


def hash_text(hash: bytes | None) -> str:
    """Return a hash in hexadecimal; ``none`` when it is missing."""
    return "none" if hash is None else hash.hex()


def status_text(number: int) -> str:
    """Return the name of a stored status, or its number when it has no name."""
    status = STATUS_OF_NUMBER.get(number)
    return str(number) if status is None else f"{status}"


def reason_text(number: int | None) -> str:
    """Return the name of a stored reason, or its number when it has no name."""
    return next((reason.name for reason in RejectReason if reason == number), str(number))
