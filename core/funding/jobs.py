"""Use cases of existing funding jobs: find, pause, resume, cancel and run now. ``tries.py`` retries a run."""

from datetime import datetime
from zoneinfo import ZoneInfoNotFoundError

from sqlalchemy import Connection, Engine

from core.base import actors
from core.base.db import begin
from core.base.errors import Conflict, ErrorCode, InvalidRequest, NotFound
from core.base.ids import new_key
from core.base.sizes import MAX_META_DATA, size_problem
from core.funding import approval_store, job_store, missed, reach, run_store, told, twice
from core.funding.job_store import JobRow
from core.funding.missed import Missed
from core.funding.run_store import NewRun, RunRow
from core.funding.terms import job_terms, schedule_of
from core.journal.actions import Action, Event, text_of
from core.journal.event_types import EventType
from core.journal.facts import tell_all
from core.journal.record import record
from core.ledger.rules.validation import MAX_REFERENCE, new_name_problems, text_problems
from core.ledger.store import metadata as metadata_store

INVALID = ErrorCode.GEN_VALIDATION_ERROR

AT_ONCE = "now"
"""The occurrence of the run of a job that runs when it is created."""


def pause(engine: Engine, job_id: str) -> JobRow:
    """Pause a job: it posts no more rows, and no run of it comes due. A paused job stays paused.

    Raises:
        NotFound: there is no such job.
        Conflict: it is cancelled.
    """
    with begin(engine) as conn:
        job = lock_job(conn, job_id)
        if job.status == "CANCELLED":
            raise _conflict(job, "is cancelled, and so cannot be paused")
        if job.status == "WAITING_APPROVAL":
            raise _conflict(job, "waits for approval, and so cannot be paused; cancel it if nobody is to approve it")
        return _update_job(conn, job, job._replace(status="PAUSED"), Action.JOB_PAUSED)


def resume(engine: Engine, job_id: str, now: datetime) -> JobRow:
    """Resume a paused job: it goes on with its unfinished run, and its schedule counts from now on.

    The due times of a cron expression during the pause are skipped. A single due time is not: its run comes now.

    Raises:
        NotFound: there is no such job.
        Conflict: it is cancelled, or its time zone is not known any more.
    """
    with begin(engine) as conn:
        job = lock_job(conn, job_id)
        if job.status == "CANCELLED":
            raise _conflict(job, "is cancelled for good; make a new one")
        if job.status == "WAITING_APPROVAL":
            raise _conflict(job, "waits for approval by a key of another owner, and so cannot be resumed")
        reach.require_money(conn, job)
        return _update_job(conn, job, going_on(job, now), Action.JOB_RESUMED)


def going_on(job: JobRow, now: datetime) -> JobRow:
    """Return a job as it is when it goes on. Its schedule counts from now on.

    Raises:
        Conflict: its time zone is not known any more.
    """
    terms, next_due, skipped = job_terms(job), job.next_due, job.skipped
    if job.status != "ACTIVE" and terms.cron is not None and next_due is not None and next_due <= now:
        every = schedule_of(terms)._replace(count=None)
        try:
            due = missed.due(every, next_due=next_due, now=now, missed=Missed.ONCE, made=0)
        except ZoneInfoNotFoundError:
            raise _conflict(job, f"has the time zone {terms.timezone}, which is not known any more") from None
        next_due, skipped = due.next_due, skipped + due.skipped + len(due.runs)
    return job._replace(status="ACTIVE", next_due=next_due, skipped=skipped)


def cancel(engine: Engine, job_id: str, now: datetime) -> JobRow:
    """Cancel a job for good. Posted rows stay posted, and the others are never posted. A cancelled job stays cancelled.

    Raises:
        NotFound: there is no such job.
    """
    with begin(engine) as conn:
        job = lock_job(conn, job_id)
        runs = run_store.cancel_runs(conn, job.id, now)
        tell_all(conn, told.of_runs(conn, EventType.FUNDING_RUN_CANCELLED, job, runs))
        cancelled = job._replace(status="CANCELLED", next_due=None)
        return _update_job(conn, job, cancelled, Action.JOB_CANCELLED)


