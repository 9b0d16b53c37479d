"""Try the rest of a run again: post what it rejected or did not post, each row once over all tries."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, Engine

from core.base import actors
from core.base.db import begin
from core.base.errors import Conflict, ErrorCode, InvalidRequest
from core.base.ids import new_key
from core.funding import approvals, job_store, pledged, posting_store, reach, run_store, try_store, twice
from core.funding.job_store import JobRow
from core.funding.jobs import INVALID, get_run, lock_job
from core.funding.run_store import NewRun, RunRow
from core.funding.terms import job_terms
from core.journal.actions import Action, Event
from core.journal.record import record
from core.ledger.rules.model import RUN_PREFIX

ONLY = (try_store.REJECTED, try_store.UNPOSTED)
"""The kinds of rows that a try may be limited to."""

WITHIN_S = 120.0
"""The rows of a run of a million are looked up in so long, even on a busy machine."""


def retry(
    engine: Engine, job_id: str, run_id: str, now: datetime, only: str | None = None, *, again: bool = False
) -> tuple[RunRow, bool]:
    """Post the rejected and unposted rows of a run, and of its earlier tries, in a new run under new references.

    Returns the new run, and whether an earlier request made it. ``only`` limits the rows to one kind. A cancelled job
    becomes active for the try, and its schedule stays over. ``again`` means that the rows are paid even if a run by hand may
    have paid them since.

    Raises:
        InvalidRequest: ``only`` is not one of ``ONLY``.
        NotFound: there is no such job, or it has no such run.
        Conflict: the run is not decided yet, no row is left, the job is paused, or it was run by hand since.
    """
    if only is not None and only not in ONLY:
        raise InvalidRequest([("only", f"must be {' or '.join(ONLY)}")], INVALID)
    with begin(engine, within_s=WITHIN_S) as conn:
        job = lock_job(conn, job_id)
        approvals.check_may_pay(conn, job)
        reach.require_money(conn, job)
        run = get_run(conn, job, run_id)
        family = [_read(conn, f"{RUN_PREFIX}{key}") for key in try_store.family_of(conn, run.id)]
        attempt = conn.begin_nested()
        id = _insert(conn, run, now)
        rows = try_store.take_rows(conn, id, run.id, only)
        if rows:
            attempt.commit()
        else:
            attempt.rollback()
            if (last := try_store.last_try(conn, run.id, only)) is not None:
                return _read(conn, f"{RUN_PREFIX}{last}"), True
        for each in family:
            if each.is_open or posting_store.undecided_piece(conn, each):
                text = f"{each.run_id} is not decided yet; retry it when it is"
                raise Conflict(ErrorCode.GEN_CONFLICT, text, {"run_id": each.run_id, "status": each.status})
        if not rows and (why := run.refused_for_good) is not None:
            text = f"the run was refused, and is not tried again: {why}; make a new job"
            raise Conflict(ErrorCode.GEN_CONFLICT, text, {"run_id": run.run_id, "status": run.status})
        if not rows:
            what = "rejected or left out" if only is None else only
            text = f"no row of the run was {what}; there is nothing to retry"
            raise Conflict(ErrorCode.GEN_CONFLICT, text, {})
        if job.status == "PAUSED":
            raise Conflict(ErrorCode.GEN_CONFLICT, "the job is paused; resume it", {"status": job.status})
        if not again:
            twice.check_retry(conn, job, run)
        _pledge(conn, job, family, id)
        if job.status == "CANCELLED":
            job_store.update_job(conn, job._replace(status="ACTIVE"))
        made = _read(conn, f"{RUN_PREFIX}{id}")
        more = {"run_id": made.run_id, "retry_of": run.run_id, "rows": rows}
        record(conn, Event(action=Action.JOB_RETRIED, subject=job.job_id, more=more))
        return made, False


def _pledge(conn: Connection, job: JobRow, family: Sequence[RunRow], id: UUID) -> None:
    """Keep the hashes of the rows of a try, which come from the lists of a run and its tries.

    Raises:
        Conflict: somebody has altered one of those lists in the database.
    """
    lists = {each.list or (each.id if each.retry_of else job.id) for each in family}
    for list in lists:
        if (wrong := pledged.altered_rows(conn, job, list)) is not None:
            text = f"{wrong}: somebody changed them in the database; make a new job"
            raise Conflict(ErrorCode.GEN_CONFLICT, text, {"run_id": family[0].run_id})
    # A top-up is cut to what is missing when it starts.
    if job.actor is not None and job_terms(job).top_up_to is None:
        pledged.keep(conn, id)


def _insert(conn: Connection, run: RunRow, now: datetime) -> UUID:
    """Insert the next try of a run. The job is locked, so its tries are counted right."""
    number = run_store.tries_of(conn, run.id)
    occurrence = f"retry_{run.run_id}" + (f"_{number + 1}" if number else "")
    id, asked_by = new_key(), actors.current().key_id
    is_new = run_store.insert_run(
        conn, NewRun(id, run.job, occurrence, due_at=now, created_at=now, retry_of=run.id, actor=asked_by)
    )
    assert is_new, "the occurrence was counted under the lock of the job"
    return id


def _read(conn: Connection, run_id: str) -> RunRow:
    run = run_store.find_run(conn, run_id)
    assert run is not None
    return run
