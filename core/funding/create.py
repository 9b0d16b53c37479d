"""Create a funding job: it is checked whole before it is kept, every term and every row."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Engine

from core.base.db import begin, reading
from core.base.errors import Conflict, ErrorCode
from core.funding import job_store, run_store
from core.funding.draft import draft_job, keep_rows
from core.funding.job_store import JobRow
from core.funding.jobs import AT_ONCE, get_job, insert_run_now
from core.funding.recipients import Given
from core.funding.requests import FundingRequest, FundingTerms
from core.funding.run_store import RunRow
from core.funding.terms import job_terms
from core.ledger.directory import Directory
from core.ledger.rules.validation import MAX_REFERENCE, text_problems


class Created(NamedTuple):
    """A new job, or the one that was there before."""

    job: JobRow
    run: RunRow | None
    """The run of a job that runs now."""
    replayed: bool


def create_job(
    engine: Engine, request: FundingRequest, given: Iterable[Given] | None, directory: Directory, now: datetime
) -> Created:
    """Keep a job whose terms and rows are all right; one that runs now comes due at once.

    ``given`` are the rows of a file, in place of the request's own recipients or rule.

    Raises:
        InvalidRequest: with every problem of the terms, or of the rows.
        NotFound: there is no such source, or ledger (BAL_NOT_FOUND, LGR_NOT_FOUND).
        Conflict: the reference names a job of other content (FND_DUPLICATE_REFERENCE).
        TransientError: the database was busy or gone. With a reference, the same request may be sent again.
    """
    # A repeated request is right if it was right when it was first made: its time may have come since.
    asked_at = now
    if request.reference and not text_problems("reference", request.reference, MAX_REFERENCE):
        with reading(engine) as conn:
            prior = job_store.find_job_by_reference(conn, request.reference)
        asked_at = prior.created_at if prior is not None else now
    draft = draft_job(request, given, directory, asked_at)
    with begin(engine) as conn:
        job, _ = keep_rows(conn, draft, directory, now)
        if job_store.insert_job(conn, job):
            run = insert_run_now(conn, job, now) if draft.runs_now else None
            return Created(get_job(conn, job.job_id), run, False)
        conn.rollback()
    with begin(engine) as conn:
        first = job_store.find_job_by_reference(conn, job.reference)
        assert first is not None
        if first.digest != job.digest:
            raise Conflict(
                ErrorCode.FND_DUPLICATE_REFERENCE,
                f"reference {job.reference} has already been used by a funding job whose {_difference(first, job)} differs",
                {"reference": job.reference, "job_id": first.job_id},
            )
        return Created(first, run_store.find_run_of(conn, first.id, AT_ONCE), True)


def _difference(first: JobRow, second: JobRow) -> str:
    """Name the first thing in which two jobs differ."""
    for what in ("name", "currency", "source", "precision"):
        if getattr(first, what) != getattr(second, what):
            return what
    ours, theirs = job_terms(first), job_terms(second)
    differing = (what for what in FundingTerms.__struct_fields__ if getattr(ours, what) != getattr(theirs, what))
    return next(differing, "list of recipients")
