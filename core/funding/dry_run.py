"""Dry run of a funding job: decide its rows with the engine, and store nothing."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine

from core.base.db import begin
from core.base.ids import new_key
from core.funding import look_store, row_store
from core.funding.draft import draft_job, keep_rows
from core.funding.dry_run_answers import OddKind
from core.funding.files.rows import Given
from core.funding.job_store import JobRow
from core.funding.look_store import Seen
from core.funding.plan import plan_of
from core.funding.requests import FundingRequest, FundingTerms
from core.funding.row_store import FundingRow
from core.funding.run_store import Plan
from core.funding.terms import job_terms
from core.ledger.directory import Directory
from core.ledger.dry_run import decide_all
from core.ledger.rules.engine import Book
from core.ledger.rules.model import Kind, Outcome, Posting, RejectReason
from core.ledger.store import balances as balance_store
from core.ledger.store import outcomes as outcome_store

ROWS_AT_A_TIME = 5_000
"""The number of rows that are decided at once."""

REJECTED_LISTED = 100
"""The number of rejected rows that are listed. All are counted."""


FIRST_LISTED, ODD_LISTED = 3, 5
"""The numbers of the first or largest rows and of odd rows that are listed."""

LEAST_ODD = 3
"""In a list of fewer rows none is odd."""


@dataclass
class DryRun:
    """The result of a dry run, over the balances as they are now. Amounts are minor units."""

    job: JobRow
    rows: int
    amount: int
    refusal: dict[str, Any] | None
    """The reason why the run would be refused; None when it would not be."""
    last_row: int | None
    """The last row that the pool can pay; None when there is no such limit. Later rows would not be posted."""
    pool_before: int = 0
    pool_after: int = 0
    applied: int = 0
    applied_amount: int = 0
    rejected: "Counter[RejectReason]" = field(default_factory=Counter)
    """The number of rejected rows by reason."""
    examples: list[tuple[FundingRow, Outcome]] = field(default_factory=list)
    """The first rows that would be rejected."""
    names: dict[int, str] = field(default_factory=dict)
    """Names of the balances of the examples, by key."""
    new_names: list[str] = field(default_factory=list)
    """The ``@Names`` for which a balance would be created. A mistyped name is one of them."""

    first_rows: Sequence[Seen] = ()
    largest_rows: Sequence[Seen] = ()
    odd: dict[OddKind, Sequence[Seen]] = field(default_factory=dict)
    """The first rows of each kind that are odd."""

    @property
    def beyond_limit(self) -> int:
        """The number of rows that would not be posted because the pool cannot pay them."""
        return self.rows - self.applied - self.rejected.total() if self.last_row is not None else 0


def dry_run_job(
    engine: Engine, request: FundingRequest, given: Iterable[Given] | None, directory: Directory, now: datetime
) -> DryRun:
    """Do everything that ``create_job`` and the start of a run do, decide the rows, and roll back.

    Raises:
        InvalidRequest, NotFound: as ``create_job``.
    """
    draft = draft_job(request, given, directory, now)
    with begin(engine) as conn:
        job, new_names, _ = keep_rows(conn, draft, directory, now)
        plan = plan_of(conn, job, new_key())
        found = _decide_rows(conn, job, plan)
        found.new_names = sorted(new_names)
        _look(conn, found, plan)
        conn.rollback()
    return found


def _look(conn: Connection, found: DryRun, plan: Plan) -> None:
    """Look for what somebody should see before the rows are paid."""
    found.first_rows = look_store.first_rows(conn, plan.list, FIRST_LISTED)
    found.largest_rows = look_store.largest_rows(conn, plan.list, FIRST_LISTED)
    if plan.rows < LEAST_ODD:
        return
    for kind, look in (
        (OddKind.TOTAL, look_store.total_rows),
        (OddKind.LARGE, look_store.large_rows),
        (OddKind.TWICE, look_store.repeated_rows),
    ):
        if rows := look(conn, plan.list, ODD_LISTED):
            found.odd[kind] = rows


def _decide_rows(conn: Connection, job: JobRow, plan: Plan) -> DryRun:
    terms = job_terms(job)
    pools, pool_limits = outcome_store.read_with_limits(conn, [job.source])
    pool = pools[job.source]
    found = DryRun(job, plan.rows, plan.amount, plan.refusal, plan.last_row, pool.balance, pool.balance)
    if plan.refusal is not None:
        return found
    for rows in _read_in_pieces(conn, plan, plan.rows if terms.atomic else ROWS_AT_A_TIME):
        balances, limits = outcome_store.read_with_limits(conn, {row.destination for row in rows})
        book = Book(balances, {}, limits=limits | pool_limits)
        book.balances[job.source] = pool
        outcomes = decide_all([_posting(job, terms, row) for row in rows], book, atomic=terms.atomic)
        pool = book.balances[job.source]
        for row, outcome in zip(rows, outcomes, strict=True):
            if outcome.rejection is None:
                found.applied += 1
                found.applied_amount += outcome.amount
            else:
                found.rejected[RejectReason(outcome.rejection.reason)] += 1
                if len(found.examples) < REJECTED_LISTED:
                    found.examples.append((row, outcome))
    found.pool_after = pool.balance
    keys = [row.destination for row, _ in found.examples]
    rows_of = balance_store.find_keys(conn, keys)
    found.names = {key: row.indicator or row.balance_id for key, row in rows_of.items()}
    return found


def _read_in_pieces(conn: Connection, plan: Plan, size: int) -> Iterator[list[FundingRow]]:
    after = 0
    while rows := row_store.read_rows(conn, plan.list, after=after, limit=max(size, 1)):
        after = rows[-1].row
        if plan.last_row is not None:
            rows = [row for row in rows if row.row <= plan.last_row]
            if not rows:
                return
        yield rows


_AFTER_ALL = 2**62
"""The seq from which the rows of a dry run are numbered. It is higher than any seq of the log."""


def _posting(job: JobRow, terms: FundingTerms, row: FundingRow) -> Posting:
    kind = Kind.HOLD if terms.inflight else Kind.TRANSFER
    money = row.amount, terms.allow_overdraft, terms.overdraft_limit
    return Posting(_AFTER_ALL + row.row, kind, 0, job.source, row.destination, *money, None, None, None)
