"""Answers about funding jobs, their runs and the rows of a run."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from pacioli_client.answers.transactions import Rejection


class KeptClause(Struct, frozen=True, kw_only=True):
    """One condition of a rule."""

    field: str
    operator: str
    value: Any
    values: list[Any] | None


class KeptRule(Struct, frozen=True, kw_only=True):
    """The rule that finds the balances which a job funds."""

    filters: list[KeptClause]
    logical_operator: str
    precise_amount: int | None
    precise_top_up_to: int | None


class Try(Struct, frozen=True, kw_only=True):
    """A run that posts the rest of another run. ``retry_of`` makes the tries of a run a tree."""

    run_id: str
    retry_of: str
    status: str
    rows_total: int | None
    rows_applied: int
    rows_rejected: int
    rows_unposted: int | None
    precise_amount_applied: int
    created_at: datetime


class Run(Struct, frozen=True, kw_only=True):
    """A run of a job. Its counts of rows by status are there only when a single run is read."""

    run_id: str
    job_id: str
    status: str
    due_at: datetime
    occurrence: str
    retry_of: str
    retried_by: str
    rows_total: int | None
    rows_accepted: int
    amount_total: Decimal | None
    precise_amount_total: int | None
    amount_accepted: Decimal
    precise_amount_accepted: int
    limit_reached: bool
    refusal: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    rows_applied: int | UnsetType | None = UNSET
    rows_rejected: int | UnsetType | None = UNSET
    rejected_by_reason: dict[str, int] | UnsetType = UNSET
    rows_queued: int | UnsetType = UNSET
    rows_unposted: int | UnsetType | None = UNSET
    amount_applied: Decimal | UnsetType | None = UNSET
    precise_amount_applied: int | UnsetType | None = UNSET
    progress: Decimal | UnsetType | None = UNSET
    rate_per_s: Decimal | UnsetType = UNSET
    left_s: Decimal | UnsetType | None = UNSET
    rows_to_retry: int | UnsetType | None = UNSET
    """The rows that a retry would post. It is None until the run is over."""
    tries: list[Try] | UnsetType = UNSET


class PoolForecast(Struct, frozen=True, kw_only=True):
    """The pool of a job before and after its next run, in minor units."""

    balance: int
    next_run_rows: int
    next_run_precise_amount: int
    balance_after_next_run: int
    runs_left: int | None
    amount_after_next_run: Decimal


class FileRead(Struct, frozen=True, kw_only=True):
    """How a file of recipients was read."""

    format: str
    encoding: str
    separator: str
    sheet: str
    header_row: int
    columns: dict[str, str]
    notes: list[str]
    """Notes for whoever is about to move money, such as hidden rows that are paid too."""


class Approval(Struct, frozen=True, kw_only=True):
    """The approval of a job by a key of another owner."""

    status: str
    digest: str
    covers_rows: bool
    rows: int | None
    precise_amount: int | None
    asked_by: str
    owner: str
    decided_by: str
    decided_at: datetime | None
    reason: str


class Job(Struct, frozen=True, kw_only=True):
    """A funding job: its terms and its status."""

    job_id: str
    reference: str
    name: str
    status: str
    source: str
    indicator: str
    currency: str
    precision: int
    description: str
    allow_overdraft: bool
    overdraft_limit: Decimal | None
    until_limit: bool
    allow_duplicates: bool
    atomic: bool
    inflight: bool
    inflight_commit_date: datetime | None
    inflight_commit_after_s: int | None
    rows: int | None
    amount: Decimal | None
    precise_amount: int | None
    rule: KeptRule | None
    at: datetime | None
    cron: str | None
    timezone: str
    ends_at: datetime | None
    count: int | None
    missed: str
    next_run_at: datetime | None
    runs_made: int
    skipped: int
    created_at: datetime
    meta_data: dict[str, Any] | None
    last_run: Run | UnsetType | None = UNSET
    run: Run | UnsetType | None = UNSET
    """The run that starts when the job is created. Only the answer to that request has it."""
    file: FileRead | UnsetType | None = UNSET
    """How the file was read. Only the answer to the request that sent it has it."""
    next_runs: list[datetime] | UnsetType = UNSET
    pool: PoolForecast | UnsetType | None = UNSET
    approval: Approval | UnsetType | None = UNSET
    """Only the answer about one job has it. It is None when the job needs none."""


class Row(Struct, frozen=True, kw_only=True):
    """A row of a run, and its transaction."""

    row: int
    destination: str
    amount: Decimal
    precise_amount: int
    currency: str
    description: str
    status: str
    transaction_id: str
    reference: str
    rejection: Rejection | None
    first_transaction_id: str


class RejectedRow(Struct, frozen=True, kw_only=True):
    """A row that a dry run would reject."""

    row: int
    destination: str
    precise_amount: int
    reason: str
    message: str


class PoolAfter(Struct, frozen=True, kw_only=True):
    """The pool before and after a dry run, in minor units."""

    balance: int
    balance_after: int
    amount_after: Decimal


class ListedRow(Struct, frozen=True, kw_only=True):
    """A row of the list of a dry run."""

    row: int
    destination: str
    precise_amount: int
    description: str


class OddRows(Struct, frozen=True, kw_only=True):
    """Rows that are valid, and that somebody should look at: LARGE, TWICE or TOTAL."""

    kind: str
    count: int
    rows: list[ListedRow]


class DryRun(Struct, frozen=True, kw_only=True):
    """The outcome that a run would have with the balances as they are now."""

    dry_run: bool
    would_run: bool
    refusal: dict[str, Any] | None
    file: FileRead | None
    name: str
    currency: str
    precision: int
    rows_total: int
    amount_total: Decimal
    precise_amount_total: int
    rows_applied: int
    amount_applied: Decimal
    precise_amount_applied: int
    rows_rejected: int
    rejected_by_reason: dict[str, int]
    rows_beyond_limit: int
    rejected: list[RejectedRow]
    new_balances: int
    new_names: list[str]
    first_failure: dict[str, Any] | None
    pool: PoolAfter
    first_rows: list[ListedRow]
    largest_rows: list[ListedRow]
    odd: list[OddRows]
    next_runs: list[datetime]
