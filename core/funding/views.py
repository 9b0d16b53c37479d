"""Computes the statuses of jobs and runs for answers, and the counts and sums of a run's rows."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.funding import posting_store, run_store, try_store
from core.funding.job_store import JobRow
from core.funding.posting_store import RowState, Tally
from core.funding.run_store import Result, RunRow
from core.ledger.rules.model import RUN_PREFIX, RejectReason
from core.ledger.store import transactions as transaction_store
from core.ledger.store.transaction_rows import TransactionRow

JOB_STATUSES = ("ACTIVE", "PAUSED", "CANCELLED", "FINISHED", "WAITING_APPROVAL")


def job_status(job: JobRow) -> str:
    """Return the status of a job as clients see it: the stored one, or FINISHED when no run is due or under way."""
    return "FINISHED" if job.status == "ACTIVE" and job.next_due is None and not job.unfinished else job.status


def run_status(job: JobRow, run: RunRow) -> str:
    """Return the status of a run as clients see it.

    A run is PAUSED with its job while it has rows to post, and RUNNING until each of its transactions is decided.
    """
    if job.status == "PAUSED" and run.status in ("PENDING", "POSTING"):
        return "PAUSED"
    return "RUNNING" if run.status in ("POSTING", "POSTED") else run.status


class Counts(NamedTuple):
    """The counts of the rows of a run by their results. Amounts are minor units."""

    total: int | None
    """None while the run has not started."""
    accepted: int
    applied: int
    """The number of rows that moved or hold money."""
    rejected: dict[RejectReason, int]
    undecided: int
    applied_amount: int
    rate: float
    """The number of rows that are accepted in a second."""
    left_s: float | None
    """The seconds until all rows are accepted at this rate; None when no row is left, or there is no rate yet."""

    @property
    def unposted(self) -> int | None:
        """The number of rows that are not posted; None while the run has not started."""
        return None if self.total is None else self.total - self.accepted


def counts_of(job: JobRow, run: RunRow, tally: list[Tally], now: datetime) -> Counts:
    """Count the rows of a run by their results. ``tally`` is the result of ``posting_store.tally``."""
    applied = [each for each in tally if each.status is not None and each.reason is None]
    undecided = sum(each.rows for each in tally if each.status is None)
    rejected = {RejectReason(each.reason): each.rows for each in tally if each.reason is not None}
    running = run_status(job, run) == "RUNNING"
    until = now if running and run.status == "POSTING" else run.progressed_at or now
    seconds = (until - run.started_at).total_seconds() if run.started_at is not None else 0.0
    rate = run.posted / max(seconds, 0.001) if run.posted else 0.0
    left = (run.row_count or 0) - run.posted if run.status == "POSTING" and run.last_row is None else 0
    return Counts(
        run.row_count,
        run.posted,
        sum(each.rows for each in applied),
        rejected,
        undecided,
        sum(each.amount for each in applied),
        rate,
        left / rate if left and rate and running else None,
    )


class Try(NamedTuple):
    """A run of a tree of tries, with its counts."""

    run: RunRow
    result: Result
    left: int
    """The number of rows that it had last, and that it rejected or did not post. It is 0 until the run is over, and when none of
    it may be tried again."""


def tries_of(conn: Connection, job: JobRow, run: RunRow) -> list[Try]:
    """Read a run and all of its tries, the oldest first."""
    return [_try(conn, job, each) for id in try_store.family_of(conn, run.id) if (each := _read_run(conn, id))]


def _read_run(conn: Connection, id: UUID) -> RunRow | None:
    return run_store.find_run(conn, f"{RUN_PREFIX}{id}")


def _try(conn: Connection, job: JobRow, run: RunRow) -> Try:
    if run.applied is not None and run.applied_amount is not None and run.rejected is not None:
        result = Result(run.applied, run.applied_amount, run.rejected)
    else:
        result = posting_store.result_of(posting_store.tally(conn, run.id))
    if run.is_open or run.refused_for_good is not None:
        return Try(run, result, 0)
    taken = try_store.taken(conn, run.id)
    given = job.row_count or 0 if run.retry_of is None else taken.of_others
    total = given if run.row_count is None else run.row_count
    return Try(run, result, total - run.posted + result.rejected - taken.by_others)


def read_row_states(
    conn: Connection, run: RunRow, *, limit: int, after: int, status: str | None
) -> tuple[list[RowState], dict[int, TransactionRow]]:
    """Read a page of the rows of a run, and their transactions by seq.

    The parameters are those of ``posting_store.row_states``.
    """
    rows = posting_store.row_states(conn, run, limit=limit, after=after, status=status)
    seqs = [seq for row in rows for seq in (row.seq, row.first_seq) if seq is not None]
    return rows, {found.seq: found for found in transaction_store.find_seqs(conn, seqs)}
