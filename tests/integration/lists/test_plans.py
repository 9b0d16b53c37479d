"""Common filters use an index of the database."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from core.base.db import begin, connect, reading, reading_within
from core.ledger.store.balance_list import BALANCES, find_balances
from core.ledger.store.transaction_list import TRANSACTIONS, find_transactions
from core.lists import filters, query
from core.lists.fields import Listing, Resource
from core.lists.requests import FilterClause, FilterRequest
from core.lists.shape import Values
from core.lists.statements import Statement
from tests.harness.lists import Row

ROWS = 20_000
DECIDED = 19_900


@pytest.fixture
def filled(own_database_url: str) -> Iterator[Engine]:
    """A ledger with a past: in each hundred a split of two legs, open, committed and voided holds, rejections."""
    engine = connect(own_database_url)
    with begin(engine) as conn:
        for sql in _FILL:
            conn.execute(text(sql), {"rows": ROWS, "decided": DECIDED} if ":" in sql else {})
    with reading(engine) as conn:
        conn.execute(text("VACUUM ANALYZE"))
        conn.invalidate()
    yield engine
    engine.dispose()


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The plans of all composed statements that run from now on."""
    found: list[Any] = []
    run = query.run

    def explain(conn: Connection, statement: Statement, values: Values) -> list[Any]:
        ((plan,),) = run(conn, Statement(f"EXPLAIN (FORMAT JSON) {statement.sql}", statement.constants), values)
        found.append(plan)
        return run(conn, statement, values)

    monkeypatch.setattr(query, "run", explain)
    return found


_FILL = (
    "INSERT INTO balances (balance_id, ledger, indicator, currency) SELECT gen_random_uuid(), 1, "
    "CASE WHEN n % 2 = 0 THEN '@N' || n END, 'USD' FROM generate_series(1, 2000) AS n",
    "INSERT INTO log (seq, id, reference, kind, queue, source, destination, amount, currency, precision, description, "
    "allow_overdraft, hold_seq, parent, effective_date, accepted_at) SELECT n, cast(lpad(to_hex(n), 32, '0') AS uuid), "
    "'r' || n, CASE n % 100 WHEN 10 THEN 5 WHEN 20 THEN 2 WHEN 30 THEN 2 WHEN 40 THEN 2 ELSE 1 END, "
    "CASE WHEN n % 100 <> 10 THEN n % 8 END, CASE WHEN n % 3 = 0 THEN 1 ELSE 2 + n % 1500 END, 1700 + n % 300, "
    "100, 'USD', 100, 'd', true, NULL, CASE WHEN n % 100 IN (11, 12) THEN 'txn_' || cast(lpad(to_hex(n - n % 10), 32, '0') "
    "AS uuid) WHEN n % 7 = 0 THEN 'bulk_' || n / 200 END, CASE WHEN n % 50 = 3 THEN now() - n * interval '1 day' END, "
    "now() - (:rows - n) * interval '1 minute' FROM generate_series(1, :rows) AS n",
    "INSERT INTO outcomes (seq, status, amount, source, source_version, source_balance, destination, destination_version, "
    "destination_balance, reason, decided_at) SELECT seq, s, CASE s WHEN 4 THEN 0 ELSE 100 END, "
    "CASE WHEN s <> 4 THEN source END, CASE WHEN s <> 4 THEN seq END, CASE WHEN s <> 4 THEN 0 END, "
    "CASE WHEN s <> 4 THEN destination END, CASE WHEN s <> 4 THEN -seq END, CASE WHEN s <> 4 THEN 0 END, "
    "CASE WHEN s = 4 THEN 6 END, now() FROM (SELECT *, CASE WHEN kind = 2 THEN 2 WHEN seq % 97 = 0 THEN 4 ELSE 1 END AS s "
    "FROM log) AS log WHERE kind <> 5 AND seq <= :decided",
    "INSERT INTO holds (seq, amount, committed, voided, settled_at) SELECT seq, 100, "
    "CASE seq % 100 WHEN 20 THEN 100 ELSE 0 END, CASE seq % 100 WHEN 40 THEN 100 ELSE 0 END, "
    "CASE WHEN seq % 100 <> 30 THEN now() END FROM log WHERE kind = 2 AND seq <= :decided",
    "UPDATE queues SET cursor = :decided",
)
_SAMPLE = "SELECT 'bln_' || balance_id FROM balances WHERE id = {}"
_TXN = "txn_00000000-0000-0000-0000-000000000064"
COMMON: list[tuple[str, str, Any, bool]] = [
    ("transaction_id", "eq", _TXN, True),
    ("sequence", "lte", 50, True),
    ("reference", "eq", "r77", True),
    ("reference", "in", ["r77", "r78"], True),
    ("status", "eq", "QUEUED", True),
    ("status", "eq", "INFLIGHT", True),
    ("status", "eq", "REJECTED", True),
    ("status", "eq", "VOID", True),
    ("status", "eq", "APPLIED", False),
    ("status", "ne", "APPLIED", True),
    ("status", "in", ["QUEUED", "INFLIGHT"], True),
    ("status", "eq", "SCHEDULED", True),
    ("source", "eq", "{1}", False),
    ("source", "eq", "{78}", True),
    ("destination", "eq", "{1800}", True),
    ("balance_id", "eq", "{1}", False),
    ("balance_id", "eq", "{1800}", True),
    ("indicator", "eq", "@N1800", True),
    ("parent_transaction", "eq", "bulk_3", True),
    ("created_at", "eq", "{hour}", True),
    ("created_at", "gte", "{hour}", True),
    ("effective_date", "eq", "{day}", True),
    ("effective_date", "between", ["{day}", "{hour}"], False),
]
"""Field, operator, value, and whether so few match that counting them needs no walk through everything."""


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_common_filters_use_an_index(filled: Engine, plans: list[Any], order: str) -> None:
    with begin(filled) as conn:
        fields = {f"{{{key}}}": conn.execute(text(_SAMPLE.format(key))).scalar_one() for key in (1, 78, 1800)}
        now: datetime = conn.execute(text("SELECT max(accepted_at) FROM log")).scalar_one()
    # Yesterday is a whole day at any time of today.
    fields |= {"{hour}": now.strftime("%Y-%m-%dT%H"), "{day}": (now - timedelta(days=1)).strftime("%Y-%m-%d")}
    for field, operator, value, few in COMMON:
        for counted in (False, few):
            given = [fields.get(one, one) for one in value] if isinstance(value, list) else fields.get(value, value)
            clause = {"field": field, "operator": operator, "values" if isinstance(value, list) else "value": given}
            listing = _listing(TRANSACTIONS, [clause], sort_order=order, include_count=counted)
            plans.clear()
            with reading_within(filled, 60) as conn:
                rows, _ = find_transactions(conn, listing)
            assert rows or value == "SCHEDULED", (field, operator)
            assert plans or value == "SCHEDULED"
            walked = {name for plan in plans for name in _scanned(plan, by_index=few)}
            assert _NEEDED.get((field, str(value)), "") in json.dumps(plans)
            assert not walked & {"log", "outcomes"}, (field, operator, value, counted, walked)


