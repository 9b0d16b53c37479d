"""Funding jobs, their runs and rows as they go out.

What is called ``precise_`` is in minor units, and the amount beside it in major units.
"""

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType
from sqlalchemy import Engine

from core.base.answers import Major, Time, fields_of, major
from core.funding import dry_run as funding_dry_run
from core.funding import forecast as funding_forecast
from core.funding import views as funding_views
from core.funding.dry_run import DryRun
from core.funding.forecast import Forecast
from core.funding.job_store import JobRow
from core.funding.missed import Missed
from core.funding.posting_store import RowState
from core.funding.requests import FundingTerms
from core.funding.run_store import RunRow
from core.funding.terms import job_terms
from core.funding.views import Counts
from core.ledger.answers import RejectionAnswer, rejection_of
from core.ledger.balances import Balance
from core.ledger.explain import WIRE_NAMES, RejectionName, sum_text
from core.ledger.rules.model import RUN_PREFIX
from core.ledger.store.transactions import TransactionRow
from core.lists.requests import FilterClause

FORECAST_S = 2.0
"""How long a look ahead may take. That of a rule reads every balance that it names."""


class JobStatus(StrEnum):
    """How a funding job stands. FINISHED means that nothing is to come by itself, and nothing is under way."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    CANCELLED = "CANCELLED"
    FINISHED = "FINISHED"


class RunStatus(StrEnum):
    """How a run stands. It is RUNNING until all that is posted is decided."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    REFUSED = "REFUSED"
    CANCELLED = "CANCELLED"


class RowStatus(StrEnum):
    """The state of a row: UNPOSTED, or the status of its transaction."""

    UNPOSTED = "UNPOSTED"
    QUEUED = "QUEUED"
    INFLIGHT = "INFLIGHT"
    APPLIED = "APPLIED"
    VOID = "VOID"
    REJECTED = "REJECTED"


class Refusal(Struct, frozen=True, kw_only=True):
    """Why nothing of a run was posted. Amounts are minor units."""

    reason: Literal["LIMIT", "TOO_MANY_ROWS"]
    message: str
    requested: int | UnsetType = UNSET
    available: int | UnsetType = UNSET
    short_by: int | UnsetType = UNSET
    first_row: int | UnsetType = UNSET
    """The first row that is too much."""


class FundingRun(Struct, frozen=True, kw_only=True):
    """One time that a job came due, or was run by hand."""

    run_id: str
    """Also the parent_transaction of each of its transactions."""
    job_id: str
    status: RunStatus
    due_at: Time
    occurrence: str
    """The name of the run within its job. The references of its transactions contain it."""
    retry_of: str
    retried_by: str
    rows_total: int | None
    """null until it starts, as are the other totals."""
    rows_accepted: int
    amount_total: Major | None
    """Major units."""
    precise_amount_total: int | None
    amount_accepted: Major
    precise_amount_accepted: int
    limit_reached: bool
    """Rows were left out, for the money did not go so far."""
    refusal: Refusal | None
    """Why nothing of it was posted."""
    created_at: Time
    started_at: Time | None
    ended_at: Time | None


class CountedRun(FundingRun, frozen=True, kw_only=True):
    """A run, with what its rows have come to."""

    rows_applied: int
    """Moved money, or hold it."""
    rows_rejected: int
    rejected_by_reason: dict[RejectionName, int]
    """How many rows, by reason."""
    rows_queued: int
    """Accepted and not decided yet."""
    rows_unposted: int | None
    """Not accepted, or not yet."""
    amount_applied: Major
    """Major units."""
    precise_amount_applied: int
    progress: float | None
    """Decided rows, from 0 to 1."""
    rate_per_s: float
    """Rows accepted a second."""
    left_s: float | None
    """Seconds until the rest is accepted, at that rate."""


class PoolForecast(Struct, frozen=True, kw_only=True):
    """The pool now and after the next run. Amounts are minor units, unless a field says otherwise."""

    balance: int
    """The balance of the pool now."""
    next_run_rows: int
    next_run_precise_amount: int
    balance_after_next_run: int
    runs_left: int | None
    """Whole runs that it still carries; null when there is no limit."""
    amount_after_next_run: Major
    """Major units."""


