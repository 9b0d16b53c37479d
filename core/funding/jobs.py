"""Funding jobs: one pool, many recipients, now, at a time, or again and again.

A job is checked whole before it is kept: every term, every row. What it comes to each time that it is due is a run
(``core/runs.py``); whom it is for is a list of rows (``core/recipients.py``), or a rule that makes one when a run starts.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfoNotFoundError

import msgspec
from sqlalchemy import Connection, Engine

from core.base.db import begin, reading, reading_within
from core.base.errors import Conflict, InvalidRequest, NotFound, TooSlow
from core.base.ids import new_key
from core.base.money import to_text
from core.funding import recipients, schedule
from core.funding import store as funding_store
from core.funding.recipients import Given
from core.funding.requests import FundingRequest, FundingTerms
from core.funding.schedule import Missed
from core.funding.store import FundingRow, JobRow, RowState, Rule, RunRow, Tally
from core.funding.terms import problems_of, schedule_of, terms_from, terms_of
from core.ledger.directory import Directory
from core.ledger.dry_run import decide_all
from core.ledger.intake import check_precision, ref_of
from core.ledger.rules.engine import Book
from core.ledger.rules.model import Kind, Outcome, Posting, RejectReason
from core.ledger.rules.validation import MAX_REFERENCE, text_problems
from core.ledger.store import balances as balance_store
from core.ledger.store import currencies as currency_store
from core.ledger.store import ledgers as ledger_store
from core.ledger.store import outcomes as outcome_store
from core.ledger.store import transactions as transaction_store
from core.ledger.store.balance_list import BALANCES
from core.ledger.store.transactions import TransactionRow
from core.lists import filters
from core.lists.fields import Listing
from core.lists.requests import FilterClause, FilterRequest

MAX_ATOMIC = 10_000
"""Rows of a run that are decided as one."""
PREVIEWED = 10
"""Occurrences that a preview shows."""
REHEARSED = 5_000
"""Rows that are rehearsed at once."""
MAX_REJECTED = 100
"""Rows of a rehearsal that are listed as rejected. All are counted."""

BAD = "GEN_VALIDATION_ERROR"

_encode = msgspec.json.Encoder(decimal_format="number").encode


def next_occurrences(job: JobRow, most: int = PREVIEWED) -> list[datetime]:
    """When a job will run next."""
    terms = terms_of(job)
    if job.next_due is None:
        return []
    if terms.count is not None:
        most = min(most, terms.count - job.runs_made)
    # The first one has not been dealt with, whatever the time is.
    found = schedule.occurrences(schedule_of(terms), after=job.next_due - timedelta(microseconds=1))
    try:
        return list(islice(found, most))
    except ZoneInfoNotFoundError:  # Its zone is gone from the time zone data since. The job is paused, or will be.
        return []


JOB_STATUSES = ("ACTIVE", "PAUSED", "CANCELLED", "FINISHED")
RUN_STATUSES = ("PENDING", "RUNNING", "PAUSED", "COMPLETED", "REFUSED", "CANCELLED")


def status_of(job: JobRow) -> str:
    """ACTIVE, PAUSED or CANCELLED; FINISHED when nothing is to come by itself, and nothing is under way."""
    return "FINISHED" if job.status == "ACTIVE" and job.next_due is None and not job.unfinished else job.status


def status_of_run(job: JobRow, run: RunRow) -> str:
    """PENDING, RUNNING until all that is posted is decided, PAUSED with its job, COMPLETED, REFUSED or CANCELLED."""
    if job.status == "PAUSED" and run.status in ("PENDING", "POSTING"):
        return "PAUSED"
    return "RUNNING" if run.status in ("POSTING", "POSTED") else run.status


class Counts(NamedTuple):
    """What the rows of a run have come to. Amounts are minor units."""

    total: int | None
    """None while the run has not started."""
    accepted: int
    applied: int
    """Moved money, or hold it."""
    rejected: dict[RejectReason, int]
    undecided: int
    applied_amount: int
    rate: float
    """Rows accepted a second."""
    left_s: float | None
    """Seconds until the rest is accepted, at that rate; None when nothing is left, or nothing can be said."""

    @property
    def unposted(self) -> int | None:
        return None if self.total is None else self.total - self.accepted


def counts_of(job: JobRow, run: RunRow, tally: list[Tally], now: datetime) -> Counts:
    """Count the rows of a run. ``tally`` is what ``funding_store.tally`` says."""
    applied = [each for each in tally if each.status is not None and each.reason is None]
    undecided = sum(each.rows for each in tally if each.status is None)
    rejected = {RejectReason(each.reason): each.rows for each in tally if each.reason is not None}
    running = status_of_run(job, run) == "RUNNING"
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


# Creating


class Created(NamedTuple):
    """A new job, or the one that was there before."""

    job: JobRow
    run: RunRow | None
    """Of a job that runs now."""
    replayed: bool


def create(
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
            prior = funding_store.find_job_by_reference(conn, request.reference)
        asked_at = prior.created_at if prior is not None else now
    draft = _draft(request, given, directory, asked_at)
    with begin(engine) as conn:
        job, _ = _keep(conn, draft, directory, now)
        if funding_store.insert_job(conn, job):
            run = _run_now(conn, job, now) if draft.runs_now else None
            return Created(found(conn, job.job_id), run, False)
        conn.rollback()
    with begin(engine) as conn:
        first = funding_store.find_job_by_reference(conn, job.reference)
        assert first is not None
        if first.digest != job.digest:
            raise Conflict(
                "FND_DUPLICATE_REFERENCE",
                f"reference {job.reference} has already been used by a funding job whose {_difference(first, job)} differs",
                {"reference": job.reference, "job_id": first.job_id},
            )
        return Created(first, funding_store.find_run_of(conn, first.id, NOW), True)


@dataclass
class Rehearsal:
    """What a run would come to, over the balances as they are. Amounts are minor units."""

    job: JobRow
    rows: int
    amount: int
    refusal: dict[str, Any] | None
    """Why the run would not begin."""
    last_row: int | None
    """Rows after it are beyond the limit, and would not be posted."""
    pool_before: int = 0
    pool_after: int = 0
    applied: int = 0
    applied_amount: int = 0
    rejected: "Counter[RejectReason]" = field(default_factory=Counter)
    """Rows by reason."""
    examples: list[tuple[FundingRow, Outcome]] = field(default_factory=list)
    """The first rows that would be rejected."""
    names: dict[int, str] = field(default_factory=dict)
    """Of the balances of the examples."""
    new_names: list[str] = field(default_factory=list)
    """``@Names`` that have no balance yet, and would get one. One that is mistyped is among them."""

    @property
    def beyond_limit(self) -> int:
        """Rows that would not be posted, for the money does not go so far."""
        return self.rows - self.applied - self.rejected.total() if self.last_row is not None else 0


def rehearse(
    engine: Engine, request: FundingRequest, given: Iterable[Given] | None, directory: Directory, now: datetime
) -> Rehearsal:
    """Do all that ``create`` and the start of a run would do, decide the rows with the engine, and keep nothing.

    Raises:
        InvalidRequest, NotFound: as ``create``.
    """
    draft = _draft(request, given, directory, now)
    with begin(engine) as conn:
        job, new_names = _keep(conn, draft, directory, now)
        plan = plan_of(conn, job, new_key())
        rehearsal = _rehearse(conn, job, plan)
        rehearsal.new_names = sorted(new_names)
        conn.rollback()
    return rehearsal


# What a run will post


class Plan(NamedTuple):
    """What a run will post, fixed when it starts. Amounts are minor units."""

    list: UUID
    rows: int
    amount: int
    last_row: int | None
    """Rows after it are beyond the limit; None when there are none."""
    refusal: dict[str, Any] | None
    """Why it is not to begin."""


def plan_of(conn: Connection, job: JobRow, run: UUID, *, list: UUID | None = None) -> Plan:
    """Fix what a run will post: the job's list, or the balances that its rule names now, and how far the money goes.

    ``list`` is there already when the run retries another. Of a top-up it is cut to what is missing by now.
    """
    terms = terms_of(job)
    rule = rule_of(job, terms)
    if list is None and rule is not None:
        funding_store.fill_by_rule(conn, run, rule)
        list = run
    elif list is not None and rule is not None and rule.top_up_to is not None:
        funding_store.cut_to_missing(conn, list, rule.top_up_to)
    # What a job's own list comes to was added up when it was loaded.
    known = (job.row_count, job.amount) if list is None else funding_store.totals(conn, list)
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
        return Plan(list, rows, amount, funding_store.last_row_within(conn, list, room), None)
    asked, able = to_text(amount, job.precision), to_text(room, job.precision)
    (first,) = funding_store.read_rows(conn, list, after=funding_store.last_row_within(conn, list, room), limit=1)
    under_way = funding_store.unposted_amount(conn, job.source)
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
    """What the pool can pay, its overdraft included, beside what runs under way have yet to post, in minor units.

    None when there is no limit.
    """
    if terms.allow_overdraft and terms.overdraft_limit is None:
        return None
    pool = outcome_store.read_balances(conn, [job.source])[job.source]
    able = pool.balance - pool.inflight_debit + (terms.overdraft_limit or 0)
    return able - funding_store.unposted_amount(conn, job.source)


def rule_of(job: JobRow, terms: FundingTerms) -> Rule | None:
    """Whom the job funds, if that is a rule."""
    if terms.filters is None:
        return None
    listing = _listing(terms.filters, terms.logical_operator)
    return Rule(listing, job.currency, job.source, terms.amount, terms.top_up_to)


class Forecast(NamedTuple):
    """What the pool will be after the next run, if nothing else happens to it. Amounts are minor units."""

    rows: int
    amount: int
    balance: int
    """Now."""
    balance_after: int
    runs_left: int | None
    """Whole runs that it still carries; None when there is no limit."""


def forecast(conn: Connection, job: JobRow) -> Forecast:
    """Look ahead by one run of a job, as it would be now."""
    terms = terms_of(job)
    rule = rule_of(job, terms)
    rows, amount = (job.row_count or 0, job.amount or 0) if rule is None else funding_store.totals_by_rule(conn, rule)
    pool = outcome_store.read_balances(conn, [job.source])[job.source]
    room = room_of(conn, job, terms)
    runs_left = None if room is None or not amount else max(room, 0) // amount
    moved = amount if room is None or amount <= room else 0
    if room is not None and not moved and terms.until_limit:
        moved = funding_store.amount_within(conn, job.id if rule is None else rule, room)
    return Forecast(rows, amount, pool.balance, pool.balance - (0 if terms.inflight else moved), runs_left)


def forecast_within(engine: Engine, job: JobRow, seconds: float) -> Forecast | None:
    """The forecast of a job; None when it takes longer, as that of a rule may, which reads every balance that it names."""
    try:
        with reading_within(engine, seconds) as conn:
            return forecast(conn, job)
    except TooSlow:
        return None


def rows_of(
    conn: Connection, run: RunRow, *, limit: int, after: int, status: str | None
) -> tuple[list[RowState], dict[int, TransactionRow]]:
    """Rows of a run, as ``funding_store.row_states`` finds them, and their transactions by seq."""
    rows = funding_store.row_states(conn, run, limit=limit, after=after, status=status)
    seqs = [seq for row in rows for seq in (row.seq, row.first_seq) if seq is not None]
    return rows, {found.seq: found for found in transaction_store.find_seqs(conn, seqs)}


def _rehearse(conn: Connection, job: JobRow, plan: Plan) -> Rehearsal:
    terms = terms_of(job)
    pool = outcome_store.read_balances(conn, [job.source])[job.source]
    found = Rehearsal(job, plan.rows, plan.amount, plan.refusal, plan.last_row, pool.balance, pool.balance)
    if plan.refusal is not None:
        return found
    for rows in _pieces(conn, plan, plan.rows if terms.atomic else REHEARSED):
        book = Book(outcome_store.read_balances(conn, {row.destination for row in rows}), {})
        book.balances[job.source] = pool
        outcomes = decide_all([_posting(job, terms, row) for row in rows], book, atomic=terms.atomic)
        pool = book.balances[job.source]
        for row, outcome in zip(rows, outcomes, strict=True):
            if outcome.rejection is None:
                found.applied += 1
                found.applied_amount += outcome.amount
            else:
                found.rejected[RejectReason(outcome.rejection.reason)] += 1
                if len(found.examples) < MAX_REJECTED:
                    found.examples.append((row, outcome))
    found.pool_after = pool.balance
    keys = [row.destination for row, _ in found.examples]
    balances = balance_store.find_keys(conn, keys)
    found.names = {key: row.indicator or row.balance_id for key, row in balances.items()}
    return found


def _pieces(conn: Connection, plan: Plan, size: int) -> Iterator[list[FundingRow]]:
    after = 0
    while rows := funding_store.read_rows(conn, plan.list, after=after, limit=max(size, 1)):
        after = rows[-1].row
        if plan.last_row is not None:
            rows = [row for row in rows if row.row <= plan.last_row]
            if not rows:
                return
        yield rows


_LATEST = 2**62
"""A rehearsal comes after everything that was accepted."""


def _posting(job: JobRow, terms: FundingTerms, row: FundingRow) -> Posting:
    kind = Kind.HOLD if terms.inflight else Kind.TRANSFER
    money = row.amount, terms.allow_overdraft, terms.overdraft_limit
    return Posting(_LATEST + row.row, kind, 0, job.source, row.destination, *money, None, None, None)


# Changing


def pause(engine: Engine, job_id: str) -> JobRow:
    """Stop a job after the rows that are posted; nothing comes due. Pausing twice is pausing.

    Raises:
        NotFound: there is no such job.
        Conflict: it is cancelled.
    """
    with begin(engine) as conn:
        job = _locked(conn, job_id)
        if job.status == "CANCELLED":
            raise _conflict(job, "is cancelled, and so cannot be paused")
        return _updated(conn, job, status="PAUSED", next_due=job.next_due, skipped=job.skipped)


def resume(engine: Engine, job_id: str, now: datetime) -> JobRow:
    """Go on with a job that is paused: with the run that it was at, and with what its schedule has from now on.

    What its cron expression had meanwhile is skipped, for it was paused on purpose; a single time still comes.

    Raises:
        NotFound, Conflict: as ``pause``.
    """
    with begin(engine) as conn:
        job = _locked(conn, job_id)
        if job.status == "CANCELLED":
            raise _conflict(job, "is cancelled for good; make a new one")
        terms, next_due, skipped = terms_of(job), job.next_due, job.skipped
        if job.status == "PAUSED" and terms.cron is not None and next_due is not None and next_due <= now:
            every = schedule_of(terms)._replace(count=None)
            try:
                due = schedule.due(every, next_due=next_due, now=now, missed=Missed.ONCE, made=0)
            except ZoneInfoNotFoundError:
                raise _conflict(job, f"has the time zone {terms.timezone}, which is not known any more") from None
            next_due, skipped = due.next_due, skipped + due.skipped + len(due.runs)
        return _updated(conn, job, status="ACTIVE", next_due=next_due, skipped=skipped)


def cancel(engine: Engine, job_id: str, now: datetime) -> JobRow:
    """End a job. What is posted stays; what is not stays unposted. Cancelling twice is cancelling.

    Raises:
        NotFound: there is no such job.
    """
    with begin(engine) as conn:
        job = _locked(conn, job_id)
        funding_store.cancel_runs(conn, job.id, now)
        return _updated(conn, job, status="CANCELLED", next_due=None, skipped=job.skipped)


NOW = "now"
"""The occurrence of a job that runs when it is made."""


def run_now(engine: Engine, job_id: str, reference: str | None, now: datetime) -> tuple[RunRow, bool]:
    """Run a job once more, beside its schedule. Returns the run, and whether it was there before.

    Raises:
        NotFound: there is no such job.
        Conflict: it is cancelled or paused.
        InvalidRequest: the reference is none.
    """
    if reference is not None and (problems := text_problems("reference", reference, MAX_REFERENCE // 2)):
        raise InvalidRequest(problems, BAD)
    with begin(engine) as conn:
        job = _locked(conn, job_id)
        occurrence = f"run_{reference or now.isoformat()}"
        if (first := funding_store.find_run_of(conn, job.id, occurrence)) is not None:
            return first, True
        if job.status != "ACTIVE":
            raise _conflict(
                job, "is cancelled; make a new one" if job.status == "CANCELLED" else "is paused; resume it"
            )
        return _run_now(conn, job, now, occurrence), False


def retry(engine: Engine, job_id: str, run_id: str, now: datetime) -> tuple[RunRow, bool]:
    """Post the rejected rows of a run again, under new references. Returns the new run, and whether it was there before.

    Each run is retried once; what is rejected again, or was not posted again, is a matter of the new one.

    Raises:
        NotFound: there is no such job, or run of it.
        Conflict: it is not decided yet, or nothing of it was rejected, or the job is cancelled or paused.
    """
    with begin(engine) as conn:
        job = _locked(conn, job_id)
        run = found_run(conn, job, run_id)
        if run.retried_by is not None:
            again = funding_store.find_run(conn, f"{funding_store.RUN_PREFIX}{run.retried_by}")
            assert again is not None
            return again, True
        if job.status != "ACTIVE":
            raise _conflict(
                job, "is cancelled; make a new one" if job.status == "CANCELLED" else "is paused; resume it"
            )
        if run.status in ("PENDING", "POSTING") or any(
            each.status is None for each in funding_store.tally(conn, run.id)
        ):
            raise Conflict("GEN_CONFLICT", "the run is not decided yet; retry it when it is", {"status": run.status})
        id = new_key()
        funding_store.insert_run(
            conn, id, job=job.id, occurrence=f"retry_{run.run_id}", due_at=now, created_at=now, retry_of=run.id
        )
        if not funding_store.fill_with_rejected(conn, id, run.id):
            raise Conflict("GEN_CONFLICT", "no row of the run was rejected; there is nothing to retry", {})
        again = funding_store.find_run(conn, f"{funding_store.RUN_PREFIX}{id}")
        assert again is not None
        return again, False


def found(conn: Connection, job_id: str) -> JobRow:
    """A job by its id.

    Raises:
        NotFound: there is none.
    """
    job = funding_store.find_job(conn, job_id)
    if job is None:
        raise NotFound("FND_NOT_FOUND", f"Funding job with ID '{job_id}' not found")
    return job


def found_run(conn: Connection, job: JobRow, run_id: str) -> RunRow:
    """A run of a job by its id.

    Raises:
        NotFound: there is none.
    """
    run = funding_store.find_run(conn, run_id)
    if run is None or run.job != job.id:
        raise NotFound("FND_NOT_FOUND", f"Run with ID '{run_id}' not found in funding job {job.job_id}")
    return run


def _locked(conn: Connection, job_id: str) -> JobRow:
    funding_store.find_job(conn, job_id, lock=True)
    return found(conn, job_id)  # As it is now that whoever had it is done.


def _updated(conn: Connection, job: JobRow, *, status: str, next_due: datetime | None, skipped: int) -> JobRow:
    funding_store.update_job(conn, job.id, status=status, next_due=next_due, runs_made=job.runs_made, skipped=skipped)
    return found(conn, job.job_id)


def _run_now(conn: Connection, job: JobRow, now: datetime, occurrence: str = NOW) -> RunRow:
    funding_store.insert_run(conn, new_key(), job=job.id, occurrence=occurrence, due_at=now, created_at=now)
    run = funding_store.find_run_of(conn, job.id, occurrence)
    assert run is not None
    return run


def _conflict(job: JobRow, text: str) -> Conflict:
    return Conflict("GEN_CONFLICT", f"the job {text}", {"status": job.status})


# What is asked


class _Draft(NamedTuple):
    """A job whose terms are right. Its rows are not looked at yet."""

    name: str
    reference: str
    source: str
    currency: str
    precision: int
    fix_precision: bool
    terms: FundingTerms
    ledger_id: str | None
    """Of a rule."""
    given: Iterable[Given] | None
    next_due: datetime | None
    runs_now: bool


def _draft(request: FundingRequest, given: Iterable[Given] | None, directory: Directory, now: datetime) -> _Draft:
    if problems := problems_of(request, given is not None, now):
        raise InvalidRequest(problems, BAD)
    source = request.source or ""
    if source[0] != "@":
        directory.know([source])
        ref = directory.balance(source)
        if ref is None:
            raise NotFound("BAL_NOT_FOUND", f"Balance with ID '{source}' not found")
        if request.currency not in (None, ref.currency):
            text = f"is {request.currency}, but the source balance is in {ref.currency}"
            raise InvalidRequest([("currency", text)], "TXN_CURRENCY_MISMATCH")
        currency = ref.currency
    elif request.currency is None:
        raise InvalidRequest([("currency", "cannot be blank, as an @Name may have several")], BAD)
    else:
        currency = request.currency
        directory.know([(source, currency)])
    asked = int(request.precision) if request.precision else None
    fixed = directory.precision(currency) if directory.check_precision else None
    if fixed is not None:
        check_precision(currency, asked, fixed)
    elif asked is None and directory.check_precision:
        # A posting may leave it open, and takes minor units. What is repeated for years must not change its meaning.
        text = f"is required, as nothing has fixed that of {currency} yet: 100 for cents"
        raise InvalidRequest([("precision", text)], BAD)
    precision = fixed or asked or 1
    terms = terms_from(request, precision)
    if terms.filters is not None:
        _listing(terms.filters, terms.logical_operator)
    runs_now = terms.at is None and terms.cron is None
    next_due = None if runs_now else next(schedule.occurrences(schedule_of(terms), after=_before(terms, now)), None)
    if next_due is None and not runs_now:
        raise InvalidRequest(
            [("ends_at" if terms.ends_at else "cron", "leaves no time at which the job would run")], BAD
        )
    rows = recipients.of_list(request.recipients) if request.recipients is not None else given
    fix = fixed is None and asked is not None and directory.check_precision
    name = (request.name or "").strip()
    ledger_id = None if request.rule is None else request.rule.ledger_id
    reference = request.reference or f"{funding_store.JOB_PREFIX}{new_key()}"
    return _Draft(name, reference, source, currency, precision, fix, terms, ledger_id, rows, next_due, runs_now)


def _before(terms: FundingTerms, now: datetime) -> datetime:
    """A single time may have come just now; of an expression, only what is to come counts."""
    return now if terms.at is None else now - schedule.GRACE - timedelta(microseconds=1)


def _keep(conn: Connection, draft: _Draft, directory: Directory, now: datetime) -> tuple[JobRow, set[str]]:
    """Check and keep the rows, and create what they name. The job itself is not kept yet.

    Returns it, and the ``@Names`` of the balances that were not there.
    """
    id, terms = new_key(), draft.terms
    if draft.ledger_id is not None and ledger_store.find(conn, draft.ledger_id) is None:
        raise NotFound("LGR_NOT_FOUND", "Ledger not found")
    digest = hashlib.sha256(_fingerprint(draft))
    rows = amount = None
    new_names: dict[str, int] = {}
    if draft.given is not None:
        loaded = recipients.load(
            conn,
            id,
            draft.given,
            source=draft.source,
            currency=draft.currency,
            precision=draft.precision,
            allow_duplicates=terms.allow_duplicates,
        )
        rows, amount, new_names = loaded.rows, loaded.amount, loaded.new_names
        digest.update(loaded.digest)
        if terms.atomic and rows > MAX_ATOMIC:
            raise InvalidRequest([("atomic", f"is possible for {MAX_ATOMIC} rows, and there are {rows}")], BAD)
    if draft.fix_precision:
        fixed = currency_store.fix_precision(conn, draft.currency, draft.precision)
        check_precision(draft.currency, draft.precision, fixed)
    source, created = _create(conn, draft, new_names, id, directory)
    pool = balance_store.find_keys(conn, [source])[source]
    job = JobRow(
        id,
        draft.reference,
        draft.name,
        source,
        pool.balance_id,
        pool.indicator,
        draft.currency,
        draft.precision,
        _encode(terms).decode(),
        digest.digest(),
        rows,
        amount,
        "ACTIVE",
        draft.next_due,
        0,
        0,
        now,
        0,
    )
    return job, created


def _create(
    conn: Connection, draft: _Draft, new_names: dict[str, int], list_id: UUID, directory: Directory
) -> tuple[int, set[str]]:
    """Create the balances that are named and not there. Returns the key of the pool, and their names."""
    names = set(new_names)
    ref = ref_of(draft.source, draft.currency, directory)
    if ref is None:
        names.add(draft.source)
    if names:
        pairs = [(name, draft.currency) for name in names]
        balance_store.create_indicators(conn, [(*pair, new_key()) for pair in pairs])
        refs = balance_store.find_indicators(conn, pairs)
        keys = {stood: refs[name, draft.currency].key for name, stood in new_names.items()}
        if keys:
            funding_store.rename_destinations(conn, list_id, keys)
        ref = ref or refs[draft.source, draft.currency]
    assert ref is not None
    return ref.key, names


def _fingerprint(draft: _Draft) -> bytes:
    """All that was asked but the rows."""
    return _encode([draft.name, draft.source, draft.currency, draft.precision, draft.terms])


def _difference(first: JobRow, second: JobRow) -> str:
    for what in ("name", "currency", "source", "precision"):
        if getattr(first, what) != getattr(second, what):
            return what
    ours, theirs = terms_of(first), terms_of(second)
    differing = (what for what in FundingTerms.__struct_fields__ if getattr(ours, what) != getattr(theirs, what))
    return next(differing, "list of recipients")


def _listing(clauses: list[FilterClause], logical_operator: str) -> Listing:
    return filters.of_request(BALANCES, FilterRequest(clauses, logical_operator), default=1)
