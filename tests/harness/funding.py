"""Funding jobs in tests: make one, advance it, and read what became of it.

What comes due is told by ``now``, far enough from the database's own clock that this does not matter.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Connection, Engine, text

from core.base.db import begin, reading
from core.base.errors import InvalidRequest
from core.base.ids import new_id
from core.funding import create, dry_run, posting, posting_store, run_store, runs, views
from core.funding import jobs as funding_jobs
from core.funding.create import Created
from core.funding.files.reader import FileReader
from core.funding.job_store import JobRow
from core.funding.progress import Progress
from core.funding.requests import FundingRequest, Recipient
from core.funding.run_store import RunRow
from core.funding.views import Counts
from core.ledger.directory import Directory
from core.ledger.store import balances as balance_store
from core.ledger.store import ledgers as ledger_store
from tests.harness.factories import Ledger

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
SOON = NOW + timedelta(hours=1)
LATER = SOON + timedelta(days=1)
HOURLY = "0 * * * *"


class Posted(NamedTuple):
    """A row of a run in the log."""

    reference: str
    destination: str
    amount: int
    status: int | None


APPLIED, INFLIGHT, REJECTED = 1, 2, 4


def funding_request(*rows: tuple[str, int], **fields: Any) -> FundingRequest:
    """Create a job that pays from @Pool, by unlimited overdraft, now, or as the fields say. Rows are destinations and cents."""
    given: dict[str, Any] = {
        "name": "wallets",
        "source": "@Pool",
        "currency": "USD",
        "precision": Decimal(100),
        "allow_overdraft": True,
        "again": True,
    }
    if rows:
        given["recipients"] = [Recipient(destination=name, precise_amount=amount) for name, amount in rows]
    return FundingRequest(**(given | fields))


def make_job(ledger: Ledger, *rows: tuple[str, int], now: datetime = NOW, **fields: Any) -> Created:
    return create.create_job(ledger.engine, funding_request(*rows, **fields), None, ledger.directory, now)


def create_job(ledger: Ledger, *rows: tuple[str, int], now: datetime = NOW, **fields: Any) -> JobRow:
    return make_job(ledger, *rows, now=now, **fields).job


def many_rows(count: int, amount: int = 1) -> list[tuple[str, int]]:
    return [(f"@W{number}", amount) for number in range(count)]


def set_piece(patched: pytest.MonkeyPatch, rows: int) -> None:
    for name in ("PIECE", "PIECE_IN_COMPANY"):
        patched.setattr(posting, name, rows)


def advance_all(ledger: Ledger, now: datetime = NOW) -> Progress:
    """Advance runs until nothing is left to do."""
    return runs.advance(ledger.engine, now=now, for_s=600)


def take_steps(ledger: Ledger, count: int, now: datetime = NOW) -> None:
    progress = Progress()
    for _ in range(count):
        assert runs.step(ledger.engine, now, progress)


def read_job(ledger: Ledger, job: JobRow) -> JobRow:
    with reading(ledger.engine) as conn:
        return funding_jobs.get_job(conn, job.job_id)


def read_runs(ledger: Ledger, job: JobRow) -> list[RunRow]:
    """Read the runs of a job, oldest first."""
    with reading(ledger.engine) as conn:
        return run_store.list_runs(conn, job.id, limit=1000, after=None)[::-1]


def read_run(ledger: Ledger, job: JobRow) -> RunRow:
    (run,) = read_runs(ledger, job)
    return run


def posted_by_run(ledger: Ledger, run: RunRow) -> list[Posted]:
    """Read the rows that a run has posted, in order."""
    sql = text(
        "SELECT reference, coalesce(indicator, 'bln_' || balance_id), log.amount, status FROM log "
        "JOIN balances ON balances.id = log.destination LEFT JOIN outcomes USING (seq) WHERE parent = :run ORDER BY seq"
    )
    with reading(ledger.engine) as conn:
        return [Posted(*row) for row in conn.execute(sql, {"run": run.run_id})]


def posted_by_job(ledger: Ledger, job: JobRow) -> list[Posted]:
    return [row for run in read_runs(ledger, job) for row in posted_by_run(ledger, run)]


def paid_pairs(ledger: Ledger, job: JobRow) -> list[tuple[str, int]]:
    """Return destination and amount of each row that a job has posted."""
    return [(row.destination, row.amount) for row in posted_by_job(ledger, job)]


def run_statuses(ledger: Ledger, job: JobRow) -> list[str]:
    return [run.status for run in read_runs(ledger, job)]


def read_counts(ledger: Ledger, job: JobRow, run: RunRow, now: datetime = NOW) -> Counts:
    with reading(ledger.engine) as conn:
        return views.counts_of(job, run, posting_store.tally(conn, run.id), now)


def balance_of(ledger: Ledger, name: str) -> int:
    return ledger.balance(name).balance


def give(ledger: Ledger, **sums: int) -> None:
    """Fund internal balances from @World, in cents."""
    for name, amount in sums.items():
        ledger.post(destination=f"@{name}", precise_amount=amount)
    ledger.drain()


def create_ledger(ledger: Ledger, *currencies: str) -> tuple[str, list[str]]:
    """A ledger with a balance in each of these currencies."""
    ledger_id = new_id("ldg_")
    with begin(ledger.engine) as conn:
        ledger_store.create(conn, ledger_id, "customers", None)
        return ledger_id, [create_balance(conn, ledger_id, currency) for currency in currencies]


def create_balance(conn: Connection, ledger_id: str, currency: str = "USD") -> str:
    row = balance_store.create(conn, ledger_id=ledger_id, indicator=None, currency=currency, meta_data=None)
    return row.balance_id


TABLES = ("funding_jobs", "funding_rows", "funding_runs", "funding_postings", "balances", "currencies", "log")


def count_kept_rows(ledger: Ledger) -> list[int]:
    """Count the rows of every table that a job might change."""
    with reading(ledger.engine) as conn:
        return [conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in TABLES]


def refused(ledger: Ledger, *rows: tuple[str, int], csv: str | None = None, **fields: Any) -> InvalidRequest:
    """Return what is wrong with a job. Check that nothing of it is kept, and that its dry run is refused alike."""
    before = count_kept_rows(ledger)
    request = funding_request(*rows, **fields)
    found = []
    for ask in (dry_run.dry_run_job, create.create_job):
        given_ = None if csv is None else FileReader(BytesIO(csv.encode()), fields.get("file"))
        with pytest.raises(InvalidRequest) as caught:
            ask(ledger.engine, request, given_, Directory(ledger.engine), NOW)
        found.append(caught.value)
    assert count_kept_rows(ledger) == before
    assert found[0].message == found[1].message
    return found[1]


def bad_rows(error: InvalidRequest) -> list[tuple[int, str]]:
    assert error.code == "FND_INVALID_RECIPIENTS"
    assert error.details["problem_count"] == len(error.details["problems"])
    return [(each["row"], each["field"]) for each in error.details["problems"]]


def run_short_of_money(ledger: Ledger, job: JobRow, *, leaving: int, now: datetime = NOW) -> RunRow:
    """Start the job's next run, and take the pool's money away before its rows are posted."""
    progress = Progress()
    assert runs.step(ledger.engine, now, progress)
    run = read_runs(ledger, job)[-1]
    assert run.status == "POSTING"
    ledger.post(source="@Pool", destination="@World", precise_amount=balance_of(ledger, "@Pool") - leaving)
    advance_all(ledger, now)
    return read_runs(ledger, job)[-1]


def check_postings(engine: Engine) -> None:
    with reading(engine) as conn:
        kept = conn.execute(
            text("SELECT id, list, status, row_count, last_row, posted, posted_amount, posted_row FROM funding_runs")
        )
        found = {row.id: row for row in kept}
        rows = {
            row[:2]: row[2:] for row in conn.execute(text("SELECT list, row, destination, amount FROM funding_rows"))
        }
        posted = conn.execute(
            text(
                "SELECT run, row, seq, destination, amount FROM funding_postings AS p FULL JOIN "
                "(SELECT * FROM log WHERE parent LIKE 'run\\_%') AS l USING (seq) ORDER BY seq"
            )
        ).all()
    assert None not in {row.run for row in posted} | {row.destination for row in posted}
    for run in found.values():
        mine = [row for row in posted if row.run == run.id]
        numbers = [row.row for row in mine]
        assert numbers == sorted(set(numbers))
        assert [rows[run.list, row.row] for row in mine] == [(row.destination, row.amount) for row in mine]
        assert (run.posted, run.posted_amount) == (len(mine), sum(row.amount for row in mine))
        assert run.posted_row == (numbers[-1] if numbers else 0)
        wanted = [row for list, row in rows if list == run.list and (run.last_row is None or row <= run.last_row)]
        assert run.status != "COMPLETED" or numbers == sorted(wanted)
