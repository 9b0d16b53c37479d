"""Refuses a run by hand that pays what a retry has paid, and the other way round.

Somebody who runs a job by hand after a run that failed wants its rows paid, and not paid twice because a retry has paid them
already. Such a request says ``again``, or gets a conflict that says what would be right. A top-up is never refused, because
it pays no more than is missing.
"""

from sqlalchemy import Connection

from core.base.errors import Conflict, ErrorCode
from core.funding import run_store, views
from core.funding.job_store import JobRow
from core.funding.run_store import RunRow
from core.funding.terms import job_terms


def check_run(conn: Connection, job: JobRow) -> None:
    """Refuse a run by hand after a run that paid a part of the rows, or was retried. The caller has locked the job.

    A run that paid nothing and was not retried may be followed by another: that pays each row once. So may one that paid
    all, for another can only mean once more.

    Raises:
        Conflict: the last run left a part of its rows, or was retried (FND_REPEATED).
    """
    newest = None if job_terms(job).top_up_to is not None else run_store.newest_run(conn, job.id)
    if newest is None:
        return
    tries = views.tries_of(conn, job, newest)
    left = sum(each.left for each in tries)
    if len(tries) > 1:
        text = f"{newest.run_id} was retried, as {tries[-1].run.run_id}"
        raise _repeated(newest, f"{text}, which pays its rows; again: true pays all of them once more")
    if left and any(each.result.applied for each in tries):
        text = f"{newest.run_id} left {left} of its rows unpaid, and a retry of it pays them alone"
        raise _repeated(newest, f"{text}; again: true pays all rows once more")


def check_retry(conn: Connection, job: JobRow, run: RunRow) -> None:
    """Refuse a retry of a run after which the job was run by hand.

    Raises:
        Conflict: the run by hand may have paid the same rows (FND_REPEATED).
    """
    if job_terms(job).top_up_to is not None:
        return
    if (by_hand := run_store.run_by_hand_since(conn, run)) is not None:
        text = f"the job was run by hand since, as {by_hand.run_id}, which may have paid the same rows"
        raise _repeated(by_hand, f"{text}; again: true pays them once more")


def _repeated(run: RunRow, text: str) -> Conflict:
    return Conflict(ErrorCode.FND_REPEATED, text, {"run_id": run.run_id, "status": run.status})
