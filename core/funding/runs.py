"""Advance the runs of funding jobs: claim due occurrences, fix the rows of a run, and post them piece by piece.

Each step is recorded in the commit that does it: a claim with the next due time of the job, a piece with the position of
the run. A call is therefore safe twice, from two processes at once, late, or after days. Each occurrence is one run, and
each of its rows is one transaction, whose reference contains job, occurrence and row.

A piece is decided before the next one is posted, or while it is if nobody else posts. A run is never far ahead of its
queue, so somebody else who posts to that queue waits for two pieces instead of a hundred thousand rows.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from datetime import UTC, datetime
from functools import partial

import msgspec
import structlog
from sqlalchemy import Connection, Engine

from core.base import clock as database_clock
from core.base.db import begin, reading
from core.base.errors import TransientError
from core.base.fence import locking, look_now_and_then
from core.base.ids import new_key
from core.base.locks import AdvisoryLock, try_take
from core.funding import approvals, job_store, missed, pledged, posting_store, run_store, told
from core.funding import plan as funding_plan
from core.funding.job_store import JobRow
from core.funding.missed import Due, Missed
from core.funding.posting import RowsAltered, post_piece
from core.funding.progress import Progress
from core.funding.requests import FundingTerms
from core.funding.run_store import NewRun, RunRow
from core.funding.terms import job_terms, schedule_of
from core.journal.actions import Action, Event, text_of
from core.journal.event_types import EventType
from core.journal.facts import tell_all
from core.journal.record import record
from core.ledger import drain, trail
from core.ledger.drain import Announce
from core.ledger.store import waiting as waiting_store

logger = structlog.get_logger()


def advance(
    engine: Engine,
    *,
    now: datetime | None = None,
    for_s: float = 1.0,
    announce: Announce = lambda cursors: None,
    clock: Callable[[], float] = time.monotonic,
) -> Progress:
    """Claim due jobs and post rows of runs for about ``for_s`` seconds. Returns what was done.

    Raises:
        TransientError: the database was busy or gone. What was committed stays, and the next call goes on from there.
        Exception: a job or a run failed. It is raised after the others had their turn.
    """
    progress = Progress()
    deadline = clock() + for_s
    with reading(engine) as conn:
        due, unfinished = job_store.has_work(conn, now or database_clock.now(conn))
    while due and claim(engine, now or database_clock.now_of(engine), progress):
        unfinished = True
        if clock() >= deadline:
            progress.more = True
            break
    with ThreadPoolExecutor(1, "funding") as thread:
        while unfinished and step(engine, now or database_clock.now_of(engine), progress, announce, thread):
            if clock() >= deadline and not progress.settling:
                progress.more = True
                break
        _wait_for_piece(engine, progress)
    if progress.locked:
        look_now_and_then(engine)
    for failure in progress.failures.values():
        raise failure
    return progress


def claim(engine: Engine, now: datetime, progress: Progress) -> bool:
    """Make the due runs of one job and move its next due time, in one commit. Returns False when no job is due.

    A job whose due times cannot be computed is paused, because otherwise it would be the first for ever. That happens when
    its time zone is not known any more.
    """
    with begin(engine) as conn:
        job = job_store.lock_due_job(conn, now)
        if job is None or job.next_due is None:
            return False
        status = job.status
        try:
            terms = job_terms(job)
            due = missed.due(
                schedule_of(terms),
                next_due=job.next_due,
                now=now,
                missed=Missed(terms.missed),
                made=job.runs_made,
            )
            progress.claimed += 1
        except Exception as error:
            progress.failures[job.id] = error
            status, due = "PAUSED", Due([], job.next_due, 0)
        for at in due.runs:
            run_store.insert_run(conn, NewRun(new_key(), job.id, _occurrence_of(at), due_at=at, created_at=now))
        runs_made, skipped = job.runs_made + len(due.runs), job.skipped + due.skipped
        job_store.update_job(
            conn, job._replace(status=status, next_due=due.next_due, runs_made=runs_made, skipped=skipped)
        )
        if status != job.status:
            old, new = text_of(status=job.status), text_of(status=status)
            more = {"reason": repr(progress.failures[job.id])}
            fact = told.of_job(EventType.FUNDING_JOB_PAUSED, job._replace(status=status))
            record(
                conn, Event(action=Action.JOB_PAUSED, subject=job.job_id, before=old, after=new, more=more, fact=fact)
            )
    return True


def step(
    engine: Engine,
    now: datetime,
    progress: Progress,
    announce: Announce = lambda cursors: None,
    thread: Executor | None = None,
) -> bool:
    """Start the run whose turn it is, post a piece of it, or end it. Returns False when no run has work.

    What it posts is decided when it returns. With a ``thread``, that may be so only after the next step.
    """
    run: RunRow | None = None
    try:
        with locking(engine) as conn:
            is_free = try_take(conn, AdvisoryLock.FUND)
            found = run_store.lock_next_run(conn, but=progress.failures) if is_free else None
            if found is None:
                progress.locked = not is_free
                return False
            job, run = found
            progress.submitted, progress.ahead = [], False
            to_decide = _advance_run(conn, job, run, now, progress)
        trail.accepted(progress.submitted)
        decide = partial(_decide, engine, to_decide, announce)
        if progress.ahead and thread is not None:
            piece = run, thread.submit(copy_context().run, decide)
            _wait_for_piece(engine, progress)  # That of the step before.
            progress.deciding = piece
        else:
            _wait_for_piece(engine, progress)
            progress.touched |= decide()
    except Exception as error:
        if run is None:
            raise
        _fail(engine, run, error, progress)
    return True


def _decide(engine: Engine, places: Mapping[int, int], announce: Announce) -> set[int]:
    """Decide queues up to a seq. Returns the queues to ring."""
    return {each for queue, seq in places.items() for each in drain.drain_until(engine, queue, seq, announce=announce)}


def _wait_for_piece(engine: Engine, progress: Progress) -> None:
    """Wait until the piece that is being decided in the thread is."""
    if progress.deciding is None:
        return
    (run, deciding), progress.deciding = progress.deciding, None
    try:
        progress.touched |= deciding.result()
    except Exception as error:
        _fail(engine, run, error, progress)


def _fail(engine: Engine, run: RunRow, error: Exception, progress: Progress) -> None:
    """Leave a run to a later call, because a run that fails must not keep the others waiting.

    Raises:
        TransientError: the error is one. It is no fault of the run.
    """
    with suppress(TransientError), begin(engine) as conn:
        run_store.touch_run(conn, run.id, database_clock.now(conn))
    if isinstance(error, TransientError):
        raise error
    progress.failures[run.id] = error


def _advance_run(conn: Connection, job: JobRow, run: RunRow, now: datetime, progress: Progress) -> dict[int, int]:
    """Do the next step of a run. Returns the seq up to which each queue must be decided before the step after it."""
    terms = job_terms(job)
    progress.settling = False
    if run.status == "PENDING":
        # Everything accepted before a run starts is decided first, because a rule, a top-up and the limit of the pool
        # depend on it. The second time, only rows of other runs are waited for, because a busy queue has no end.
        if _depends_on_balances(terms):
            is_second = run.id in progress.settled
            waiting = posting_store.undecided(conn) if is_second else waiting_store.last_waiting(conn)
            progress.settled.add(run.id)
            if waiting:
                progress.settling = True
                return waiting
        if not _start(conn, job, run, now):
            progress.ended.append(run._replace(status="REFUSED"))
        return {}
    if run.status == "POSTING":
        # A call that ended early may have left its piece undecided. Its queue may stand still, and must not get more.
        if progress.last_seq is None and (undecided := posting_store.undecided_piece(conn, run)):
            return undecided
        try:
            return post_piece(conn, job, run, now, progress)
        except RowsAltered as altered:
            _refuse_altered(conn, job, run, str(altered), now)
            progress.ended.append(run._replace(status="REFUSED"))
            return {}
    tally = posting_store.tally(conn, run.id)
    if any(each.status is None for each in tally):
        return posting_store.last_posted(conn, run.id)
    run_store.complete_run(conn, run.id, now, posting_store.result_of(tally))
    tell_all(conn, told.of_runs(conn, EventType.FUNDING_RUN_COMPLETED, job, [run.id]))
    progress.ended.append(run._replace(status="COMPLETED", ended_at=now))
    return {}


def _depends_on_balances(terms: FundingTerms) -> bool:
    """Return whether the plan of a run depends on balances."""
    return terms.filters is not None or not terms.allow_overdraft or terms.overdraft_limit is not None


def _start(conn: Connection, job: JobRow, run: RunRow, now: datetime) -> bool:
    """Store the plan of a run and start it. Returns False when the run is refused."""
    if (wrong := pledged.altered(conn, job)) is not None:
        _refuse_altered(conn, job, run, wrong, now)
        return False
    plan = funding_plan.plan_of(conn, job, run.id, list=None if run.retry_of is None else run.id)
    plan = approvals.compared(conn, job, run, plan)
    if plan.list != job.id and job.actor is not None and not pledged.is_kept(conn, plan.list):
        pledged.keep(conn, plan.list)  # It was made for this run alone.
    run_store.start_run(conn, run.id, plan, now)
    if plan.refusal is not None:
        refusal = msgspec.json.encode(plan.refusal).decode()
        run_store.end_run(conn, run.id, status="REFUSED", ended_at=now, refusal=refusal)
    type = EventType.FUNDING_RUN_STARTED if plan.refusal is None else EventType.FUNDING_RUN_REFUSED
    tell_all(conn, told.of_runs(conn, type, job, [run.id]))
    return plan.refusal is None


def _refuse_altered(conn: Connection, job: JobRow, run: RunRow, what: str, now: datetime) -> None:
    """End a run whose job or rows somebody has altered in the database."""
    logger.error("a funding run was refused", job=job.job_id, run=run.run_id, reason=what)
    run_store.end_run(conn, run.id, status="REFUSED", ended_at=now, refusal=pledged.refusal_of(what))
    tell_all(conn, told.of_runs(conn, EventType.FUNDING_RUN_REFUSED, job, [run.id]))


def _occurrence_of(at: datetime) -> str:
    """Return the name of the run that is due at a time."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
