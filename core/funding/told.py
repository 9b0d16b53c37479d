"""Tells what became of jobs and runs in the feed of events: the facts, and the answer for a run that they have."""

import json
from collections.abc import Iterable
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from core.base.answers import encode, major
from core.funding import run_store
from core.funding import views as funding_views
from core.funding.answers import FundingRun, Refusal, RunStatus
from core.funding.job_store import JobRow
from core.funding.run_store import RunRow
from core.journal.event_types import EventType
from core.journal.facts import Fact
from core.ledger.rules.model import RUN_PREFIX


class JobTold(Struct, frozen=True, kw_only=True):
    """A funding job, as far as an event tells of it."""

    job_id: str
    reference: str
    name: str
    status: str


def of_job(type: EventType, job: JobRow) -> Fact:
    """Make the fact that something became of a job."""
    data = JobTold(job_id=job.job_id, reference=job.reference, name=job.name, status=funding_views.job_status(job))
    return Fact(type=type, data=encode(data).decode())


def of_runs(conn: Connection, type: EventType, job: JobRow, runs: Iterable[UUID]) -> list[Fact]:
    """Make the facts that something became of runs of a job. The runs are read as they are by now."""
    found = [run_store.find_run(conn, f"{RUN_PREFIX}{run}") for run in runs]
    return [Fact(type=type, data=encode(run_of(job, run)).decode()) for run in found if run is not None]


def run_of(job: JobRow, run: RunRow) -> FundingRun:
    """Make the answer for a run of a job."""
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
        rows_applied=run.applied,
        rows_rejected=run.rejected,
        amount_applied=None if run.applied_amount is None else major(run.applied_amount, job.precision),
        precise_amount_applied=run.applied_amount,
        refusal=None if run.refusal is None else Refusal(**json.loads(run.refusal)),
        created_at=run.created_at,
        started_at=run.started_at,
        ended_at=run.ended_at,
    )
