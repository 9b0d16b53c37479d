"""What the service answers, field by field as it is sent.

Integers are minor units and counts; decimals are major units. A field that is not always sent is ``UNSET`` when it was not.
Fields that this version does not know are left out.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from msgspec import UNSET, Struct, UnsetType

NO_TIME = datetime(1, 1, 1, tzinfo=UTC)
"""Stands for a date that is not set."""

MetaData = dict[str, Any] | None


# Transactions


class Step(Struct, frozen=True, kw_only=True):
    """When a transaction came to a status."""

    status: str
    at: datetime


class Rejection(Struct, frozen=True, kw_only=True):
    """The sum that did not work out, in minor units."""

    reason: str
    message: str
    available: int | None
    requested: int | None
    held: int | None
    overdraft_limit: int | None
    short_by: int | None


class Place(Struct, frozen=True, kw_only=True):
    """Where an undecided transaction stands in line."""

    number: int
    """Of the queue."""
    position: int
    ahead: int
    oldest_age_s: Decimal
    waiting_for: str


class HoldAmounts(Struct, frozen=True, kw_only=True):
    """What became of a hold so far, in minor units."""

    committed: int
    voided: int
    remaining: int


class ShareOf(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of several sources or destinations, as it was asked for."""

    identifier: str
    distribution: str | UnsetType = UNSET
    precise_distribution: int | str | UnsetType = UNSET
    narration: str | UnsetType = UNSET
    transaction_id: str | UnsetType = UNSET


class LegOf(Struct, frozen=True, kw_only=True):
    """One leg of a split."""

    transaction_id: str
    reference: str
    source: str | UnsetType = UNSET
    destination: str | UnsetType = UNSET
    precise_amount: int
    status: str | UnsetType = UNSET
    rejection: Rejection | UnsetType = UNSET


class Transaction(Struct, frozen=True, kw_only=True):
    """A transaction as it is now."""

    precise_amount: int
    amount: Decimal
    amount_string: str
    precision: int
    overdraft_limit: Decimal | None
    transaction_id: str
    parent_transaction: str
    source: str
    destination: str
    reference: str
    currency: str
    description: str
    status: str
    hash: str
    allow_overdraft: bool
    inflight: bool
    skip_queue: bool
    atomic: bool
    created_at: datetime
    effective_date: datetime
    scheduled_for: datetime
    inflight_expiry_date: datetime
    inflight_commit_date: datetime
    sources: list[ShareOf] | UnsetType = UNSET
    destinations: list[ShareOf] | UnsetType = UNSET
    meta_data: MetaData | UnsetType = UNSET
    sequence: int
    """Its position in the order of acceptance; 0 while it waits for its date."""
    rejection: Rejection | UnsetType = UNSET
    inflight_amounts: HoldAmounts | UnsetType = UNSET
    legs: list[LegOf] | UnsetType = UNSET
    timeline: list[Step]
    queue: Place | UnsetType = UNSET
    warnings: list[Any] | UnsetType = UNSET
    queued: bool | UnsetType = UNSET
    child_transaction: str | UnsetType = UNSET
    child_transactions: list[str] | UnsetType = UNSET


class Accepted(Struct, frozen=True, kw_only=True):
    """A bulk that was accepted."""

    batch_id: str
    status: str
    transaction_count: int
    message: str | UnsetType = UNSET


class Batch(Struct, frozen=True, kw_only=True):
    """What a bulk has come to."""

    batch_id: str
    transaction_id: str
    status: str
    inflight: bool
    transaction_count: int
    counts: dict[str, int]
    """Transactions by status."""
    decided: int
    progress: Decimal
    rate: Decimal
    created_at: datetime
    decided_at: datetime | None
    queued: bool | UnsetType = UNSET
    child_transaction: str | UnsetType = UNSET
    child_transactions: list[str] | UnsetType = UNSET


# Balances


class NextRun(Struct, frozen=True, kw_only=True):
    """What the next funding job that draws on a balance makes of it; None where that takes too long to say."""

    job_id: str
    next_run_at: datetime | None
    balance_after_next_run: int | None
    runs_left: int | None


class Balance(Struct, frozen=True, kw_only=True):
    """A balance, in minor units."""

    balance: int
    version: int
    inflight_balance: int
    credit_balance: int
    inflight_credit_balance: int
    debit_balance: int
    inflight_debit_balance: int
    available_balance: int
    ledger_id: str
    identity_id: str
    balance_id: str
    indicator: str
    currency: str
    created_at: datetime
    inflight_expires_at: datetime
    meta_data: MetaData
    track_fund_lineage: bool
    allocation_strategy: str
    queued_debit_balance: int | UnsetType = UNSET
    queued_credit_balance: int | UnsetType = UNSET
    funding: NextRun | UnsetType = UNSET


