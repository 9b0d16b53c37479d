"""Fix what a run will post: whom its job funds, and how far the money goes."""

from uuid import UUID

from sqlalchemy import Connection

from core.base.money import to_text
from core.funding import row_store, run_store
from core.funding.job_store import JobRow
from core.funding.requests import FundingTerms
from core.funding.row_store import Rule
from core.funding.run_store import Plan
from core.funding.terms import job_terms
from core.ledger.store import outcomes as outcome_store
from core.ledger.store.balance_list import BALANCES
from core.lists import filters
from core.lists.fields import Listing
from core.lists.requests import FilterClause, FilterRequest

MAX_ATOMIC = 10_000
"""Rows of a run that are decided as one."""


def plan_of(conn: Connection, job: JobRow, run: UUID, *, list: UUID | None = None) -> Plan:
    """Fix what a run will post: the job's list, or the balances that its rule names now, and how far the money goes.

    ``list`` is there already when the run retries another. A top-up cuts it to what is missing by now.
    """
    terms = job_terms(job)
    rule = rule_of(job, terms)
    if list is None and rule is not None:
        row_store.fill_by_rule(conn, run, rule)
        list = run
    elif list is not None and rule is not None and rule.top_up_to is not None:
        row_store.cut_to_missing(conn, list, rule.top_up_to)
    # What a job's own list comes to was added up when it was loaded.
    known = (job.row_count, job.amount) if list is None else row_store.totals(conn, list)
    list = list or job.id
    rows, amount = (part or 0 for part in known)
    if terms.atomic and rows > MAX_ATOMIC:
        text = f"{rows} rows cannot be decided as one; {MAX_ATOMIC} can"
        return Plan(list, rows, amount, None, {"reason": "TOO_MANY_ROWS", "message": text})
    room = room_of(conn, job, terms)
    # Nothing can be paid also out of a pool that others took further down than this job may.
    if room is None or amount <= max(room, 0):
        return Plan(list, rows, amount, None, None)
    if terms.until_limit:
        return Plan(list, rows, amount, row_store.last_row_within(conn, list, room), None)
    asked, able = to_text(amount, job.precision), to_text(room, job.precision)
    (first,) = row_store.read_rows(conn, list, after=row_store.last_row_within(conn, list, room), limit=1)
    under_way = run_store.unposted_amount(conn, job.source)
    beside = f" beside the {to_text(under_way, job.precision)} that other runs have yet to post" if under_way else ""
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


def room_of(conn: Connection, job: JobRow, terms: FundingTerms) -> int | None:
    """Return what the pool can pay, with its overdraft, beside what runs under way have yet to post, in minor units.

    None when there is no limit.
    """
    if terms.allow_overdraft and terms.overdraft_limit is None:
        return None
    pool = outcome_store.read_balances(conn, [job.source])[job.source]
    able = pool.balance - pool.inflight_debit + (terms.overdraft_limit or 0)
    return able - run_store.unposted_amount(conn, job.source)


def rule_of(job: JobRow, terms: FundingTerms) -> Rule | None:
    """Return the rule that says whom a job funds, if it has one."""
    if terms.filters is None:
        return None
    listing = listing_of(terms.filters, terms.logical_operator)
    return Rule(listing, job.currency, job.source, terms.amount, terms.top_up_to)


def listing_of(clauses: list[FilterClause], logical_operator: str) -> Listing:
    return filters.of_request(BALANCES, FilterRequest(clauses, logical_operator), default=1)
