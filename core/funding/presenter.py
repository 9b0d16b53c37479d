"""Make the answers about funding jobs, runs and rows from what the stores return."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine

from core.base.answers import fields_of, major, members
from core.funding import dry_run as funding_dry_run
from core.funding import forecast as funding_forecast
from core.funding import views as funding_views
from core.funding.answers import (
    CountedRun,
    FundedBalance,
    FundingApproval,
    FundingJob,
    FundingJobRead,
    FundingRow,
    FundingTry,
    JobStatus,
    KeptRule,
    ListedFundingJob,
    NewFundingJob,
    PoolForecast,
    PoolWatch,
    Refusal,
    RowStatus,
    RunStatus,
)
from core.funding.approvals import Approval
from core.funding.dry_run import DryRun
from core.funding.dry_run_answers import FirstFailedRow, FundingDryRun, ListedRow, OddRows, PoolAfter, RejectedRow
from core.funding.files.found import FileRead
from core.funding.forecast import Forecast
from core.funding.job_store import JobRow
from core.funding.look_store import Seen
from core.funding.missed import Missed
from core.funding.posting_store import RowState
from core.funding.requests import FundingTerms
from core.funding.run_store import RunRow
from core.funding.terms import job_terms
from core.funding.told import run_of
from core.funding.views import Counts, Try
from core.ledger.answers import rejection_of
from core.ledger.balances import Balance
from core.ledger.explain import WIRE_NAMES, sum_text
from core.ledger.rules.model import RUN_PREFIX
from core.ledger.store.transaction_rows import TransactionRow

FORECAST_S = 2.0
"""The seconds that a forecast may take. The forecast of a rule reads every balance that the rule names."""


def job_of(job: JobRow) -> FundingJob:
    """Make the answer for a job: its terms and its state."""
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
        meta_data=members(job.meta_data),
    )


def new_job_of(job: JobRow, run: RunRow | None, file: FileRead | None) -> NewFundingJob:
    """Make the answer for a new job. ``run`` is its run when it runs now."""
    return NewFundingJob(
        **fields_of(job_of(job)),
        file=file,
        run=None if run is None else run_of(job, run),
        next_runs=funding_forecast.next_occurrences(job),
    )


def listed_job_of(job: JobRow, last_run: RunRow | None) -> ListedFundingJob:
    """Make the answer for a job in a list."""
    return ListedFundingJob(**fields_of(job_of(job)), last_run=None if last_run is None else run_of(job, last_run))


def job_read_of(
    job: JobRow, last_run: RunRow | None, ahead: Forecast | None, approval: Approval | None
) -> FundingJobRead:
    """Make the answer for a job with its last run, its next runs and the forecast of its pool."""
    return FundingJobRead(
        **fields_of(job_of(job)),
        last_run=None if last_run is None else run_of(job, last_run),
        next_runs=funding_forecast.next_occurrences(job),
        pool=None if ahead is None else forecast_of(ahead, job.precision),
        approval=None if approval is None else _approval_of(approval),
    )


def _approval_of(found: Approval) -> FundingApproval:
    row, seen = found.row, found.seen
    digest = row.digest if seen is None else seen.digest
    return FundingApproval(
        status=row.status,  # type: ignore[arg-type]
        digest="" if digest is None else digest.hex(),
        covers_rows=found.covers_rows,
        rows=None if seen is None else seen.rows,
        precise_amount=None if seen is None else seen.amount,
        asked_by=row.asked_by,
        owner=row.owner,
        decided_by=row.decided_by or "",
        decided_at=row.decided_at,
        reason=row.reason or "",
    )


def forecast_of(found: Forecast, precision: int) -> PoolForecast:
    """Make the answer for a forecast of the pool."""
    return PoolForecast(
        balance=found.balance,
        next_run_rows=found.rows,
        next_run_precise_amount=found.amount,
        balance_after_next_run=found.balance_after,
        runs_left=found.runs_left,
        amount_after_next_run=major(found.balance_after, precision),
    )


def counted_run_of(job: JobRow, run: RunRow, counts: Counts, family: Sequence[Try] = ()) -> CountedRun:
    """Make the answer for a run of a job with the counts of its rows. ``family`` is the run, if it is over, and its tries."""
    counted = run._replace(
        applied=counts.applied, applied_amount=counts.applied_amount, rejected=sum(counts.rejected.values())
    )
    return CountedRun(
        **fields_of(run_of(job, counted)),
        rejected_by_reason={WIRE_NAMES[reason]: rows for reason, rows in counts.rejected.items()},
        rows_queued=counts.undecided,
        rows_unposted=counts.unposted,
        progress=round((counts.accepted - counts.undecided) / counts.total, 4) if counts.total else None,
        rate_per_s=round(counts.rate, 1),
        left_s=None if counts.left_s is None else round(counts.left_s, 1),
        rows_to_retry=sum(each.left for each in family) if family else None,
        tries=[_try_of(job, each) for each in family if each.run.id != run.id],
    )


def _try_of(job: JobRow, one: Try) -> FundingTry:
    run = one.run
    return FundingTry(
        run_id=run.run_id,
        retry_of=f"{RUN_PREFIX}{run.retry_of}",
        status=RunStatus(funding_views.run_status(job, run)),
        rows_total=run.row_count,
        rows_applied=one.result.applied,
        rows_rejected=one.result.rejected,
        rows_unposted=None if run.row_count is None else run.row_count - run.posted,
        precise_amount_applied=one.result.amount,
        created_at=run.created_at,
    )


def row_of(job: JobRow, row: RowState, transactions: Mapping[int, TransactionRow]) -> FundingRow:
    """Make the answer for a row of a run. ``transactions`` maps a seq to its transaction."""
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


def dry_run_of(found: DryRun, file: FileRead | None) -> FundingDryRun:
    """Make the answer for a dry run."""
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
        file=file,
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
        first_rows=[_listed(row) for row in found.first_rows],
        largest_rows=[_listed(row) for row in found.largest_rows],
        odd=[
            OddRows(kind=kind, count=rows[0].alike, rows=[_listed(row) for row in rows])
            for kind, rows in found.odd.items()
        ],
        next_runs=funding_forecast.next_occurrences(job),
    )


def _listed(row: Seen) -> ListedRow:
    return ListedRow(
        row=row.row, destination=row.destination, precise_amount=row.amount, description=row.description or ""
    )


def funded(engine: Engine, balance: Balance, jobs: Sequence[JobRow]) -> Balance:
    """Add the next funding job to a balance. ``jobs`` are the jobs that will draw on it, the next one first."""
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
