"""The answer of a verification."""

from msgspec import UNSET, Struct, UnsetType

from core.base.answers import Time
from core.verification.report import Problem, Report


class CheckpointUsed(Struct, frozen=True, kw_only=True):
    """A checkpoint that a verification went on from."""

    id: int
    sequence: int
    at: Time


class Verification(Struct, frozen=True, kw_only=True):
    """Whether the ledger is as it was written."""

    ok: bool
    from_sequence: int
    to_sequence: int
    """How far the log was read."""
    complete: bool
    """Whether that is its end."""
    transactions: int
    """Read, as are the other counts."""
    undecided: int
    rejected: int
    balances: int
    holds: int | None
    """null for a run from a checkpoint, because only a full run checks holds."""
    currencies: int
    problem_count: int
    problems: list[Problem]
    """The first hundred."""
    checkpoint: CheckpointUsed | None
    """The checkpoint from which it went on, or null."""
    signed: bool
    """Whether the checkpoint has a signature, which was checked."""
    note: str | UnsetType = UNSET
    """How to go on, if it is not complete."""


def verification_of(report: Report, note: str | None = None) -> Verification:
    """Make the answer of a report."""
    used = report.checkpoint
    return Verification(
        ok=report.ok,
        from_sequence=report.from_sequence,
        to_sequence=report.to_sequence,
        complete=report.complete,
        transactions=report.transactions,
        undecided=report.undecided,
        rejected=report.rejected,
        balances=report.balances,
        holds=report.holds,
        currencies=report.currencies,
        problem_count=report.problem_count,
        problems=report.problems,
        checkpoint=None if used is None else CheckpointUsed(id=used.id, sequence=used.heads.sequence, at=used.at),
        signed=used is not None and used.signed,
        note=UNSET if note is None else note,
    )
