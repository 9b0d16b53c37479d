"""Funding jobs, once they are there: find one, pause, resume or cancel it, run it once more, retry what was rejected."""

from datetime import datetime
from zoneinfo import ZoneInfoNotFoundError

from sqlalchemy import Connection, Engine

from core.base.db import begin
from core.base.errors import Conflict, ErrorCode, InvalidRequest, NotFound
from core.base.ids import new_key
from core.funding import job_store, missed, posting_store, row_store, run_store
from core.funding.job_store import JobRow
from core.funding.missed import Missed
from core.funding.run_store import NewRun, RunRow
from core.funding.terms import job_terms, schedule_of
from core.ledger.rules.model import RUN_PREFIX
from core.ledger.rules.validation import MAX_REFERENCE, text_problems

INVALID = ErrorCode.GEN_VALIDATION_ERROR

AT_ONCE = "now"
"""The occurrence of a job that runs when it is made."""


def pause(engine: Engine, job_id: str) -> JobRow:
    """Stop a job after the rows that are posted; nothing comes due. Pausing twice is pausing.

    Raises:
        NotFound: there is no such job.
        Conflict: it is cancelled.
    """
    with begin(engine) as conn:
        job = _lock_job(conn, job_id)
        if job.status == "CANCELLED":
            raise _conflict(job, "is cancelled, and so cannot be paused")
        return _update_job(conn, job._replace(status="PAUSED"))


def resume(engine: Engine, job_id: str, now: datetime) -> JobRow:
    """Go on with a job that is paused: with the run that it was at, and with what its schedule has from now on.

    What its cron expression had meanwhile is skipped, for it was paused on purpose; a single time still comes.

    Raises:
        NotFound, Conflict: as ``pause``.
    """
    with begin(engine) as conn:
        job = _lock_job(conn, job_id)
        if job.status == "CANCELLED":
            raise _conflict(job, "is cancelled for good; make a new one")
        terms, next_due, skipped = job_terms(job), job.next_due, job.skipped
        if job.status == "PAUSED" and terms.cron is not None and next_due is not None and next_due <= now:
            every = schedule_of(terms)._replace(count=None)
            try:
                due = missed.due(every, next_due=next_due, now=now, missed=Missed.ONCE, made=0)
            except ZoneInfoNotFoundError:
                raise _conflict(job, f"has the time zone {terms.timezone}, which is not known any more") from None
            next_due, skipped = due.next_due, skipped + due.skipped + len(due.runs)
        return _update_job(conn, job._replace(status="ACTIVE", next_due=next_due, skipped=skipped))


def cancel(engine: Engine, job_id: str, now: datetime) -> JobRow:
    """End a job. What is posted stays; what is not stays unposted. Cancelling twice is cancelling.

    Raises:
        NotFound: there is no such job.
    """
    with begin(engine) as conn:
        job = _lock_job(conn, job_id)
        run_store.cancel_runs(conn, job.id, now)
        return _update_job(conn, job._replace(status="CANCELLED", next_due=None))


def run_now(engine: Engine, job_id: str, reference: str | None, now: datetime) -> tuple[RunRow, bool]:
    """Run a job once more, beside its schedule. Returns the run, and whether it was there before.

    Raises:
        NotFound: there is no such job.
        Conflict: it is cancelled or paused.
        InvalidRequest: the reference is none.
    """
    if reference is not None and (problems := text_problems("reference", reference, MAX_REFERENCE // 2)):
        raise InvalidRequest(problems, INVALID)
    with begin(engine) as conn:
        job = _lock_job(conn, job_id)
        occurrence = f"run_{reference or now.isoformat()}"
        if (first := run_store.find_run_of(conn, job.id, occurrence)) is not None:
            return first, True
        _check_active(job)
        return insert_run_now(conn, job, now, occurrence), False


def retry(engine: Engine, job_id: str, run_id: str, now: datetime) -> tuple[RunRow, bool]:
    """Post the rejected rows of a run again, under new references. Returns the new run, and whether it was there before.

    Each run is retried once; what is rejected again, or was not posted again, is a matter of the new one.

    Raises:
        NotFound: there is no such job, or run of it.
        Conflict: it is not decided yet, or nothing of it was rejected, or the job is cancelled or paused.
    """
    with begin(engine) as conn:
        job = _lock_job(conn, job_id)
        run = get_run(conn, job, run_id)
        if run.retried_by is not None:
            again = run_store.find_run(conn, f"{RUN_PREFIX}{run.retried_by}")
            assert again is not None
            return again, True
        _check_active(job)
        if run.status in ("PENDING", "POSTING") or any(
            each.status is None for each in posting_store.tally(conn, run.id)
        ):
            raise Conflict(
                ErrorCode.GEN_CONFLICT, "the run is not decided yet; retry it when it is", {"status": run.status}
            )
        id = new_key()
        occurrence = f"retry_{run.run_id}"
        run_store.insert_run(conn, NewRun(id, job.id, occurrence, due_at=now, created_at=now, retry_of=run.id))
        if not row_store.fill_with_rejected(conn, id, run.id):
            raise Conflict(ErrorCode.GEN_CONFLICT, "no row of the run was rejected; there is nothing to retry", {})
        again = run_store.find_run(conn, f"{RUN_PREFIX}{id}")
        assert again is not None
        return again, False


def get_job(conn: Connection, job_id: str) -> JobRow:
    """Return a job by its id.

    Raises:
        NotFound: there is none.
    """
    job = job_store.find_job(conn, job_id)
    if job is None:
        raise NotFound(ErrorCode.FND_NOT_FOUND, f"Funding job with ID '{job_id}' not found")
    return job


def get_run(conn: Connection, job: JobRow, run_id: str) -> RunRow:
    """Return a run of a job by its id.

    Raises:
        NotFound: there is none.
    """
    run = run_store.find_run(conn, run_id)
    if run is None or run.job != job.id:
        raise NotFound(ErrorCode.FND_NOT_FOUND, f"Run with ID '{run_id}' not found in funding job {job.job_id}")
    return run


def _lock_job(conn: Connection, job_id: str) -> JobRow:
    """Lock a job, and return it as it is once whoever had it is done."""
    job_store.find_job(conn, job_id, lock=True)
    return get_job(conn, job_id)


def _update_job(conn: Connection, job: JobRow) -> JobRow:
    job_store.update_job(conn, job)
    return get_job(conn, job.job_id)


def insert_run_now(conn: Connection, job: JobRow, now: datetime, occurrence: str = AT_ONCE) -> RunRow:
    """Add a run that is due now, beside the schedule of its job."""
    run_store.insert_run(conn, NewRun(new_key(), job.id, occurrence, due_at=now, created_at=now))
    run = run_store.find_run_of(conn, job.id, occurrence)
    assert run is not None
    return run


def _check_active(job: JobRow) -> None:
    if job.status != "ACTIVE":
        raise _conflict(job, "is cancelled; make a new one" if job.status == "CANCELLED" else "is paused; resume it")


def _conflict(job: JobRow, text: str) -> Conflict:
    return Conflict(ErrorCode.GEN_CONFLICT, f"the job {text}", {"status": job.status})
