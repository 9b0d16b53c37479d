"""A question about a run reads a few rows for each row of its list, even if the statistics know only of small lists."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text

from core.base.db import begin, driver, reading
from core.funding import posting_store, row_store, run_store, try_store
from core.funding.run_store import RunRow

ROWS = 4_000
READ_FOR_EACH_ROW = 20

JOB = """
    INSERT INTO funding_jobs (id, reference, name, source, currency, precision, terms, digest, status, created_at)
    VALUES (:job, 'r', 'wallets', 1, 'USD', 100, '{}', '', 'ACTIVE', now())
"""

# A run of which every tenth row is rejected.
RUN = """
    WITH run AS (
        INSERT INTO funding_runs (id, job, occurrence, due_at, status, list, posted_row, created_at)
        VALUES (:run, :job, :run, now(), 'POSTED', :list, :rows, now())
    ),
    funded AS (
        INSERT INTO balances (balance_id, ledger, currency)
        SELECT gen_random_uuid(), 1, 'USD'
        FROM generate_series(1, :rows)
        RETURNING id
    ),
    listed AS (
        INSERT INTO funding_rows (list, row, destination, amount)
        SELECT :list, row_number() OVER (ORDER BY id), id, 10
        FROM funded
    ),
    posted AS (
        INSERT INTO funding_postings (run, row, seq)
        SELECT :run, row, :seq + row
        FROM generate_series(1, :rows) AS row
    )
    INSERT INTO outcomes (seq, status, amount, reason, source, decided_at)
    SELECT :seq + row, 1, 10, NULL, 1, now()
    FROM generate_series(1, :rows) AS row
    WHERE row % 10 <> 0
    UNION ALL
    SELECT :seq + row, 4, 0, 1, NULL, now()
    FROM generate_series(1, :rows) AS row
    WHERE row % 10 = 0
"""


class Explaining:
    """The driver's connection, with a count of the rows that its statements read. Each statement is explained first."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self.read = 0

    def execute(self, sql: str, values: dict[str, Any], **options: Any) -> psycopg.Cursor[Any]:
        with self.connection.transaction(force_rollback=True):
            explained = self.connection.execute(
                f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}", values, prepare=False
            )
            ((found,),) = explained.fetchall()
        self.read += _read(found[0]["Plan"])
        return self.connection.execute(sql, values, **options)


def _read(node: dict[str, Any]) -> int:
    """Count the rows that come out of this node and all below it, and those that it reads and leaves out."""
    each = node["Actual Rows"] + sum(number for name, number in node.items() if name.startswith("Rows Removed by"))
    return int(each * node["Actual Loops"]) + sum(map(_read, node.get("Plans", ())))


@pytest.fixture
def small_history(engine: Engine) -> Engine:
    """Statistics that were made when all lists were small."""
    job = uuid4()
    with begin(engine) as conn:
        conn.execute(text("INSERT INTO balances (balance_id, ledger, currency) VALUES (gen_random_uuid(), 1, 'USD')"))
        conn.execute(text(JOB), {"job": job})
        for number in range(20):
            add_run(conn, job, rows=10, seq=10 * number)
    with reading(engine) as conn:
        conn.execute(text("VACUUM ANALYZE funding_rows, funding_runs, funding_postings, balances, outcomes, holds"))
        conn.invalidate()
    return engine


def add_run(conn: Connection, job: UUID, *, rows: int, seq: int) -> UUID:
    """Add a run whose list is its own. Its rows are posted after this seq."""
    run = uuid4()
    conn.execute(text(RUN), {"run": run, "list": run, "job": job, "rows": rows, "seq": seq})
    return run


@pytest.fixture
def large(small_history: Engine) -> Iterator[tuple[Connection, RunRow]]:
    """A run of a large list. Nothing looks at it between its making and the test, as all is in one transaction."""
    with begin(small_history) as conn:
        job = conn.execute(text("SELECT id FROM funding_jobs")).scalar_one()
        run = run_store.find_run(conn, f"run_{add_run(conn, job, rows=ROWS, seq=1_000)}")
        assert run is not None
        yield conn, run


@pytest.fixture
def explaining(large: tuple[Connection, RunRow], monkeypatch: pytest.MonkeyPatch) -> Explaining:
    found = Explaining(driver(large[0]))
    for module in (posting_store, row_store, try_store):
        monkeypatch.setattr(module, "driver", lambda conn: found)
    return found


@pytest.mark.parametrize("status", [None, *posting_store.ROW_STATUSES])
def test_the_rows_of_a_large_run_are_found_in_one_walk_along_its_list(
    large: tuple[Connection, RunRow], explaining: Explaining, status: str | None
) -> None:
    conn, run = large
    sql = "INSERT INTO funding_retries (retry, row, run) SELECT run, row, run FROM funding_postings WHERE run = :run"
    conn.execute(text(sql), {"run": run.id})
    found = posting_store.row_states(conn, run, limit=ROWS, after=0, status=status)
    assert len(found) == {None: ROWS, "APPLIED": ROWS * 9 // 10, "REJECTED": ROWS // 10}.get(status, 0)
    assert all(each.first_seq == each.seq for each in found)
    assert explaining.read < READ_FOR_EACH_ROW * ROWS


def test_a_first_page_of_a_large_run_reads_no_more_than_it_shows(
    large: tuple[Connection, RunRow], explaining: Explaining
) -> None:
    conn, run = large
    assert len(posting_store.row_states(conn, run, limit=20, after=0, status="REJECTED")) == 20
    assert explaining.read < READ_FOR_EACH_ROW * 20 * 10


@pytest.mark.parametrize("only", [None, "rejected"])
def test_the_rest_of_a_large_run_is_taken_without_reading_it_again_at_each_row(
    large: tuple[Connection, RunRow], explaining: Explaining, only: str | None
) -> None:
    conn, run = large
    conn.execute(text("UPDATE funding_runs SET status = 'COMPLETED' WHERE id = :run"), {"run": run.id})
    assert try_store.take_rows(conn, uuid4(), run.id, only) == ROWS // 10
    assert explaining.read < READ_FOR_EACH_ROW * ROWS
    assert try_store.take_rows(conn, uuid4(), run.id, only) == 0


def test_a_large_run_is_tallied_in_one_walk(large: tuple[Connection, RunRow], explaining: Explaining) -> None:
    conn, run = large
    assert sum(each.rows for each in posting_store.tally(conn, run.id)) == ROWS
    assert explaining.read < READ_FOR_EACH_ROW * ROWS


def test_a_large_list_is_cut_to_what_is_missing_without_reading_another_again_at_each_row(
    large: tuple[Connection, RunRow], explaining: Explaining
) -> None:
    conn, run = large
    other = add_run(conn, run.job, rows=ROWS, seq=2 * ROWS)
    conn.execute(text("UPDATE funding_runs SET status = 'POSTING', posted_row = 0 WHERE id = :run"), {"run": other})
    first = conn.execute(
        text("SELECT min(destination) FROM funding_rows WHERE list = :run"), {"run": run.id}
    ).scalar_one()
    conn.execute(
        text("UPDATE funding_rows SET destination = :first + row - 1 WHERE list = :run"), {"first": first, "run": other}
    )
    row_store.cut_to_missing(conn, run.id, 14)
    assert row_store.totals(conn, run.id) == (ROWS, 4 * ROWS)
    assert explaining.read < 2 * READ_FOR_EACH_ROW * ROWS