class KeptRule(Struct, frozen=True, kw_only=True):
    """The rule of a job. Each run looks up the recipients anew."""

    filters: list[FilterClause]
    logical_operator: Literal["and", "or"]
    precise_amount: int | None
    """Minor units, for each."""
    precise_top_up_to: int | None
    """Minor units: what each should have then."""


class FundingJob(Struct, frozen=True, kw_only=True):
    """A funding job: its terms, and where it stands."""

    job_id: str
    reference: str
    name: str
    status: JobStatus
    """FINISHED: nothing is to come by itself, and nothing is under way."""
    source: str
    """Balance id of the pool."""
    indicator: str
    """Its @Name, if it has one."""
    currency: str
    precision: int
    description: str
    allow_overdraft: bool
    overdraft_limit: Major | None
    """Major units."""
    until_limit: bool
    allow_duplicates: bool
    atomic: bool
    inflight: bool
    inflight_commit_date: Time | None
    inflight_commit_after_s: int | None
    rows: int | None
    """The number of rows of its list. null for a job with a rule."""
    amount: Major | None
    """The sum of its list, in major units. null for a job with a rule."""
    precise_amount: int | None
    rule: KeptRule | None
    at: Time | None
    cron: str | None
    timezone: str
    ends_at: Time | None
    count: int | None
    missed: Missed
    next_run_at: Time | None
    runs_made: int
    """By its schedule."""
    skipped: int
    """Times that came and were left out, as missed says or while it was paused."""
    created_at: Time


class NewFundingJob(FundingJob, frozen=True, kw_only=True):
    """A funding job that was just made."""

    run: FundingRun | None
    """The first run of a job that runs at once, or null."""
    next_runs: list[Time]
    """At most ten."""


class FundingJobRead(FundingJob, frozen=True, kw_only=True):
    """A funding job with its last run, and what is to come."""

    last_run: FundingRun | None
    next_runs: list[Time]
    """At most ten."""
    pool: PoolForecast | None
    """null when it is cancelled, or that takes too long to find out."""


class FundingRow(Struct, frozen=True, kw_only=True):
    """A row of a run and its transaction, if it has one."""

    row: int
    """The line of a CSV, whose header is line 1; else the place in the list, from 1."""
    destination: str
    amount: Major
    """Major units."""
    precise_amount: int
    currency: str
    description: str
    status: RowStatus
    transaction_id: str
    """Empty while it is not posted."""
    reference: str
    rejection: RejectionAnswer | None
    """When it is REJECTED."""
    first_transaction_id: str
    """In a retry: the transaction that was rejected."""


class RejectedRow(Struct, frozen=True, kw_only=True):
    """A row that would be rejected."""

    row: int
    destination: str
    precise_amount: int
    reason: RejectionName
    message: str


class FirstFailedRow(Struct, frozen=True, kw_only=True):
    """The first row that would fail, whether it alone or the whole run."""

    row: int
    destination: str | UnsetType = UNSET
    precise_amount: int | UnsetType = UNSET
    reason: str
    message: str


class PoolAfter(Struct, frozen=True, kw_only=True):
    """The pool before and after. Amounts are minor units, unless a field says otherwise."""

    balance: int
    balance_after: int
    amount_after: Major
    """Major units."""


class FundingDryRun(Struct, frozen=True, kw_only=True):
    """The result that a run would have with the balances as they are now."""

    dry_run: bool = True
    would_run: bool
    refusal: Refusal | None
    name: str
    currency: str
    precision: int
    rows_total: int
    amount_total: Major
    precise_amount_total: int
    rows_applied: int
    amount_applied: Major
    precise_amount_applied: int
    rows_rejected: int
    rejected_by_reason: dict[RejectionName, int]
    rows_beyond_limit: int
    """With until_limit: would not be posted."""
    rejected: list[RejectedRow]
    """The first hundred."""
    new_balances: int
    """@Names that have no balance yet, and would get one."""
    new_names: list[str]
    """The first hundred of them, by the alphabet. One that is mistyped is among them."""
    first_failure: FirstFailedRow | None
    pool: PoolAfter
    next_runs: list[Time]


class PoolWatch(Struct, frozen=True, kw_only=True):
    """The next funding job that will draw on a balance."""

    job_id: str
    next_run_at: Time
    balance_after_next_run: int | None
    """Minor units. null when that takes too long to find out."""
    runs_left: int | None
    """Whole runs that it still carries; null when there is no limit."""


