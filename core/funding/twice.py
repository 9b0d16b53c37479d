"""Refuses a run that would pay rows which another run of the same job has paid, or may yet pay.

Somebody who runs a job by hand after a refused run wants its rows paid, and not paid twice because a retry has paid them
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
    """Refuse a run by hand beside rows that are under way, left over, or paid by a retry. The caller has locked the job.

    Raises:
        Conflict: the last run is not over, left rows or was retried, or the only run of the job is still to come
            (FND_REPEATED).
    """
    terms = job_terms(job)
    if terms.top_up_to is not None:
        return
    if (under_way := run_store.open_run(conn, job.id)) is not None:
        text = f"{under_way.run_id} is not over, and pays the rows"
        raise _repeated(under_way, f"{text}; again: true pays all of them once more after it")
    if terms.at is not None and job.next_due is not None:
        text = f"the job is to run at {job.next_due:%Y-%m-%d %H:%M:%S} UTC; again: true pays all rows now, and once more then"
        raise Conflict(ErrorCode.FND_REPEATED, text, {"next_run_at": job.next_due})
    newest = run_store.newest_run(conn, job.id)
    if newest is None:
        return
    tries = views.tries_of(conn, job, newest)
    if left := sum(each.left for each in tries):
        text = f"{newest.run_id} left {left} rows unpaid, and a retry of it pays them alone"
        raise _repeated(newest, f"{text}; again: true pays all rows once more")
    if len(tries) > 1:
        text = f"{newest.run_id} was retried, and all of its rows are paid"
        raise _repeated(newest, f"{text}; again: true pays all of them once more")


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
