"""Create a funding job, after every term and every row of it is checked."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Engine

from core.base.actors import current
from core.base.db import begin, reading
from core.base.errors import Conflict, ErrorCode
from core.base.setting_values import Sums
from core.funding import approvals, job_store, pledged, reach, repeats, run_store
from core.funding.draft import draft_job, keep_rows
from core.funding.files.rows import Given
from core.funding.job_store import JobRow
from core.funding.jobs import AT_ONCE, get_job, insert_run_now
from core.funding.requests import FundingRequest, FundingTerms
from core.funding.run_store import RunRow
from core.funding.terms import job_terms
from core.journal.actions import Action, Event, object_of, text_of
from core.journal.record import record
from core.ledger.directory import Directory
from core.ledger.rules.validation import MAX_REFERENCE, text_problems


class Created(NamedTuple):
    """The result of a creation: a new job, or the job that an earlier request made."""

    job: JobRow
    run: RunRow | None
    """The run of a job that runs now; None for a job that runs later."""
    replayed: bool
    """True when an earlier request made the job."""


WRITE_WITHIN_S = 120.0
"""A list of a million rows is written in so long, even on a busy machine."""


def create_job(
    engine: Engine,
    request: FundingRequest,
    given: Iterable[Given] | None,
    directory: Directory,
    now: datetime,
    *,
    repeated_within: timedelta = repeats.WITHIN,
    approve_above: Sums | None = None,
) -> Created:
    """Check a request and store its job. A job that runs now gets its run in the same commit.

    ``given`` are the rows of a file. They replace the recipients or the rule of the request. The same content is not taken
    a second time ``repeated_within`` the first, nor while the first job is not over, unless the request says so. A job of more
    than ``approve_above`` waits for an approval.

    Raises:
        InvalidRequest: the terms or the rows have problems, and all are listed.
        NotFound: there is no such source, or ledger (BAL_NOT_FOUND, LGR_NOT_FOUND).
        Conflict: the reference belongs to a job with other content (FND_DUPLICATE_REFERENCE), or the same was sent before
            (FND_REPEATED).
        TooMany: the key has created as many new names as it may.
        TransientError: the database was busy or gone. With a reference, the same request may be sent again.
    """
    # A repeated request is checked as of its first time, because its due time may have passed since.
    asked_at, prior = now, None
    if request.reference and not text_problems("reference", request.reference, MAX_REFERENCE):
        with reading(engine) as conn:
            prior = job_store.find_job_by_reference(conn, request.reference)
            prior = None if prior is None or not reach.reaches(conn, prior) else prior
        asked_at = prior.created_at if prior is not None else now
    draft = draft_job(request, given, directory, asked_at, is_new=prior is None)
    with begin(engine, within_s=WRITE_WITHIN_S) as conn:
        job, _, events = keep_rows(conn, draft, directory, now)
        is_checked = not request.reference if request.again is None else not request.again
        if waits := approvals.is_needed(job, approve_above):
            job = job._replace(status="WAITING_APPROVAL")
        if repeats.insert_new(conn, job, since=now - repeated_within if is_checked else None):
            if waits:
                approvals.ask(conn, job)
            if (cap := current().caps.active_jobs) is not None and job_store.count_active_of(
                conn, current().key_id
            ) > cap:
                text = f"the key may have {cap} funding jobs that are not over; cancel one, or wait until one is over"
                raise Conflict(ErrorCode.GEN_CONFLICT, text, {"limit": cap})
            run = insert_run_now(conn, job, now) if draft.runs_now else None
            created = get_job(conn, job.job_id)
            pledged.pledge(conn, created)
            record(conn, *events, Event(action=Action.JOB_CREATED, subject=job.job_id, after=_audited(created)))
            return Created(created, run, False)
        conn.rollback()
    with begin(engine) as conn:
        first = job_store.find_job_by_reference(conn, job.reference)
        assert first is not None
        if not reach.reaches(conn, first):
            text = f"reference {job.reference} has already been used"
            raise Conflict(ErrorCode.FND_DUPLICATE_REFERENCE, text, {"reference": job.reference})
        if first.digest != job.digest:
            raise Conflict(
                ErrorCode.FND_DUPLICATE_REFERENCE,
                f"reference {job.reference} has already been used by a funding job whose {_difference(first, job)} differs",
                {"reference": job.reference, "job_id": first.job_id},
            )
        return Created(first, run_store.find_run_of(conn, first.id, AT_ONCE), True)


def _audited(job: JobRow) -> str:
    """Write what the audit log says of a new job. Its digest stands for its rows."""
    return text_of(
        name=job.name,
        reference=job.reference,
        source=job.indicator or job.source_id,
        currency=job.currency,
        precision=job.precision,
        rows=job.row_count,
        amount=job.amount,
        terms=object_of(job.terms),
        digest=job.digest.hex(),
        next_due=job.next_due,
    )


def _difference(first: JobRow, second: JobRow) -> str:
    """Return the name of the first term in which two jobs differ."""
    for what in ("name", "currency", "source", "precision"):
        if getattr(first, what) != getattr(second, what):
            return what
    ours, theirs = job_terms(first), job_terms(second)
    differing = (what for what in FundingTerms.__struct_fields__ if getattr(ours, what) != getattr(theirs, what))
    return next(differing, "list of recipients")