class FundedBalance(Balance, frozen=True, kw_only=True):
    """A balance, with the funding that will draw on it."""

    funding: PoolWatch | UnsetType = UNSET
    """When a funding job will draw on it: the next one."""


def job_of(job: JobRow) -> FundingJob:
    """A job: its terms, and where it stands."""
    terms = job_terms(job)
    return FundingJob(
        job_id=job.job_id,
        reference=job.reference,
        name=job.name,
        status=JobStatus(funding_views.job_status(job)),
        source=job.source_id,
        indicator=job.indicator or "",
        currency=job.currency,
        precision=job.precision,
        description=terms.description,
        allow_overdraft=terms.allow_overdraft,
        overdraft_limit=None if terms.overdraft_limit is None else major(terms.overdraft_limit, job.precision),
        until_limit=terms.until_limit,
        allow_duplicates=terms.allow_duplicates,
        atomic=terms.atomic,
        inflight=terms.inflight,
        inflight_commit_date=terms.inflight_commit_date,
        inflight_commit_after_s=terms.inflight_commit_after_s,
        rows=job.row_count,
        amount=None if job.amount is None else major(job.amount, job.precision),
        precise_amount=job.amount,
        rule=_rule(terms),
        at=terms.at,
        cron=terms.cron,
        timezone=terms.timezone,
        ends_at=terms.ends_at,
        count=terms.count,
        missed=Missed(terms.missed),
        next_run_at=job.next_due if job.status == "ACTIVE" else None,
        runs_made=job.runs_made,
        skipped=job.skipped,
        created_at=job.created_at,
    )


def new_job_of(job: JobRow, run: RunRow | None) -> NewFundingJob:
    """A job that was just made, and its run if it runs now."""
    return NewFundingJob(
        **fields_of(job_of(job)),
        run=None if run is None else run_of(job, run),
        next_runs=funding_forecast.next_occurrences(job),
    )


def job_read_of(job: JobRow, last_run: RunRow | None, ahead: Forecast | None) -> FundingJobRead:
    """A job with its last run, the next ones, and what the pool will be after the next."""
    return FundingJobRead(
        **fields_of(job_of(job)),
        last_run=None if last_run is None else run_of(job, last_run),
        next_runs=funding_forecast.next_occurrences(job),
        pool=None if ahead is None else forecast_of(ahead, job.precision),
    )


def forecast_of(found: Forecast, precision: int) -> PoolForecast:
    """Make the answer of a forecast."""
    return PoolForecast(
        balance=found.balance,
        next_run_rows=found.rows,
        next_run_precise_amount=found.amount,
        balance_after_next_run=found.balance_after,
        runs_left=found.runs_left,
        amount_after_next_run=major(found.balance_after, precision),
    )


def run_of(job: JobRow, run: RunRow) -> FundingRun:
    """A run of a job."""
    return FundingRun(
        run_id=run.run_id,
        job_id=job.job_id,
        status=RunStatus(funding_views.run_status(job, run)),
        due_at=run.due_at,
        occurrence=run.occurrence,
        retry_of="" if run.retry_of is None else f"{RUN_PREFIX}{run.retry_of}",
        retried_by="" if run.retried_by is None else f"{RUN_PREFIX}{run.retried_by}",
        rows_total=run.row_count,
        rows_accepted=run.posted,
        amount_total=None if run.amount is None else major(run.amount, job.precision),
        precise_amount_total=run.amount,
        amount_accepted=major(run.posted_amount, job.precision),
        precise_amount_accepted=run.posted_amount,
        limit_reached=run.last_row is not None,
        refusal=None if run.refusal is None else Refusal(**json.loads(run.refusal)),
        created_at=run.created_at,
        started_at=run.started_at,
        ended_at=run.ended_at,
    )


