"""The report of a verification: how much it read, and each problem as a value."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from msgspec import Struct

from core.ledger.rules.model import STATUS_OF_NUMBER, RejectReason
from core.verification.checkpoints import NOTHING, Checkpoint, Heads

LISTED = 100
"""Problems that are kept word for word. All are counted."""

TellProgress = Callable[[str, int, int], None]
"""Hears what is being read, how many rows of it are done, and of how many; 0 when that is not known."""


class Problem(Struct, frozen=True):
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
    """The counts of rows read, and the problems found. The parts of a verification add to it as they go."""

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
    """The newest heads at which everything was decided. They become a checkpoint if nothing is wrong."""

    @property
    def ok(self) -> bool:
        return self.problem_count == 0

    def add(self, table: str, key: str, what: str, *, expected: object, found: object) -> None:
        """Count a problem, and keep it if it is among the first."""
        self.problem_count += 1
        if len(self.problems) < LISTED:
            self.problems.append(Problem(table, key, what, str(expected), str(found)))

    def compare(self, table: str, key: str, because: str, values: Iterable[tuple[str, object, object]]) -> None:
        """Add a problem for each name whose expected value and found value differ.

        ``because`` names what the expected values follow from.
        """
        for what, expected, found in values:
            if expected != found:
                self.add(table, key, what, expected=f"{expected}, {because}", found=found)


def seq_key(seq: int, queue: int | None = None) -> str:
    """The key of a row of the log or its outcome in a problem."""
    return f"seq {seq}" if queue is None else f"seq {seq}, queue {queue}"


def hash_text(hash: bytes | None) -> str:
    return "none" if hash is None else hash.hex()


def status_text(number: int) -> str:
    status = STATUS_OF_NUMBER.get(number)
    return str(number) if status is None else f"{status}"


def reason_text(number: int | None) -> str:
    return next((reason.name for reason in RejectReason if reason == number), str(number))
