"""The answer of a verification, and the function that makes it from a report."""

from msgspec import UNSET, Struct, UnsetType, structs

from core.base.answers import Time
from core.verification.report import Problem, Report, RowWarning


class CheckpointUsed(Struct, frozen=True, kw_only=True):
    """The checkpoint that a verification went on from."""

    id: int
    sequence: int
    at: Time


class SealChecked(Struct, frozen=True, kw_only=True):
    """The newest valid seal of the notary."""

    number: int
    sequence: int
    """The rows of the log up to it are sealed."""
    at: str
    key: str
    """The public key that it was checked by."""
    pinned: bool
    """Whether the service knows that key from elsewhere than the database."""


class Attested(Struct, frozen=True, kw_only=True):
    """A statement of the notary of how far the ledger was verified."""

    statement: str
    """The text that was signed."""
    signature: str
    """The Ed25519 signature over it in hexadecimal."""


class Verification(Struct, frozen=True, kw_only=True):
    """The result of a verification: whether the ledger agrees with its history, and what was read."""

    ok: bool
    from_sequence: int
    to_sequence: int
    """The sequence of the last row of the log that was read."""
    complete: bool
    """True when the verification read the log to its end."""
    transactions: int
    """The number of transactions that were read."""
    undecided: int
    rejected: int
    balances: int
    holds: int | None
    """The number of holds. It is null unless the whole ledger was verified, because only then are holds checked."""
    currencies: int
    problem_count: int
    problems: list[Problem]
    """The first hundred problems. problem_count counts all of them."""
    warning_count: int
    warnings: list[RowWarning]
    """The first hundred rows from before a rule of today, such as names that people cannot tell apart. They are no damage."""
    checkpoint: CheckpointUsed | None
    """The checkpoint that the verification went on from, or the newest valid one when it read everything."""
    signed: bool
    """True when the checkpoint has a signature and the signature was checked with the key."""
    sealed: SealChecked | None
    """How far the notary has sealed the log; null when it has not."""
    attested: Attested | None
    """The notary's newest statement of how far the ledger was verified; null when there is none.

    `pacioli receipt check` checks it offline.
    """
    note: str | UnsetType = UNSET
    """How to go on when the verification is not complete."""


def verification_of(report: Report, note: str | None = None) -> Verification:
    """Make the answer from a report. ``note`` says how to go on."""
    used, sealed, attested = report.checkpoint, report.sealed, report.attested
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
        warning_count=report.warning_count,
        warnings=report.warnings,
        checkpoint=None if used is None else CheckpointUsed(id=used.id, sequence=used.heads.sequence, at=used.at),
        signed=used is not None and used.signed,
        sealed=None if sealed is None else SealChecked(**structs.asdict(sealed)),
        attested=None if attested is None else Attested(statement=attested.statement, signature=attested.signature),
        note=UNSET if note is None else note,
    )
