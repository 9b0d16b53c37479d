"""Plan a run: fix its list, and find how many of its rows the pool can pay."""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from core.base.actors import EVERYTHING
from core.base.errors import InvalidRequest
from core.base.money import grouped
from core.funding import reach, row_store, run_store
from core.funding.job_store import JobRow
from core.funding.requests import MAX_ATOMIC, FundingTerms
from core.funding.row_store import Rule
from core.funding.run_store import Plan
from core.funding.terms import job_terms
from core.ledger.store import outcomes as outcome_store
from core.ledger.store.balance_list import BALANCES
from core.lists import filters
from core.lists.fields import Listing
from core.lists.requests import FilterClause, FilterRequest


def plan_of(conn: Connection, job: JobRow, run: UUID, *, list: UUID | None = None) -> Plan:
    """Plan a run: take the job's list, or fill a list by its rule, and compare its sum with what the pool can pay.

    ``list`` is the list of a retry, which exists already. A top-up cuts its amounts to what is missing now.
    """
    terms = job_terms(job)
    rule = rule_of(job, terms)
    is_new = list is None
    if list is None and rule is not None:
        row_store.fill_by_rule(conn, run, rule)
        list = run
    elif list is not None and rule is not None and rule.top_up_to is not None:
        row_store.cut_to_missing(conn, list, rule.top_up_to)
    # The sum of a job's own list is known since it was loaded.
    known = (job.row_count, job.amount) if list is None else row_store.totals(conn, list)
    list = list or job.id
    rows, amount = (part or 0 for part in known)
    # First, because a retry of a run that is refused for another reason is not compared with what is expected.
    if is_new and (unexpected := _unexpected(job, terms, rows, amount)) is not None:
        return Plan(list, rows, amount, None, unexpected)
    if (beyond := reach.refusal_of(conn, job, list)) is not None:
        return Plan(list, rows, amount, None, beyond)
    if terms.atomic and rows > MAX_ATOMIC:
        text = f"{rows} rows cannot be decided as one; {MAX_ATOMIC} can"
        return Plan(list, rows, amount, None, {"reason": "TOO_MANY_ROWS", "message": text})
    room = room_of(conn, job, terms)
    # A run of nothing is possible even when others took the pool below the limit of this job.
    if room is None or amount <= max(room, 0):
        return Plan(list, rows, amount, None, None)
    if terms.until_limit:
        return Plan(list, rows, amount, row_store.last_row_within(conn, list, room), None)
    asked, able = grouped(amount, job.precision), grouped(room, job.precision)
    (first,) = row_store.read_rows(conn, list, after=row_store.last_row_within(conn, list, room), limit=1)
    under_way = run_store.unposted_amount(conn, job.source)
    beside = f" beside the {grouped(under_way, job.precision)} that other runs have yet to post" if under_way else ""
    refusal = {
        "reason": "LIMIT",
        "message": f"the run needs {asked} {job.currency}, and the pool can pay {able}{beside}; "
        f"row {first.row} is the first that is too much",
        "requested": amount,
        "available": room,
        "short_by": amount - room,
        "first_row": first.row,
    }
    return Plan(list, rows, amount, None, refusal)


def _unexpected(job: JobRow, terms: FundingTerms, rows: int, amount: int) -> dict[str, Any] | None:
    """Return why a run is refused that has not the rows or the sum that its job expects; None when it has."""
    if terms.expect_rows in (None, rows) and terms.expect_amount in (None, amount):
        return None
    expected = [] if terms.expect_rows is None else [f"{terms.expect_rows} rows"]
    if terms.expect_amount is not None:
        expected.append(f"{grouped(terms.expect_amount, job.precision)} {job.currency}")
    found = f"{rows} rows with {grouped(amount, job.precision)} {job.currency}"
    text = f"the job expects {' with '.join(expected)}, and the run has {found}"
    return {"reason": "UNEXPECTED", "message": text, "requested": amount}


def room_of(conn: Connection, job: JobRow, terms: FundingTerms) -> int | None:
    """Return the amount that the pool can pay, in minor units; None when there is no limit.

    The overdraft limit is added. Holds on the pool and the unposted amounts of other runs are subtracted.
    """
    if terms.allow_overdraft and terms.overdraft_limit is None:
        return None
    pool = outcome_store.read_balances(conn, [job.source])[job.source]
    able = pool.balance - pool.inflight_debit + (terms.overdraft_limit or 0)
    return able - run_store.unposted_amount(conn, job.source)


def rule_of(job: JobRow, terms: FundingTerms) -> Rule | None:
    """Return the rule of a job in the form that the store takes; None when the job has a list."""
    if terms.filters is None:
        return None
    listing = listing_of(terms.filters, terms.logical_operator)
    return Rule(listing, job.currency, job.source, terms.amount, terms.top_up_to, terms.reach or EVERYTHING)


def listing_of(clauses: list[FilterClause], logical_operator: str) -> Listing:
    """Return the filters of a rule in the form that the store takes.

    Raises:
        InvalidRequest: a filter is not valid.
    """
    try:
        return filters.of_request(BALANCES, FilterRequest(clauses, logical_operator), default=1)
    except InvalidRequest as error:
        error.details = None  # Blnk's form of it is for lists alone.
        raise
