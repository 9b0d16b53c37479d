"""Tells a job whose content was sent before, so that the same file does not pay twice unnoticed.

The content of a job is its pool, its money and its rows. The name of the job, the order of the rows and what the pool may do
are no part of it: a file that is renamed, sorted or sent with a higher limit pays the same people again.
"""

from datetime import datetime, timedelta
from hashlib import sha256

import msgspec
from sqlalchemy import Connection

from core.base.errors import Conflict, ErrorCode
from core.base.ids import new_key
from core.base.money import to_text
from core.funding import job_store, posting_store, row_store
from core.funding.job_store import JOB_PREFIX, JobRow
from core.funding.requests import FundingTerms
from core.funding.terms import job_terms

WITHIN = timedelta(hours=20)
"""The default time in which an equal job is a repetition. It is less than a day, so that a daily job is none."""

CONTENT_PREFIX = "content_"
"""The beginning of a reference that was made from the content of a job."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


def content_of(conn: Connection, job: JobRow, description: str | None) -> bytes:
    """Digest what a job pays to whom. Two jobs with the same digest pay the same.

    ``description`` is the one that the request has. The stored one may be the name of the job.
    """
    terms = job_terms(job)
    money = FundingTerms(
        description=description or "",
        inflight=terms.inflight,
        at=terms.at,
        cron=terms.cron,
        timezone=terms.timezone,
        ends_at=terms.ends_at,
        count=terms.count,
        filters=terms.filters,
        logical_operator=terms.logical_operator,
        amount=terms.amount,
        top_up_to=terms.top_up_to,
        reach=None if terms.filters is None else terms.reach,  # A rule finds others within another reach.
    )
    rows = None if job.row_count is None else [job.row_count, job.amount, row_store.mixed(conn, job.id)]
    return sha256(_encode([job.source, job.currency, job.precision, money, rows])).digest()


def insert_new(conn: Connection, job: JobRow, *, since: datetime | None) -> bool:
    """Insert a job. A job without a reference gets one from its content.

    ``since`` is the time after which a job with the same content is in the way; None when none is. A unique key of content
    and repetition decides between two equal requests at one moment. Returns False when another job has the reference.

    Raises:
        Conflict: the same was sent before (FND_REPEATED). ``details`` names the first job.
    """
    assert job.content is not None
    given = job.reference
    while True:
        if given and job_store.find_job_by_reference(conn, given) is not None:
            return False
        first = None if since is None else job_store.find_same(conn, job.content, since)
        if first is not None:
            raise _repeated(conn, first)
        number = job_store.repetitions(conn, job.content)
        reference = given or _reference(conn, job.content, number)
        if job_store.insert_job(conn, job._replace(repetition=number, reference=reference)):
            return True


def _reference(conn: Connection, content: bytes, number: int) -> str:
    text = f"{CONTENT_PREFIX}{content.hex()[:32]}" + (f"_{number + 1}" if number else "")
    # A client may have taken this text as a reference of its own.
    return text if job_store.find_job_by_reference(conn, text) is None else f"{JOB_PREFIX}{new_key()}"


def _repeated(conn: Connection, first: JobRow) -> Conflict:
    """Make the error that names the first job: when it was made, how much it pays, and how many rows are applied."""
    applied, amount = posting_store.applied_by_job(conn, first.id)
    total = "by its rule" if first.amount is None else f"{to_text(first.amount, first.precision)} {first.currency}"
    rows = "" if first.row_count is None else f" in {first.row_count} rows"
    text = (
        f"the same was sent before: {first.job_id} of {first.created_at:%Y-%m-%d %H:%M:%S} UTC pays {total}{rows}, "
        f"and {applied} rows with {to_text(amount, first.precision)} {first.currency} are applied; "
        "again: true pays once more"
    )
    details = {
        "job_id": first.job_id,
        "reference": first.reference,
        "name": first.name,
        "created_at": first.created_at,
        "currency": first.currency,
        "precision": first.precision,
        "rows": first.row_count,
        "precise_amount": first.amount,
        "rows_applied": applied,
        "precise_amount_applied": amount,
    }
    return Conflict(ErrorCode.FND_REPEATED, text, details)
