"""Post a piece of a run: append its next rows to the log and move the run forward, in one commit."""

import math
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from core.base import actors
from core.base.errors import TransientError
from core.funding import pledged, posting_store, row_store, run_store
from core.funding.job_store import JobRow
from core.funding.progress import Progress
from core.funding.requests import MAX_ATOMIC, FundingTerms
from core.funding.row_store import FundingRow
from core.funding.run_store import RunRow
from core.funding.terms import job_terms
from core.ledger import append
from core.ledger.append import Submission
from core.ledger.draft import Priced, draft_alike
from core.ledger.rules.model import Draft, Kind
from core.ledger.rules.requests import Terms
from core.ledger.rules.routing import route_of
from core.ledger.store import log as log_store

PIECE = 1_000
"""The number of rows that one commit posts while nobody else posts."""
PIECE_IN_COMPANY = 100
"""The number of rows that one commit posts while others post. They wait for the log until the commit is done."""
ALONE_AFTER_S = 1.0
"""The seconds without another posting after which a run counts as alone."""


class RowsAltered(Exception):
    """The rows to post are not those that were accepted. Nothing was posted."""


def post_piece(conn: Connection, job: JobRow, run: RunRow, now: datetime, progress: Progress) -> dict[int, int]:
    """Append the next rows of a run to the log, and move the run forward. Returns the last seq by its queue."""
    assert run.list is not None
    terms = job_terms(job)
    if progress.last_seq is None and not posting_store.others_posted(conn, run, within_s=ALONE_AFTER_S):
        progress.company_at = -math.inf
    alone = time.monotonic() - progress.company_at >= ALONE_AFTER_S
    size = MAX_ATOMIC if terms.atomic else PIECE if alone else PIECE_IN_COMPANY
    rows = row_store.read_rows(conn, run.list, after=run.posted_row, limit=size + 1)
    last = rows[min(size, len(rows)) - 1].row if rows else run.posted_row + 1
    if (wrong := pledged.altered_rows(conn, job, run.list, first=run.posted_row + 1, last=last)) is not None:
        raise RowsAltered(wrong)
    if run.last_row is not None:
        rows = [row for row in rows if row.row <= run.last_row]
    is_last = len(rows) <= size
    if is_last:
        # The run is POSTED in the commit of its last row, so that nobody can cancel a run without unposted rows.
        run_store.end_run(conn, run.id, status="POSTED")
    rows = rows[:size]
    if not rows:
        return {}
    submission = Submission(
        _drafts(job, terms, run, rows),
        atomic=terms.atomic,
        request_id=run.run_id,
        actor=actors.current().through(actors.Part.FUNDING),
        asked_by=run.actor or job.actor,
    )
    _append(conn, submission)
    accepted = submission.accepted
    seqs = [one.seq for one in accepted]
    posting_store.record_postings(conn, run.id, list(zip(rows, seqs, strict=True)), now)
    progress.posted += len(rows)
    progress.submitted = [submission]
    if progress.last_seq is not None and seqs[0] != progress.last_seq + 1:
        progress.company_at = time.monotonic()
    progress.ahead = progress.last_seq is not None and alone and not is_last
    progress.last_seq = max(seqs)
    return {accepted[0].queue: max(seqs)}


def _append(conn: Connection, submission: Submission) -> None:
    """Append a submission to the log. A row whose reference somebody else has used gets its ID as its reference.

    No row is posted twice, because the run moves forward in the commit that posts the row.

    Raises:
        TransientError: somebody used a reference at this moment. The next attempt sees it.
    """
    attempt = conn.begin_nested()
    append.append(conn, [submission])
    if _is_ours(submission):
        attempt.commit()
        return
    attempt.rollback()
    taken = log_store.find_references(conn, [draft.row.reference for draft in submission.drafts])
    submission.drafts = [
        append.called_by_id(draft) if draft.row.reference in taken else draft for draft in submission.drafts
    ]
    append.append(conn, [submission])
    if not _is_ours(submission):
        raise TransientError("somebody has used the reference of a row; try again")


def _is_ours(submission: Submission) -> bool:
    return submission.error is None and not any(one.replayed for one in submission.accepted)


def _drafts(job: JobRow, terms: FundingTerms, run: RunRow, rows: list[FundingRow]) -> Sequence[Draft]:
    commit_at = terms.inflight_commit_date
    if terms.inflight_commit_after_s is not None:
        commit_at = run.due_at + timedelta(seconds=terms.inflight_commit_after_s)
    prefix = f"{job.job_id}_{run.occurrence}_"
    common = Priced(
        prefix,
        int(Kind.HOLD if terms.inflight else Kind.TRANSFER),
        job.source,
        None,
        route_of(job.source_id),
        0,
        job.currency,
        job.precision,
        terms.description,
        terms.allow_overdraft,
        terms.overdraft_limit,
        run.run_id,
        terms=None if commit_at is None else Terms(inflight_commit_date=commit_at),
    )
    return draft_alike(
        common, ((f"{prefix}{row.row}", row.destination, row.amount, row.description, row.meta_data) for row in rows)
    )