def run_now(
    engine: Engine, job_id: str, reference: str | None, now: datetime, *, again: bool = False
) -> tuple[RunRow, bool]:
    """Run a job once, beside its schedule. Returns the run, and whether an earlier request made it.

    ``again`` means that the rows are paid once more, whatever another run has paid.

    Raises:
        NotFound: there is no such job.
        Conflict: it is cancelled or paused, or its last run paid a part of the rows or was retried (FND_REPEATED).
        InvalidRequest: the reference is not valid.
    """
    if reference is not None and (problems := text_problems("reference", reference, MAX_REFERENCE // 2)):
        raise InvalidRequest(problems, INVALID)
    with begin(engine) as conn:
        job = lock_job(conn, job_id)
        occurrence = f"run_{reference or now.isoformat()}"
        if (first := run_store.find_run_of(conn, job.id, occurrence)) is not None:
            return first, True
        if problems := new_name_problems("reference", reference):
            raise InvalidRequest(problems, INVALID)
        reach.require_money(conn, job)
        _check_active(job)
        if approval_store.find(conn, job.id) is not None:
            raise _conflict(job, "is approved for the runs of its schedule alone; make a new one, and have it approved")
        if not again:
            twice.check_run(conn, job)
        run = insert_run_now(conn, job, now, occurrence)
        record(conn, Event(action=Action.JOB_RUN, subject=job.job_id, more={"run_id": run.run_id}))
        return run, False


def get_job(conn: Connection, job_id: str) -> JobRow:
    """Return a job by its ID.

    Raises:
        NotFound: there is no such job in reach of the request.
    """
    job = job_store.find_job(conn, job_id)
    if job is None or not reach.reaches(conn, job):
        raise NotFound(ErrorCode.FND_NOT_FOUND, f"Funding job with ID '{job_id}' not found")
    return job


def add_metadata(conn: Connection, job_id: str, meta_data: str) -> str:
    """Merge an object's JSON text into the metadata of a job. Returns all of it. Nothing of what the job pays changes.

    Raises:
        NotFound: there is no such job (META_ENTITY_NOT_FOUND).
        InvalidRequest: the merged metadata is too large.
    """
    try:
        job = get_job(conn, job_id)
    except NotFound:
        text = f"entity with ID '{job_id[:64]}' not found"
        raise NotFound(ErrorCode.META_ENTITY_NOT_FOUND, text) from None
    (change,) = metadata_store.merge_transactions(conn, [job.id], meta_data)
    if problem := size_problem(len(change.after.encode()), MAX_META_DATA, "bytes with what is there already"):
        raise InvalidRequest([("meta_data", problem)], ErrorCode.GEN_VALIDATION_ERROR)
    record(
        conn,
        Event(action=Action.METADATA_CHANGED, subject=job.job_id, before=change.before, after=change.after),
    )
    return change.after


def get_run(conn: Connection, job: JobRow, run_id: str) -> RunRow:
    """Return a run of a job by its ID.

    Raises:
        NotFound: the job has no such run.
    """
    run = run_store.find_run(conn, run_id)
    if run is None or run.job != job.id:
        raise NotFound(ErrorCode.FND_NOT_FOUND, f"Run with ID '{run_id}' not found in funding job {job.job_id}")
    return run


def lock_job(conn: Connection, job_id: str) -> JobRow:
    """Lock a job and return it. It is read again under the lock, because another caller may have changed it."""
    job_store.find_job(conn, job_id, lock=True)
    return get_job(conn, job_id)


def _update_job(conn: Connection, before: JobRow, job: JobRow, action: Action) -> JobRow:
    job_store.update_job(conn, job)
    if job.status != before.status:
        fact = told.of_job(_TOLD[action], job)
        record(conn, Event(action=action, subject=job.job_id, before=_audited(before), after=_audited(job), fact=fact))
    return get_job(conn, job.job_id)


_TOLD = {
    Action.JOB_PAUSED: EventType.FUNDING_JOB_PAUSED,
    Action.JOB_RESUMED: EventType.FUNDING_JOB_RESUMED,
    Action.JOB_CANCELLED: EventType.FUNDING_JOB_CANCELLED,
}


def _audited(job: JobRow) -> str:
    return text_of(status=job.status, next_due=job.next_due, skipped=job.skipped)


def insert_run_now(conn: Connection, job: JobRow, now: datetime, occurrence: str = AT_ONCE) -> RunRow:
    """Insert a run that is due now, beside the schedule of its job, and return it."""
    asked_by = actors.current().key_id
    run_store.insert_run(conn, NewRun(new_key(), job.id, occurrence, due_at=now, created_at=now, actor=asked_by))
    run = run_store.find_run_of(conn, job.id, occurrence)
    assert run is not None
    return run


def _check_active(job: JobRow) -> None:
    if job.status != "ACTIVE":
        raise _conflict(job, _INACTIVE[job.status])


_INACTIVE = {
    "CANCELLED": "is cancelled; make a new one",
    "PAUSED": "is paused; resume it",
    "WAITING_APPROVAL": "waits for approval",
}


def _conflict(job: JobRow, text: str) -> Conflict:
    return Conflict(ErrorCode.GEN_CONFLICT, f"the job {text}", {"status": job.status})