class Entry(Struct, frozen=True, kw_only=True):
    """One line of a statement."""

    version: int
    at: datetime
    effective_date: datetime
    direction: str
    """``debit`` or ``credit``."""
    amount: Decimal
    precise_amount: int
    precise_balance_after: int
    currency: str
    counterparty: str
    transaction_id: str
    parent_transaction: str
    reference: str
    description: str
    sequence: int


class Sums(Struct, frozen=True, kw_only=True):
    """What a balance held, in minor units."""

    balance: int
    debit_balance: int
    credit_balance: int
    currency: str
    balance_id: str


class BalanceAt(Struct, frozen=True, kw_only=True):
    """What a balance held at a time."""

    balance: Sums
    timestamp: datetime
    from_source: bool


class Ledger(Struct, frozen=True, kw_only=True):
    """A group of balances."""

    ledger_id: str
    name: str
    created_at: datetime
    meta_data: MetaData


# Funding


class ClauseOf(Struct, frozen=True, kw_only=True):
    """One condition of a rule."""

    field: str
    operator: str
    value: Any
    values: list[Any] | None


class RuleOf(Struct, frozen=True, kw_only=True):
    """Whom a job funds, where no list names them."""

    filters: list[ClauseOf]
    logical_operator: str
    precise_amount: int | None
    precise_top_up_to: int | None


class Run(Struct, frozen=True, kw_only=True):
    """A run of a job. What its rows came to is there only when one run is read."""

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
    rows_applied: int | UnsetType = UNSET
    rows_rejected: int | UnsetType = UNSET
    rejected_by_reason: dict[str, int] | UnsetType = UNSET
    rows_queued: int | UnsetType = UNSET
    rows_unposted: int | UnsetType | None = UNSET
    amount_applied: Decimal | UnsetType = UNSET
    precise_amount_applied: int | UnsetType = UNSET
    progress: Decimal | UnsetType | None = UNSET
    rate_per_s: Decimal | UnsetType = UNSET
    left_s: Decimal | UnsetType | None = UNSET


class Outlook(Struct, frozen=True, kw_only=True):
    """What the pool of a job will be after its next run, in minor units."""

    balance: int
    next_run_rows: int
    next_run_precise_amount: int
    balance_after_next_run: int
    runs_left: int | None
    amount_after_next_run: Decimal


class Job(Struct, frozen=True, kw_only=True):
    """A funding job: its terms, and where it stands."""

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
    rule: RuleOf | None
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
    last_run: Run | UnsetType | None = UNSET
    run: Run | UnsetType | None = UNSET
    """The run that its creation began, in the answer to that."""
    next_runs: list[datetime] | UnsetType = UNSET
    pool: Outlook | UnsetType | None = UNSET


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


class PoolThen(Struct, frozen=True, kw_only=True):
    """What a dry run would make of the pool."""

    balance: int
    balance_after: int
    amount_after: Decimal


class DryRun(Struct, frozen=True, kw_only=True):
    """What a run would come to over the balances as they are."""

    dry_run: bool
    would_run: bool
    refusal: dict[str, Any] | None
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
    pool: PoolThen
    next_runs: list[datetime]


# The service


class Queue(Struct, frozen=True, kw_only=True):
    """How long a line is, and how fast it moves."""

    number: int
    depth: int
    oldest_age_s: Decimal | None
    cursor: int
    last_drained_at: datetime | None
    rate_per_s: Decimal
    decided: int


class Checks(Struct, frozen=True, kw_only=True):
    """The parts of the service."""

    database: str
    broker: str | UnsetType = UNSET
    workers: str | UnsetType = UNSET
    workers_alive: list[str] | UnsetType = UNSET
    oldest_queued_age_s: Decimal | UnsetType | None = UNSET


class Health(Struct, frozen=True, kw_only=True):
    """Whether the service works. ``status`` is UP while it accepts transactions."""

    status: str
    reason: str | UnsetType = UNSET
    checks: Checks


class Damage(Struct, frozen=True, kw_only=True):
    """Something that does not follow from the history."""

    table: str
    key: str
    what: str
    expected: str
    found: str


class CheckpointOf(Struct, frozen=True, kw_only=True):
    """How far the ledger was vouched for."""

    id: int
    sequence: int
    at: datetime


class Verification(Struct, frozen=True, kw_only=True):
    """What came after the last checkpoint, checked."""

    ok: bool
    from_sequence: int
    to_sequence: int
    complete: bool
    transactions: int
    undecided: int
    rejected: int
    balances: int
    holds: int | None
    currencies: int
    problem_count: int
    problems: list[Damage]
    checkpoint: CheckpointOf | None
    signed: bool
    note: str | UnsetType = UNSET