def test_several_statuses_take_one_look_at_each_row(filled: Engine, plans: list[Any]) -> None:
    """The status of a row is in other tables."""
    with begin(filled) as conn:
        source = conn.execute(text(_SAMPLE.format(1))).scalar_one()
    looks = []
    for clause in ({"operator": "eq", "value": "VOID"}, {"operator": "in", "values": ["VOID", "REJECTED", "INFLIGHT"]}):
        clauses = [{"field": "source", "operator": "eq", "value": source}, {"field": "status", **clause}]
        plans.clear()
        with reading_within(filled, 60) as conn:
            rows, _ = find_transactions(conn, _listing(TRANSACTIONS, clauses))
        assert rows
        looks.append(json.dumps(plans).count('"Relation Name": "holds"'))
    assert looks[0] == looks[1] > 0


_NEEDED = {
    ("status", "REJECTED"): "outcomes_status_seq_idx",
    ("status", "INFLIGHT"): "holds_inflight_idx",
    ("status", "VOID"): "holds_voided_idx",
    ("effective_date", "{day}"): "log_effective_date_idx",
    ("parent_transaction", "bulk_3"): "log_parent_block_idx",
    ("created_at", "{hour}"): "log_pkey",
}


def test_common_filters_of_balances_use_an_index(filled: Engine, plans: list[Any]) -> None:
    with begin(filled) as conn:
        balance_id = conn.execute(text(_SAMPLE.format(77))).scalar_one()
        newest: datetime = conn.execute(text("SELECT max(created_at) FROM balances")).scalar_one()
    for field, operator, value in (
        ("balance_id", "eq", balance_id),
        ("indicator", "eq", "@N1800"),
        ("created_at", "gte", newest.isoformat()),
        (None, None, None),
    ):
        clauses = [{"field": field, "operator": operator, "value": value}] if field else []
        plans.clear()
        with reading_within(filled, 60) as conn:
            rows, _ = find_balances(conn, _listing(BALANCES, clauses))
        assert rows and plans
        assert "balances" not in {name for plan in plans for name in _scanned(plan, by_index=field is not None)}, field


def _scanned(plan: Any, *, by_index: bool = True) -> Iterator[str]:
    """Return the tables that are read whole, row by row or, if that counts, by an index that only sorts."""
    if isinstance(plan, list):
        for each in plan:
            yield from _scanned(each, by_index=by_index)
    elif isinstance(plan, dict):
        kind = plan.get("Node Type", "")
        useless = kind in ("Index Scan", "Index Only Scan") and "Index Cond" not in plan
        # An index that holds only rows of the filter finds them too.
        if kind == "Seq Scan" or (by_index and useless and plan["Index Name"] not in _PARTIAL):
            yield plan["Relation Name"]
        for each in plan.values():
            yield from _scanned(each, by_index=by_index)


_PARTIAL = ("log_split_idx", "holds_inflight_idx", "holds_voided_idx")


def _listing(resource: Resource, clauses: list[Row], **fields: Any) -> Listing:
    asked = FilterRequest([FilterClause(**each) for each in clauses], **fields)
    return filters.of_request(resource, asked, default=20)
