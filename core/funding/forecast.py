"""Forecasts a job: when it runs next, and the balance of its pool after one more run."""

from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple
from zoneinfo import ZoneInfoNotFoundError

from sqlalchemy import Connection, Engine

from core.base.db import reading_within
from core.base.errors import TooSlow
from core.funding import row_store, schedule
from core.funding.job_store import JobRow
from core.funding.plan import room_of, rule_of
from core.funding.terms import job_terms, schedule_of
from core.ledger.store import outcomes as outcome_store

NEXT_SHOWN = 10
"""The default number of occurrences that an answer shows."""


def next_occurrences(job: JobRow, most: int = NEXT_SHOWN) -> list[datetime]:
    """Return the due times of the next runs of a job, at most ``most``."""
    terms = job_terms(job)
    if job.next_due is None:
        return []
    if terms.count is not None:
        most = min(most, terms.count - job.runs_made)
    # The next due time counts as to come, even when it has passed: its run is not made yet.
    found = schedule.occurrences(schedule_of(terms), after=job.next_due - timedelta(microseconds=1))
    try:
        return list(islice(found, most))
    except ZoneInfoNotFoundError:  # The zone has left the time zone data. The job is paused, or will be.
        return []


class Forecast(NamedTuple):
    """The pool after the next run, when nothing else moves its money. Amounts are minor units."""

    rows: int
    amount: int
    balance: int
    """The balance of the pool now."""
    balance_after: int
    runs_left: int | None
    """The number of whole runs that the pool can still pay, or None if it has no limit."""


def forecast(conn: Connection, job: JobRow) -> Forecast:
    """Forecast one run of a job, as if it ran now."""
    terms = job_terms(job)
    rule = rule_of(job, terms)
    rows, amount = (job.row_count or 0, job.amount or 0) if rule is None else row_store.totals_by_rule(conn, rule)
    pool = outcome_store.read_balances(conn, [job.source])[job.source]
    room = room_of(conn, job, terms)
    runs_left = None if room is None or not amount else max(room, 0) // amount
    moved = amount if room is None or amount <= room else 0
    if room is not None and not moved and terms.until_limit:
        moved = row_store.amount_within(conn, job.id if rule is None else rule, room)
    return Forecast(rows, amount, pool.balance, pool.balance - (0 if terms.inflight else moved), runs_left)


def forecast_within(engine: Engine, job: JobRow, seconds: float) -> Forecast | None:
    """Return the forecast of a job, or None if it takes more than ``seconds``. A rule may read very many balances."""
    try:
        with reading_within(engine, seconds) as conn:
            return forecast(conn, job)
    except TooSlow:
        return None
