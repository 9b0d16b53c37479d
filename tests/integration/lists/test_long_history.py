"""Every list looks at no more rows than it may, however long the history is, and says so when it ends early."""

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, Engine, text

from core.base.db import Watched, begin, connect, driver, reading, reading_within, without_transaction
from core.ledger import history as written_spans
from core.ledger.store import history as ledger_history
from core.ledger.store import spans, statement, transaction_list
from core.ledger.store.balance_list import BALANCES, find_balances
from core.ledger.store.transaction_list import TRANSACTIONS, find_transactions
from core.lists import filters, query
from core.lists.fields import Extent
from core.lists.shape import Values
from core.lists.statements import Statement
from ops.proving.past import POOL, Shape, write
from tests.harness.databases import new_database

ROWS, LOOKED_AT = 12_000, 100


@pytest.fixture(scope="module")
def long_ago(postgres: str) -> Iterator[Engine]:
    """A ledger with twelve thousand transactions, of which two hundred wait."""
    engine = connect(new_database(postgres))
    write(engine, Shape(ROWS, customers=600, undecided=200))
    yield engine
    engine.dispose()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of the log and of the balances that each statement of a list reads, from now on."""
    found: list[int] = []
    run = query.run

    def explain(conn: Connection, statement: Statement, values: Values) -> list[Any]:
        ((plan,),) = run(
            conn, Statement(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.sql}", statement.constants), values
        )
        found.append(sum(_read(plan)))
        return run(conn, statement, values)

    monkeypatch.setattr(query, "run", explain)
    monkeypatch.setattr(query, "LOOKED_AT", LOOKED_AT)
    monkeypatch.setattr(query, "SCATTERED", LOOKED_AT)
    return found


def _read(plan: Any, *tables: str) -> Iterator[int]:
    """Yield the rows that each scan of the tables has read. The default is those of lists."""
    if isinstance(plan, (list, tuple)):
        for each in plan:
            yield from _read(each, *tables)
    elif isinstance(plan, dict):
        if plan.get("Relation Name") in (tables or ("log", "balances")):
            yield round((plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"])
        for each in plan.values():
            yield from _read(each, *tables)


ENDS_EARLY = [
    {"amount_gte": "5000000"},
    {"precise_amount": "7"},
    {"currency": "EUR"},
    {"description_like": "%nothing%"},
    {"reference_like": "%none"},
    {"meta_data.shop": "none"},
    {"meta_data.order_gt": "5000000"},
    {"created_by": "nobody"},
    {"status": "APPLIED", "amount_gte": "5000000"},
    {"source": "{pool}", "currency": "EUR"},
    {"balance_id": "{pool}", "status": "REJECTED"},
    {"offset": "5000", "currency": "USD"},
    *({"sort_by": name} for name in ("amount", "precise_amount", "effective_date", "description", "currency")),
    {"amount_gte": "5000000", "include_count": "true"},
]
IS_WHOLE = [
    {},
    {"offset": "5000"},
    {"include_count": "true"},
    {"created_at": "2025-11"},
    {"created_at_lt": "2025-03"},
    {"sequence_between": "4000|4050"},
    {"effective_date_lt": "2020"},
    {"source": "{pool}"},
    {"source": "{pool}", "created_at_lt": "2025-03"},
    {"balance_id": "{pool}"},
    {"indicator": "@FundingPool"},
    {"sort_by": "reference"},
    {"sort_by": "transaction_id"},
]


def _find(engine: Engine, asked: dict[str, str], order: str) -> Extent:
    with reading(engine) as conn:
        pool = conn.execute(text(f"SELECT 'bln_' || balance_id FROM balances WHERE id = {POOL}")).scalar_one()
    given = {name: value.replace("{pool}", pool) for name, value in asked.items()} | {"sort_order": order}
    listing = filters.of_query(TRANSACTIONS, given.items(), limit=20, offset=int(given.pop("offset", "0")))
    with reading_within(engine, 60) as conn:
        return find_transactions(conn, listing)[1]


@pytest.mark.parametrize("asked", ENDS_EARLY, ids=str)
def test_a_look_at_many_rows_ends_early_and_says_so(long_ago: Engine, reads: list[int], asked: dict[str, str]) -> None:
    for order in ("desc", "asc"):
        extent = _find(long_ago, asked, order)
        assert extent.truncated
        assert (extent.ended_at is None) == ("sort_by" in asked)
    # A quarter of the rows are of the pool, and the planner may read the others between them.
    assert max(reads) <= 5 * LOOKED_AT, reads


@pytest.mark.parametrize("asked", IS_WHOLE, ids=str)
def test_a_page_that_an_index_finds_is_whole(long_ago: Engine, reads: list[int], asked: dict[str, str]) -> None:
    for order in ("desc", "asc"):
        assert not _find(long_ago, asked, order).truncated
    assert max(reads) <= 4 * LOOKED_AT, reads


@pytest.fixture(scope="module")
def dated(postgres: str) -> Iterator[Engine]:
    """A ledger of two thousand transactions, each fourth of which counts from the day before."""
    engine = connect(new_database(postgres))
    write(engine, Shape(2000, customers=50))
    with begin(engine) as conn:
        conn.execute(text("SET LOCAL session_replication_role = replica"))  # Else history refuses.
        conn.execute(text("UPDATE log SET effective_date = accepted_at - interval '1 day' WHERE seq % 4 = 0"))
    yield engine
    engine.dispose()


@pytest.mark.parametrize("asked", [{"effective_date": "2025-03"}, {"effective_date_in": "2025-02,2025-08-01"}], ids=str)
def test_the_rows_of_a_date_that_many_have_are_walked(
    dated: Engine, reads: list[int], asked: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOOKED_AT", "SCATTERED"):
        monkeypatch.setattr(query, name, 20)
    few, looks = _every_row(dated, asked)
    assert looks == len(few) // 20 + 1, "an index finds them"
    monkeypatch.setattr(transaction_list, "MANY_DATED", 20)
    reads.clear()
    many, looks = _every_row(dated, asked)
    assert many == few and len(set(many)) == len(many) > 50
    assert looks > len(few) // 20 + 1, "a look ends early, and the next goes on"
    assert max(reads) <= 100, reads


def _every_row(engine: Engine, asked: dict[str, str]) -> tuple[list[int], int]:
    """List the rows of all pages, and count the pages."""
    found: list[int] = []
    after, looks = None, 0
    while True:
        listing = replace(filters.of_query(TRANSACTIONS, asked.items(), limit=20, offset=0), after=after)
        with reading_within(engine, 60) as conn:
            rows, extent = find_transactions(conn, listing)
        found += [row.seq for row in rows]
        looks += 1
        if extent.truncated:
            after = extent.ended_at
        elif len(rows) == 20:
            after = str(rows[-1].seq)
        else:
            return found, looks


@pytest.mark.usefixtures("reads")
def test_a_list_of_balances_ends_early_and_says_so(long_ago: Engine) -> None:
    for asked in ({"balance_gt": "99999999999999"}, {"meta_data.x": "1"}, {"sort_by": "balance"}):
        listing = filters.of_query(BALANCES, asked.items(), limit=20, offset=0)
        with reading_within(long_ago, 60) as conn:
            rows, extent = find_balances(conn, listing)
        assert extent.truncated and len(rows) == (20 if "sort_by" in asked else 0)


def test_a_page_of_a_run_of_thousands_reads_a_few_blocks(long_ago: Engine, reads: list[int]) -> None:
    """The members of a run are anywhere in the log, and its index has them by blocks of 1,024 positions."""
    with begin(long_ago) as conn:
        conn.execute(text("SET LOCAL session_replication_role = replica"))  # Else history refuses.
        conn.execute(text("UPDATE log SET parent = 'run_1' WHERE parent IS NULL AND seq % 2 = 0 AND seq < 9000"))
    with without_transaction(long_ago, within_s=60) as conn:
        conn.execute(text("ANALYZE log"))
        members = list(conn.execute(text("SELECT seq FROM log WHERE parent = 'run_1' ORDER BY seq")).scalars())
    assert len(members) > 2_000
    few = members[1000:1300]
    ranges = {"sequence_gte": str(few[0]), "sequence_lte": str(few[-1])}
    for asked, all_of_them in (
        ({}, members),
        ({"currency": "USD"}, members),
        ({"parent_transaction_in": "run_1,bulk_none"}, members),
        (ranges, few),
        (ranges | {"currency": "USD"}, few),
    ):
        for order, expected in (("asc", all_of_them), ("desc", all_of_them[::-1])):
            found: list[int] = []
            after: str | None = None
            while True:
                given = {"parent_transaction": "run_1"} | asked | {"sort_order": order}
                given |= {} if after is None else {"after": after}
                with reading_within(long_ago, 60) as conn:
                    rows, extent = find_transactions(
                        conn, filters.of_query(TRANSACTIONS, given.items(), limit=400, offset=0)
                    )
                found += [row.seq for row in rows]
                after = extent.ended_at or (str(rows[-1].seq) if len(rows) == 400 else None)
                if after is None:
                    break
            assert found == expected, (asked, order)
    assert max(reads) <= 1_100


def test_what_a_balance_holds_is_read_from_its_own_open_holds_alone(long_ago: Engine) -> None:
    statement = ledger_history._HELD.text.replace(":key", "%(key)s")
    count = text("SELECT count(*) FROM holds WHERE settled_at IS NULL AND :key IN (source, destination)")
    total = 0
    with reading(long_ago) as conn:
        conn.execute(text("SET LOCAL enable_seqscan = off"))  # The table is small here.
        for key in range(POOL, POOL + 250):
            summed = ledger_history.recomputed(conn, key)
            assert ledger_history.held(conn, key) == summed._replace(credit=0, debit=0)
            own = conn.execute(count, {"key": key}).scalar_one()
            found = driver(conn).execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", {"key": key}).fetchone()
            assert list(_read(found, "log")) == [0]
            assert sum(_read(found, "holds")) == own
            assert sum(_read(found, "outcomes")) <= 2
            total += own
    assert total > 5


def test_a_look_ends_earlier_among_rows_that_are_no_neighbours(
    long_ago: Engine, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "LOOKED_AT", ROWS + 1)
    for asked in ({"source": "{pool}", "currency": "EUR"}, {"balance_id": "{pool}", "status": "REJECTED"}):
        extent = _find(long_ago, asked, "desc")
        assert extent.truncated and extent.ended_at is not None
    for asked in (
        {"source": "{pool}", "sort_by": "amount"},
        {"source": "{pool}", "currency": "USD", "include_count": "true"},
        {"status_ne": "REJECTED", "sort_by": "amount"},
        {"status_ne": "REJECTED", "include_count": "true"},
        {"status_ne": "APPLIED", "include_count": "true"},
    ):
        assert _find(long_ago, asked, "desc").truncated, asked
    assert max(reads) <= 5 * LOOKED_AT, reads
    assert not _find(long_ago, {"currency": "EUR"}, "desc").truncated


def test_a_count_of_what_an_index_knows_reads_no_row(long_ago: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[Any] = []
    run = query.run

    def explain(conn: Connection, statement: Statement, values: Values) -> list[Any]:
        if "count(*)" in statement.sql or "looked_at" in statement.sql:
            ((plan,),) = run(conn, Statement(f"EXPLAIN (FORMAT JSON) {statement.sql}", statement.constants), values)
            counts.append(plan)
        return run(conn, statement, values)

    monkeypatch.setattr(query, "run", explain)
    with reading(long_ago) as conn:
        merchant = conn.execute(text("SELECT 'bln_' || balance_id FROM balances WHERE id = 7")).scalar_one()
    for asked in ({"balance_id": merchant}, {"source": "{pool}"}):
        counts.clear()
        extent = _find(long_ago, {**asked, "include_count": "true"}, "desc")
        assert extent.count and not extent.truncated
        assert set(_scans(counts)) == {"Index Only Scan"}
    counts.clear()
    monkeypatch.setattr(query, "LOOKED_AT", LOOKED_AT)
    extent = _find(long_ago, {"source": "{pool}", "include_count": "true"}, "desc")
    assert (extent.count, extent.truncated, len(counts)) == (LOOKED_AT, True, 1)


def _scans(plan: Any) -> Iterator[str]:
    """Yield how each table is scanned."""
    for each in plan if isinstance(plan, (list, tuple)) else plan.values() if isinstance(plan, dict) else ():
        yield from _scans(each)
    if isinstance(plan, dict) and "Relation Name" in plan:
        yield plan["Node Type"]


@pytest.mark.parametrize("basis", statement.Basis)
def test_the_planner_knows_how_many_entries_follow_in_a_statement(long_ago: Engine, basis: statement.Basis) -> None:
    """Where it thinks that few follow, it reads and sorts all, which took seconds for a balance of 600,000 entries."""
    written_spans.write_spans(long_ago)
    estimated, read = [], []

    class Explaining(Watched):
        def execute(self, query: Any, params: Any = None, **given: Any) -> Any:
            ((plan,),) = super().execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", params, **given).fetchall()
            estimated.append(max(_estimated(plan), default=0))
            read.append(sum(_read(plan, "outcomes")))
            return super().execute(query, params, **given)

    period = statement.Period(POOL, ROWS, None, None)
    with reading_within(long_ago, 60) as conn:
        driver(conn).__class__ = Explaining
        try:
            entries = statement.page(conn, basis, period, begin=None, before=0, limit=200)
        finally:
            driver(conn).__class__ = Watched
    assert len(entries) == 200
    assert max(read) <= 3 * spans.SIZE <= max(estimated), (read, estimated)


def _estimated(plan: Any) -> Iterator[int]:
    """Yield how many rows of outcomes the planner expects of each scan."""
    for each in plan if isinstance(plan, list) else plan.values() if isinstance(plan, dict) else ():
        yield from _estimated(each)
    if isinstance(plan, dict) and plan.get("Relation Name") == "outcomes":
        yield plan["Plan Rows"]
