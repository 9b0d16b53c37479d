"""``/funding-jobs``: create a job or dry-run it, list, read, pause, resume and run jobs, and read their runs and rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from flask import Blueprint, Response, request
from msgspec import Struct

import celeryconfig
from core.base import clock
from core.base.db import reading, reading_within
from core.base.errors import ErrorCode, InvalidRequest, NotFound
from core.base.problems import MAX_LISTED
from core.funding import approvals, forecast, job_store, posting_store, run_store, tries
from core.funding import create as funding_create
from core.funding import dry_run as funding_dry_run
from core.funding import jobs as funding_jobs
from core.funding import reach as funding_reach
from core.funding import views as funding_views
from core.funding.answers import (
    CountedRun,
    FundingJob,
    FundingJobRead,
    FundingRow,
    FundingRun,
    ListedFundingJob,
    NewFundingJob,
)
from core.funding.dry_run_answers import FundingDryRun
from core.funding.files.reader import FileReader
from core.funding.files.rejects import MAX_REJECTS, Rejects
from core.funding.job_store import JOB_PREFIX, JobRow
from core.funding.posting_store import ROW_STATUSES
from core.funding.presenter import (
    FORECAST_S,
    counted_run_of,
    dry_run_of,
    job_of,
    job_read_of,
    listed_job_of,
    new_job_of,
    row_of,
)
from core.funding.recipients import of_list
from core.funding.requests import ApproveRequest, FundingRequest, RefuseRequest, RetryRequest, RunRequest
from core.funding.run_store import RunRow
from core.funding.told import run_of
from core.ledger.rules.model import RUN_PREFIX
from web.http import operations, parameters, retries, wire
from web.http import pages as lists
from web.http.operations import operation
from web.service import service
from web.uploads import JOB, UPLOAD, funding_request

blueprint = Blueprint("funding", __name__)


COUNTED_S = 30.0


@blueprint.post("/funding-jobs")
@parameters.takes(JOB)
@operation({201: NewFundingJob, 200: NewFundingJob | FundingDryRun}, 404, 409, body=FundingRequest, form=UPLOAD)
@retries.once
def create() -> Response:
    """Create a funding job.

    A job without a date runs at once. The status is 201, or 200 when the same job was there before.

    The job has a list of ``recipients``, or a ``rule`` that chooses them. The list may also be a file of up to 256 MiB: a CSV
    with any separator, .xlsx or .ods. The body is then ``multipart/form-data``: the part ``job`` is this JSON without
    recipients, and the part ``recipients`` is the file. Or the body is the file itself, and ``?job=`` is the JSON. The header
    of the file is ``destination,amount,description``, or has ``precise_amount`` in place of ``amount``; ``file`` says what
    other files mean. What is not certain is refused, and ``details.proposal`` says what would make it certain.

    All rows are checked before anything is stored. ``details.problems`` lists the first hundred problems by row, field,
    message, and text as it stands in the file. ``details.problem_count`` counts all, and ``details.rows_fine`` the rows without
    any. ``row`` is the line in the file or the row in the sheet, from 1, or the place in the list, from 1. With ``dry_run``
    nothing is stored, and the answer is the result that a run would have with the balances as they are now.
    """
    with funding_request(MAX_LISTED) as (asked, rows):
        return _create(asked, rows)


@blueprint.post("/funding-jobs/rejects")
@parameters.takes(JOB)
@operation({200: None}, 404, body=FundingRequest, form=UPLOAD, media=operations.CSV)
def read_rejects() -> Response:
    """List the rows that cannot be paid.

    The body is that of ``POST /funding-jobs``, and nothing is stored. The answer is a CSV of the rows that would be refused,
    with two more columns: ``row`` is the number of the row, and ``why`` says what is wrong. The file can be mended and sent
    as a list; both columns are left out then. ``file.without_rows`` leaves these rows out of the job that pays the others. The
    header ``X-Rows-Fine`` counts those.
    """
    with funding_request(MAX_REJECTS) as (asked, rows), _explained(rows):
        ledger, now = service(), clock.now_of(service().engine)
        try:
            tried = funding_dry_run.dry_run_job(ledger.engine, asked, rows, ledger.directory, now)
            fine, text = tried.rows, b""
        except InvalidRequest as error:
            rejects = Rejects(error)
            given = rows if rows is not None else of_list(asked.recipients or ())
            fine, text = rejects.fine, rejects.csv(given)
    response = Response(text, mimetype=operations.CSV)
    response.headers["X-Rows-Fine"] = str(fine)
    return response


@blueprint.get("/funding-jobs")
@parameters.takes(
    parameters.LIMIT,
    parameters.after("fund_01928ee1-7e5a-7000-8000-000000000000"),
    parameters.one_of("status", funding_views.JOB_STATUSES, "The present status of the jobs."),
    parameters.Parameter(
        "source", {"type": "string"}, "The pool that pays: a balance ID, or an @Name.", "@FundingPool"
    ),
)
@operation({200: list[ListedFundingJob]})
def read_page() -> Response:
    """List funding jobs.

    The newest job comes first. Each has its last run, with how many rows are applied.
    """
    limit, _ = parameters.limit_offset(default=20, largest=100, what="invalid")
    after, status = parameters.after_id(JOB_PREFIX, "a funding job"), _status(funding_views.JOB_STATUSES)
    source = request.args.get("source")
    with reading(service().engine) as conn:
        jobs = job_store.list_jobs(conn, limit=limit, after=after, status=status, source=source)
        last = run_store.last_runs(conn, [job.id for job in jobs])
    return lists.listed(jobs, limit, lambda job: listed_job_of(job, last.get(job.id)), lambda job: job.job_id)


@blueprint.get("/funding-jobs/<job_id>")
@operation({200: FundingJobRead}, 404)
def read(job_id: str) -> Response:
    """Read a funding job.

    The answer has the job's last run, its next runs, and the balance of the pool after the next run.
    """
    with reading(service().engine) as conn:
        job = funding_jobs.get_job(conn, job_id)
    return _answer_job(job)


@blueprint.get("/funding-jobs/reference/<rest:reference>")
@operation({200: FundingJobRead}, 404)
def read_reference(reference: str) -> Response:
    """Read a funding job by its reference.

    The answer is the same as for the job's ID.
    """
    with reading(service().engine) as conn:
        job = job_store.find_job_by_reference(conn, reference)
        is_there = job is not None and funding_reach.reaches(conn, job)
    if job is None or not is_there:
        raise NotFound(ErrorCode.FND_NOT_FOUND, f"Funding job with reference '{reference}' not found")
    return _answer_job(job)


def _answer_job(job: JobRow) -> Response:
    ledger = service()
    with reading(ledger.engine) as conn:
        last = next(iter(run_store.list_runs(conn, job.id, limit=1, after=None)), None)
    ahead = None if job.status == "CANCELLED" else forecast.forecast_within(ledger.engine, job, FORECAST_S)
    return wire.answer(job_read_of(job, last, ahead, approvals.read(ledger.engine, job)))


@blueprint.post("/funding-jobs/<job_id>/pause")
@operation({200: FundingJob}, 404, 409)
def pause(job_id: str) -> Response:
    """Pause a funding job.

    The job stops after the rows that are posted. Nothing comes due until the job is resumed.
    """
    return wire.answer(job_of(funding_jobs.pause(service().engine, job_id)))


@blueprint.post("/funding-jobs/<job_id>/resume")
@operation({200: FundingJob}, 404, 409)
def resume(job_id: str) -> Response:
    """Resume a funding job.

    The job goes on with the run at which it was paused, and with its schedule from now on. Occurrences during the pause are
    skipped.
    """
    ledger = service()
    job = funding_jobs.resume(ledger.engine, job_id, clock.now_of(ledger.engine))
    ledger.doorbell.wake(celeryconfig.FUND)
    return wire.answer(job_of(job))


@blueprint.post("/funding-jobs/<job_id>/cancel")
@operation({200: FundingJob}, 404)
def cancel(job_id: str) -> Response:
    """Cancel a funding job.

    The job has no more runs. Posted rows stay posted, and the other rows are posted only if somebody retries the run.
    """
    return wire.answer(job_of(funding_jobs.cancel(service().engine, job_id, clock.now_of(service().engine))))


@blueprint.post("/funding-jobs/<job_id>/approve")
@operation({200: FundingJob}, 404, 409, body=ApproveRequest)
def approve(job_id: str) -> Response:
    """Approve a funding job.

    It is for a key of another owner than the one that asked for the job. ``digest`` is the one of the job's ``approval``. The
    answer is 409 when the job would now post something else than was seen under it.
    """
    asked, engine = wire.body(ApproveRequest), service().engine
    return wire.answer(job_of(approvals.approve(engine, job_id, asked.digest, clock.now_of(engine))))


@blueprint.post("/funding-jobs/<job_id>/refuse")
@operation({200: FundingJob}, 404, 409, body=RefuseRequest)
def refuse(job_id: str) -> Response:
    """Refuse to approve a funding job.

    The job is then cancelled for good. It is for a key of another owner than the one that asked for the job.
    """
    asked, engine = wire.body(RefuseRequest, optional=True), service().engine
    return wire.answer(job_of(approvals.refuse(engine, job_id, asked.reason, clock.now_of(engine))))


@blueprint.post("/funding-jobs/<job_id>/run")
@operation({201: FundingRun, 200: FundingRun}, 404, 409, body=RunRequest)
@retries.once
def run(job_id: str) -> Response:
    """Run a funding job now.

    The run comes beside the job's schedule, and pays all rows. Requests with the same ``reference`` make one run. The status
    is 409 (FND_REPEATED) when the last run paid a part of its rows, for a retry pays the rest alone, and when it was retried.
    ``again``, or a ``reference``, pays all rows once more all the same.
    """
    asked = wire.body(RunRequest, optional=True)
    reference = retries.reference() if asked.reference is None else asked.reference
    engine, again = service().engine, asked.reference is not None if asked.again is None else asked.again
    found, replayed = funding_jobs.run_now(engine, job_id, reference, clock.now_of(engine), again=again)
    return _started(job_id, found, replayed)


@blueprint.get("/funding-jobs/<job_id>/runs")
@operation({200: list[FundingRun]}, 404)
@parameters.takes(parameters.LIMIT, parameters.after("run_01928ee1-7e5a-7000-8000-000000000000"))
def read_runs(job_id: str) -> Response:
    """List the runs of a funding job.

    The newest run comes first.
    """
    limit, _ = parameters.limit_offset(default=20, largest=100, what="invalid")
    after = parameters.after_id(RUN_PREFIX, "a run")
    with reading(service().engine) as conn:
        job = funding_jobs.get_job(conn, job_id)
        runs = run_store.list_runs(conn, job.id, limit=limit, after=after)
    return lists.listed(runs, limit, partial(run_of, job), lambda run: run.run_id)


@blueprint.get("/funding-jobs/<job_id>/runs/<run_id>")
@operation({200: CountedRun}, 404)
@parameters.takes(parameters.WAIT)
def read_run(job_id: str, run_id: str) -> Response:
    """Read a run of a funding job.

    The answer counts the run's rows by their status. With ``?wait=`` it comes as soon as the run is COMPLETED, REFUSED or
    CANCELLED.
    """
    wait_s = parameters.wait_s()
    ledger = service()

    def is_over() -> bool:
        with reading(ledger.engine) as conn:
            return funding_jobs.get_run(conn, funding_jobs.get_job(conn, job_id), run_id).ended_at is not None

    if wait_s:
        ledger.waiting.until(is_over, wait_s)
    # One snapshot, so that the run and the counts of its rows agree.
    with reading_within(ledger.engine, COUNTED_S) as conn:
        job = funding_jobs.get_job(conn, job_id)
        found = funding_jobs.get_run(conn, job, run_id)
        counts = funding_views.counts_of(job, found, posting_store.tally(conn, found.id), clock.now(conn))
        family = [] if found.is_open else funding_views.tries_of(conn, job, found)
    return wire.answer(counted_run_of(job, found, counts, family))


@blueprint.get("/funding-jobs/<job_id>/runs/<run_id>/rows")
@parameters.takes(
    parameters.LIMIT,
    parameters.after("5"),
    parameters.one_of("status", ROW_STATUSES, "The present status of the rows."),
)
@operation({200: list[FundingRow]}, 404, media=operations.CSV)
def read_rows(job_id: str, run_id: str) -> Response:
    """List the rows of a run.

    Each row comes with its transaction. The answer is JSON, or CSV for ``Accept: text/csv``. A run has no rows before it starts.
    """
    limit, _ = parameters.limit_offset(default=100, largest=10_000, what="invalid")
    after, status = parameters.after_number("number of a row"), _status(tuple(ROW_STATUSES))
    with reading(service().engine) as conn:
        job = funding_jobs.get_job(conn, job_id)
        found = funding_jobs.get_run(conn, job, run_id)
        rows, transactions = funding_views.read_row_states(conn, found, limit=limit, after=after or 0, status=status)
    return lists.listed(rows, limit, lambda row: row_of(job, row, transactions), lambda row: row.row, FundingRow)


@blueprint.post("/funding-jobs/<job_id>/runs/<run_id>/retry")
@operation({201: FundingRun, 200: FundingRun}, 404, 409, body=RetryRequest)
@retries.once
def retry(job_id: str, run_id: str) -> Response:
    """Retry the rest of a run.

    The rows that the run and its tries rejected or did not post are posted, as a run of their own. Over all tries of a run
    each row is paid at most once. ``only`` limits them to the ``rejected`` or the ``unposted`` rows. A cancelled job becomes
    active for the try, and its schedule stays over. The status is 200 with the newest try when no row is left. It is 409
    (FND_REPEATED) when the job was run by hand since, unless ``again`` says that the rows are paid all the same.
    """
    asked = wire.body(RetryRequest, optional=True)
    ledger = service()
    now, again = clock.now_of(ledger.engine), bool(asked.again)
    found, replayed = tries.retry(ledger.engine, job_id, run_id, now, asked.only, again=again)
    return _started(job_id, found, replayed)


def _create(asked: FundingRequest, rows: FileReader | None) -> Response:
    ledger, now = service(), clock.now_of(service().engine)
    with _explained(rows):
        if asked.dry_run:
            tried = funding_dry_run.dry_run_job(ledger.engine, asked, rows, ledger.directory, now)
            return wire.answer(dry_run_of(tried, rows.found if rows is not None else None))
        if asked.reference is None and (reference := retries.reference()):
            # A library may make a new key for each call, so a key alone does not say that the same list is meant once more.
            asked.reference, asked.again = reference, bool(asked.again)
        job, first, replayed = funding_create.create_job(
            ledger.engine,
            asked,
            rows,
            ledger.directory,
            now,
            repeated_within=ledger.funding_repeat,
            approve_above=ledger.approve_above,
        )
    ledger.doorbell.wake(celeryconfig.FUND)
    return _once(new_job_of(job, first, rows.found if rows is not None else None), replayed)


@contextmanager
def _explained(rows: FileReader | None) -> Iterator[None]:
    """Add to the error of a list how its file was read, and what the request may say so that more of it can be read."""
    try:
        yield
    except InvalidRequest as error:
        if rows is not None and error.code == ErrorCode.FND_INVALID_RECIPIENTS:
            proposal = rows.finds.proposal()
            more = {"file": rows.found} if proposal is None else {"file": rows.found, "proposal": proposal}
            error.details = {**(error.details or {}), **more}
        raise


def _started(job_id: str, run: RunRow, replayed: bool) -> Response:
    ledger = service()
    ledger.doorbell.wake(celeryconfig.FUND)
    with reading(ledger.engine) as conn:
        job = funding_jobs.get_job(conn, job_id)
    return _once(run_of(job, run), replayed)


def _once(body: Struct, replayed: bool) -> Response:
    response = wire.answer(body, 200 if replayed else 201)
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def _status(known: tuple[str, ...]) -> str | None:
    text = request.args.get("status")
    if text is not None and text not in known:
        raise InvalidRequest([("status", f"must be one of {', '.join(known)}")], ErrorCode.GEN_VALIDATION_ERROR)
    return text
