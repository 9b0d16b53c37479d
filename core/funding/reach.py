"""Keeps funding jobs within the reach of keys.

A job is in reach of a key when its pool and all of its recipients are. A job remembers the reach of the key that made it:
its rule finds nobody beyond that, whoever runs it later, and each run is compared with it. A job with a rule is in reach
of another key when it was made within that key's reach, because nobody else knows whom it will find.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from core.base.actors import EVERYTHING, Reach, reach_of_request
from core.base.errors import BeyondKey, ErrorCode
from core.funding import reach_store
from core.funding.job_store import JobRow
from core.funding.requests import FundingTerms
from core.funding.terms import job_terms
from core.ledger import reach as ledger_reach
from core.ledger.permission import goes_below_zero


def of_new_job() -> Reach | None:
    """Return the reach that a new job remembers, which bounds whom it pays and how much. None stands for everything."""
    reach = reach_of_request()
    kept = Reach(
        ledgers=reach.ledgers,
        indicators=reach.indicators,
        largest_amount=reach.largest_amount,
        largest_overdraft=reach.largest_overdraft,
    )
    return None if kept == EVERYTHING else kept


def reaches(conn: Connection, job: JobRow) -> bool:
    """Tell whether a job is in reach of the request."""
    reach = reach_of_request()
    return not reach.bounds_balances or reach_store.is_in_reach(conn, job.id, reach)


def require_money(conn: Connection, job: JobRow) -> None:
    """Refuse to let a job pay more than the key of the request may ask for.

    Raises:
        BeyondKey: a row or the overdraft is larger, or a top-up may come to more.
    """
    reach = reach_of_request()
    if not reach.bounds_money:
        return
    terms = job_terms(job)
    require_terms(terms, job.currency, job.precision)
    if terms.filters is None:
        ledger_reach.require_amount(reach_store.largest(conn, job.id), job.currency, job.precision)
    elif terms.top_up_to is not None and terms.reach != of_new_job():
        text = "the rule fills up balances by what is missing, which may be more than this key may ask for"
        raise BeyondKey(ErrorCode.AUTH_INSUFFICIENT_PERMISSIONS, text)


def require_terms(terms: FundingTerms, currency: str, precision: int) -> None:
    """Refuse terms with an overdraft or a fixed amount that is too large for the key of the request.

    Raises:
        BeyondKey: they have.
    """
    if goes_below_zero(terms.allow_overdraft, terms.overdraft_limit):
        ledger_reach.require_overdraft(terms.overdraft_limit, currency, precision)
    if terms.amount is not None:
        ledger_reach.require_amount(terms.amount, currency, precision)


def refusal_of(conn: Connection, job: JobRow, list: UUID) -> dict[str, Any] | None:
    """Return why a run is refused whose rows are not all within the reach that its job remembers. None when they are."""
    reach = job_terms(job).reach
    if reach is None:
        return None
    if reach.bounds_balances and (row := reach_store.first_out_of_reach(conn, list, reach)) is not None:
        return _refusal(f"row {row} is out of reach of the key that made the job", row)
    largest, row = reach_store.largest_row(conn, list)
    if (most := ledger_reach.exceeded(reach.largest_amount, largest, job.currency, job.precision)) is not None:
        return _refusal(f"row {row} is more than the key that made the job may ask for: {most}", row)
    return None


def _refusal(text: str, row: int) -> dict[str, Any]:
    return {"reason": "OUT_OF_REACH", "message": text, "first_row": row}