def counted_run_of(job: JobRow, run: RunRow, counts: Counts) -> CountedRun:
    """A run of a job, with what its rows have come to."""
    return CountedRun(
        **fields_of(run_of(job, run)),
        rows_applied=counts.applied,
        rows_rejected=sum(counts.rejected.values()),
        rejected_by_reason={WIRE_NAMES[reason]: rows for reason, rows in counts.rejected.items()},
        rows_queued=counts.undecided,
        rows_unposted=counts.unposted,
        amount_applied=major(counts.applied_amount, job.precision),
        precise_amount_applied=counts.applied_amount,
        progress=round((counts.accepted - counts.undecided) / counts.total, 4) if counts.total else None,
        rate_per_s=round(counts.rate, 1),
        left_s=None if counts.left_s is None else round(counts.left_s, 1),
    )


def row_of(job: JobRow, row: RowState, transactions: Mapping[int, TransactionRow]) -> FundingRow:
    """A row of a run of this job. ``transactions`` are by seq."""
    transaction = transactions.get(row.seq or 0)
    first = transactions.get(row.first_seq or 0)
    rejected = transaction is not None and transaction.rejection is not None
    return FundingRow(
        row=row.row,
        destination=row.destination,
        amount=major(row.amount, job.precision),
        precise_amount=row.amount,
        currency=job.currency,
        description=row.description or job_terms(job).description,
        status=RowStatus.UNPOSTED if transaction is None else RowStatus(transaction.status),
        transaction_id="" if transaction is None else transaction.transaction_id,
        reference="" if transaction is None else transaction.reference,
        rejection=rejection_of(transaction) if transaction is not None and rejected else None,
        first_transaction_id="" if first is None else first.transaction_id,
    )


def dry_run_of(found: DryRun) -> FundingDryRun:
    """Make the answer of a dry run."""
    job = found.job
    rejected = [
        RejectedRow(
            row=row.row,
            destination=found.names[row.destination],
            precise_amount=row.amount,
            reason=WIRE_NAMES[outcome.rejection.reason],
            message=sum_text(outcome.rejection, job),
        )
        for row, outcome in found.examples
        if outcome.rejection is not None
    ]
    pool = PoolAfter(
        balance=found.pool_before,
        balance_after=found.pool_after,
        amount_after=major(found.pool_after, job.precision),
    )
    return FundingDryRun(
        would_run=found.refusal is None,
        refusal=None if found.refusal is None else Refusal(**found.refusal),
        name=job.name,
        currency=job.currency,
        precision=job.precision,
        rows_total=found.rows,
        amount_total=major(found.amount, job.precision),
        precise_amount_total=found.amount,
        rows_applied=found.applied,
        amount_applied=major(found.applied_amount, job.precision),
        precise_amount_applied=found.applied_amount,
        rows_rejected=sum(found.rejected.values()),
        rejected_by_reason={WIRE_NAMES[reason]: rows for reason, rows in sorted(found.rejected.items())},
        rows_beyond_limit=found.beyond_limit,
        rejected=rejected,
        new_balances=len(found.new_names),
        new_names=found.new_names[: funding_dry_run.REJECTED_LISTED],
        first_failure=_first_failure(rejected, found.refusal),
        pool=pool,
        next_runs=funding_forecast.next_occurrences(job),
    )


def funded(engine: Engine, balance: Balance, jobs: Sequence[JobRow]) -> Balance:
    """A balance, with what the next of these jobs, which will draw on it, makes of it."""
    if not jobs:
        return balance
    ahead = funding_forecast.forecast_within(engine, jobs[0], FORECAST_S)
    assert jobs[0].next_due is not None
    watch = PoolWatch(
        job_id=jobs[0].job_id,
        next_run_at=jobs[0].next_due,
        balance_after_next_run=None if ahead is None else ahead.balance_after,
        runs_left=None if ahead is None else ahead.runs_left,
    )
    return FundedBalance(**fields_of(balance), funding=watch)


def _rule(terms: FundingTerms) -> KeptRule | None:
    if terms.filters is None:
        return None
    return KeptRule(
        filters=terms.filters,
        logical_operator="or" if terms.logical_operator.lower() == "or" else "and",
        precise_amount=terms.amount,
        precise_top_up_to=terms.top_up_to,
    )


def _first_failure(rejected: Sequence[RejectedRow], refusal: dict[str, Any] | None) -> FirstFailedRow | None:
    if rejected:
        return FirstFailedRow(**fields_of(rejected[0]))
    if refusal is None or "first_row" not in refusal:
        return None
    return FirstFailedRow(row=refusal["first_row"], reason=refusal["reason"], message=refusal["message"])
