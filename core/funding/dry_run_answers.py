"""Structs of the answer to a dry run of a funding job, as in ``answers.py``."""

from enum import StrEnum

from msgspec import UNSET, Struct, UnsetType

from core.base.answers import Major, Time
from core.funding.answers import Refusal
from core.funding.files.found import FileRead
from core.ledger.explain import RejectionName


class RejectedRow(Struct, frozen=True, kw_only=True):
    """A row that would be rejected."""

    row: int
    destination: str
    precise_amount: int
    """The amount in minor units."""
    reason: RejectionName
    message: str


class ListedRow(Struct, frozen=True, kw_only=True):
    """A row of the list of a dry run."""

    row: int
    destination: str
    precise_amount: int
    """The amount in minor units."""
    description: str
    """The row's own description. It is empty when it has none."""


class OddKind(StrEnum):
    """A row that is valid, and odd."""

    TOTAL = "TOTAL"
    """It is as much as all other rows together, as the total of a sheet would be."""
    LARGE = "LARGE"
    """It is ten times the median or more."""
    TWICE = "TWICE"
    """The amount is paid twice to the same balance, or twice with the same description that few rows have."""


class OddRows(Struct, frozen=True, kw_only=True):
    """Rows that are valid, and that somebody should look at."""

    kind: OddKind
    count: int
    """The number of such rows."""
    rows: list[ListedRow]
    """The first five of them."""


class FirstFailedRow(Struct, frozen=True, kw_only=True):
    """The first row that would fail: it would be rejected, or the run would be refused because of it."""

    row: int
    destination: str | UnsetType = UNSET
    precise_amount: int | UnsetType = UNSET
    reason: str
    message: str


class PoolAfter(Struct, frozen=True, kw_only=True):
    """The pool before and after a dry run. Amounts are minor units, unless a field says otherwise."""

    balance: int
    """The balance now."""
    balance_after: int
    """The balance after the run."""
    amount_after: Major
    """The balance after the run, in major units."""


class FundingDryRun(Struct, frozen=True, kw_only=True):
    """The result of a dry run of a funding job, over the balances as they are now."""

    dry_run: bool = True
    """Always true. It tells a dry run from a job."""
    would_run: bool
    """True when the run would not be refused."""
    refusal: Refusal | None
    """The reason why the run would be refused. It is null when it would not be."""
    file: FileRead | None
    """How the file of the recipients was read. It is null when there is none."""
    name: str
    currency: str
    precision: int
    rows_total: int
    """The number of rows."""
    amount_total: Major
    """The sum of all rows, in major units."""
    precise_amount_total: int
    """The sum of all rows, in minor units."""
    rows_applied: int
    """The number of rows that would move or hold money."""
    amount_applied: Major
    """The amount that would be moved or held, in major units."""
    precise_amount_applied: int
    """The amount that would be moved or held, in minor units."""
    rows_rejected: int
    """The number of rows that would be rejected."""
    rejected_by_reason: dict[RejectionName, int]
    """The number of rows that would be rejected, by reason."""
    rows_beyond_limit: int
    """The number of rows that would not be posted because of until_limit."""
    rejected: list[RejectedRow]
    """The first hundred rows that would be rejected."""
    new_balances: int
    """The number of balances that would be created for @Names without one."""
    new_names: list[str]
    """The first hundred of those @Names in alphabetical order. A mistyped name is one of them."""
    first_failure: FirstFailedRow | None
    """The first row that would fail. It is null when none would."""
    pool: PoolAfter
    """The pool before and after the run."""
    first_rows: list[ListedRow]
    """The first rows, at most three."""
    largest_rows: list[ListedRow]
    """The rows with the largest amounts, at most three."""
    odd: list[OddRows]
    """Rows that are valid, and that somebody should look at."""
    next_runs: list[Time]
    """The times of the next runs, at most ten."""
