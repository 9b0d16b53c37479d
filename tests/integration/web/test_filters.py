"""Filtered lists: what they find, in which order, and by which way through the database."""

import itertools
import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from werkzeug.test import TestResponse

from core.base.db import begin, connect, reading_within
from core.ledger.drain import drain
from core.ledger.rules.requests import FilterClause, FilterRequest
from core.lists import filters
from core.lists import query as found
from core.lists.filters import BALANCES, LEDGERS, OPERATORS, TRANSACTIONS, Type
from web.http import pages as lists

_references = itertools.count(1)
Row = dict[str, Any]


@pytest.fixture
def one_of_each(client: FlaskClient) -> dict[str, str]:
    """A transaction in each state that there is, by a name for it. Ids."""
    ids: dict[str, str] = {}

    def post(name: str, status: str, **fields: Any) -> None:
        body = _ok(client.post("/transactions", json=_transaction(skip_queue=True, **fields)), 200, 201, 400)
        if "transaction_id" not in body:
            body = client.get(f"/transactions/reference/{fields['reference']}").get_json()
        ids[name] = body["transaction_id"]
        assert body["status"] == status, (name, body)

    def settle(name: str, status: str, **fields: Any) -> None:
        asked = {"status": status, "skip_queue": True, **fields}
        _ok(client.put(f"/transactions/inflight/{ids[name]}", json=asked), 200)

    halves = [{"identifier": "@A", "distribution": "50%"}, {"identifier": "@C", "distribution": "left"}]
    poor = {"allow_overdraft": False, "source": "@Poor"}
    split: Row = {"destination": None, "destinations": halves, "precise_amount": 1001}
    post("paid", "APPLIED", meta_data={"tier": 5, "name": "Ann", "vip": True, "list": [1, 2]}, precise_amount=75023)
    post("paid in euros", "APPLIED", currency="EUR", effective_date="2020-02-29T12:30:00Z", meta_data={"tier": "5"})
    post("paid in thirds", "APPLIED", currency="TRD", precision=3, precise_amount=7, source="@A", destination="@C")
    post("backdated", "APPLIED", effective_date="2020-02-29T23:59:59.5Z", meta_data={"tier": 7.25, "name": "Bea"})
    post("held", "INFLIGHT", inflight=True)
    post("partly committed", "INFLIGHT", inflight=True, precise_amount=10)
    settle("partly committed", "commit", precise_amount=4)
    post("committed", "INFLIGHT", inflight=True, precise_amount=10)
    settle("committed", "commit")
    post("committed and voided", "INFLIGHT", inflight=True, precise_amount=10)
    settle("committed and voided", "commit", precise_amount=4)
    settle("committed and voided", "void")
    post("voided", "INFLIGHT", inflight=True, precise_amount=10)
    settle("voided", "void")
    post("rejected", "REJECTED", reference="r-poor", **poor)
    post("rejected hold", "REJECTED", reference="r-poor-hold", inflight=True, **poor)
    post("split", "APPLIED", **split)
    post("split held", "INFLIGHT", inflight=True, **split)
    post("split partly committed", "INFLIGHT", inflight=True, **split)
    settle("split partly committed", "commit", precise_amount=500)
    post("split committed", "INFLIGHT", inflight=True, **split)
    settle("split committed", "commit")
    post("split voided", "INFLIGHT", inflight=True, **split)
    settle("split voided", "void")
    post("split rejected", "REJECTED", reference="r-poor-split", **{**split, **poor})
    one_leg = [{"identifier": "@Poor", "precise_distribution": "1"}, {"identifier": "@A", "distribution": "left"}]
    post("split half rejected", "APPLIED", reference="r-half", source=None, sources=one_leg, destination="@C",
         allow_overdraft=False, precise_amount=100)  # fmt: skip
    refund = _ok(client.post(f"/refund-transaction/{ids['paid']}", json={"skip_queue": True}), 201)
    ids["refund"] = refund["transaction_id"]
    bulk = [_transaction(), _transaction(destination="@D", currency="EUR")]
    batch = _ok(client.post("/transactions/bulk", json={"transactions": bulk, "skip_queue": True}), 201)
    ids["batch"] = batch["batch_id"]
    for name in ("paid", "split", "held"):
        _ok(client.post(f"/{ids[name]}/metadata", json={"meta_data": {"added": name, "tier": 9}}), 200)
    ids["split half decided"] = _half_decided(client)
    # From here on nothing decides.
    undecided: dict[str, Row] = {
        "queued": {"source": "@Q", "destination": "@A"},
        "queued hold": {"source": "@Q", "inflight": True},
        "queued split": {"source": "@Q", **split},
        "scheduled": {"scheduled_for": "2999-01-01T00:00:00Z", "meta_data": {"tier": 5}},
        "scheduled split": {"scheduled_for": "2999-01-01T00:00:00Z", **split},
        "cancelled": {"scheduled_for": "2999-01-01T00:00:00Z"},
    }
    for name, fields in undecided.items():
        ids[name] = _ok(client.post("/transactions", json=_transaction(**fields)), 201)["transaction_id"]
    _ok(client.delete(f"/transactions/{ids['cancelled']}"), 200)
    asked = {"status": "commit"}
    ids["queued commit"] = _ok(client.put(f"/transactions/inflight/{ids['held']}", json=asked), 200)[
        "child_transaction"
    ]
    return ids


def _half_decided(client: FlaskClient) -> str:
    """A split of holds, of whose two legs in two queues one is decided: it is QUEUED, though money is held."""
    engine = client.application.extensions["pacioli"].engine
    for number in itertools.count():
        sources = [{"identifier": f"@Rich{number}{side}", "distribution": "50%"} for side in "LR"]
        asked = _transaction(source=None, sources=sources, inflight=True, precise_amount=10)
        split = _ok(client.post("/transactions", json=asked), 201)
        with begin(engine) as conn:
            sql = text("SELECT queue FROM log WHERE parent = :id ORDER BY seq")
            first, second = conn.execute(sql, {"id": split["transaction_id"]}).scalars()
        drain(engine, first)
        if first != second:
            return str(split["transaction_id"])
    raise AssertionError


def _transaction(**fields: Any) -> Row:
    """One cent from @World to @A by overdraft, unless told otherwise. None leaves a field out."""
    body = {
        "precise_amount": 1,
        "precision": {"TRD": 3}.get(fields.get("currency", ""), 100),
        "currency": "USD",
        "reference": f"r{next(_references):04}",
        "source": "@World",
        "destination": "@A",
        "description": "a test",
        "allow_overdraft": True,
    } | fields
    return {name: value for name, value in body.items() if value is not None}


def _ok(response: TestResponse, *statuses: int) -> Any:
    assert response.status_code in statuses, response.text
    return response.get_json()


# Everything against a loop in Python


def test_any_filter_finds_what_a_loop_over_all_transactions_finds(
    client: FlaskClient, one_of_each: dict[str, str]
) -> None:
    everything = [
        *_ok(client.get("/transactions?limit=1000"), 200),
        *(_ok(client.get(f"/transactions/{one_of_each[name]}"), 200) for name in WAITING),
    ]
    balances = {one["balance_id"]: one["indicator"] for one in client.get("/balances?limit=1000").get_json()}
    assert {row["status"] for row in everything} >= {"QUEUED", "INFLIGHT", "APPLIED", "VOID", "REJECTED", "SCHEDULED"}
    for row in everything:
        if row.get("meta_data", {}).pop("blnk_rejection_reason", None) and not row["meta_data"]:
            del row["meta_data"]  # An answer adds it; it is not stored.
        row["indicator"] = {balances.get(row["source"]), balances.get(row["destination"])} - {None, ""}
    _compare(client, "transactions", everything)


WAITING = ("scheduled", "scheduled split", "cancelled")


@pytest.mark.parametrize("things", ["balances", "ledgers"])
def test_any_filter_finds_what_a_loop_over_all_balances_and_ledgers_finds(
    client: FlaskClient, one_of_each: dict[str, str], things: str
) -> None:
    for number in range(4):
        meta_data = {"tier": number, "name": f"n{number}"} if number else None
        ledger = _ok(client.post("/ledgers", json={"name": f"L{number % 3}", "meta_data": meta_data}), 201)
        asked = {"ledger_id": ledger["ledger_id"], "currency": "USD", "meta_data": meta_data}
        _ok(client.post("/balances", json=asked), 201)
    everything = _ok(client.get(f"/{things}?limit=1000"), 200)
    assert len(everything) > 4
    _compare(client, things, everything)


def _compare(client: FlaskClient, things: str, everything: list[Row]) -> None:
    entity = {"transactions": TRANSACTIONS, "balances": BALANCES, "ledgers": LEDGERS}[things]
    fields = {**entity.fields, "meta_data.tier": Type.MEMBER, "meta_data.name": Type.MEMBER}
    id_name = f"{things[:-1]}_id"

    @st.composite
    def clauses(draw: Any) -> Row:
        field = draw(st.sampled_from(sorted(fields)))
        operator = draw(st.sampled_from(OPERATORS[fields[field]]))
        present = [each for row in everything for each in _values_of(row, field)]
        like_them = st.sampled_from(sorted(map(_wire, present), key=str) or ["x"])
        value = draw(like_them | st.sampled_from(_STRANGERS[fields[field]]))
        if operator in ("like", "ilike"):
            value = draw(
                st.sampled_from(["%", "", f"%{str(value)[3:7]}%", f"{str(value)[:3].upper()}%", "_0%", "a\\%"])
            )
        if operator in ("in", "between"):
            size = 2 if operator == "between" else draw(st.integers(1, 4))
            return {
                "field": field,
                "operator": operator,
                "values": [value, *(draw(like_them) for _ in range(size - 1))],
            }
        return {"field": field, "operator": operator, "value": value}

    @settings(max_examples=120, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        asked=st.lists(clauses(), max_size=3),
        logic=st.sampled_from(["and", "or"]),
        sort_by=st.sampled_from([None, *entity.sortable]),
        order=st.sampled_from(["asc", "desc"]),
        limit=st.sampled_from([3, 7, 1000]),
    )
    def run(asked: list[Row], logic: str, sort_by: str | None, order: str, limit: int) -> None:
        body = {"filters": asked, "logical_operator": logic, "sort_by": sort_by, "sort_order": order, "limit": limit}
        quantifier = any if logic == "or" and asked else all
        seen = everything
        if things == "transactions" and not _asks_for_scheduled(asked):
            seen = [row for row in everything if row["sequence"]]
        expected = [row for row in seen if quantifier(_holds(each, row, fields[each["field"]]) for each in asked)]
        expected.sort(key=lambda row: _sort_key(row, sort_by, things), reverse=order == "desc")
        pages = list(_walk(client, f"/{things}/filter", {**body, "include_count": True}))
        answered = [row[id_name] for page in pages for row in page["data"]]
        assert answered == [row[id_name] for row in expected], body
        assert {page["total_count"] for page in pages} == {len(expected)}

    run()


_STRANGERS: dict[Type, list[Any]] = {
    Type.TEXT: ["", "zzz", "txn_not-an-id", "%", "bln_00000000-0000-0000-0000-000000000000"],
    Type.NUMBER: [0, -1, 7.5, 10**40, "2.3333333333333333333"],
    Type.TIME: ["2020", "2020-02", "2020-02-29", "2020-02-29T12", "2020-02-29T12:30:00+00:00", "9999-12-31"],
    Type.STATUS: ["SCHEDULED", "VOID"],
    Type.BALANCE: ["bln_00000000-0000-0000-0000-000000000000", "@A"],
    Type.NAME: ["@Nobody", "@A", "@World"],
    Type.OBJECT: [{}, {"tier": 5}, {"tier": 5, "name": "Ann"}],
    Type.MEMBER: [5, "5", 7.25, "Ann", True, 6],
}


def _asks_for_scheduled(asked: list[Row]) -> bool:
    return any(
        each["field"] == "status"
        and each["operator"] in ("eq", "in")
        and "SCHEDULED" in each.get("values", [each.get("value")])
        for each in asked
    )


def _walk(client: FlaskClient, path: str, body: Row) -> Iterator[Any]:
    """The pages of a filter, by their Link headers."""
    while path:
        response = client.post(path, json=body)
        yield _ok(response, 200)
        path = response.headers.get("Link", "<>")[1:].partition(">")[0]


def _wire(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value) if isinstance(value, Decimal) else value


def _values_of(row: Row, field: str) -> list[Any]:
    """What a field has: nothing, or one value, or of both sides."""
    name, _, key = field.partition(".")
    value = row.get(name)
    if key:
        value = (value or {}).get(key)
    if field == "balance_id" and "source" in row:
        return [one for one in (row["source"], row["destination"]) if one]
    if field == "indicator" and isinstance(value, set):
        return sorted(value)
    if field == "amount":
        return [Decimal(row["precise_amount"]) / row["precision"]]
    if field in ("created_at", "effective_date"):
        return [datetime.fromisoformat(str(value))]
    return [] if value is None or (value == "" and field != "meta_data.name") else [value]


def _holds(asked: Row, row: Row, kind: Type) -> bool:
    """What a filter means, in Python."""
    values, operator = _values_of(row, asked["field"]), asked["operator"]
    if operator in ("isnull", "isnotnull"):
        return bool(bool(values) == (operator == "isnotnull"))
    given = asked["values"] if "values" in asked else [asked["value"]]
    if operator == "ne":
        both = kind is Type.NAME or (kind is Type.BALANCE and asked["field"] == "balance_id")
        return (both or bool(values)) and not any(
            _equals(kind, given[0], value, asked["field"], row) for value in values
        )
    if operator in ("eq", "in"):
        return any(_equals(kind, one, value, asked["field"], row) for one in given for value in values)
    return any(_compares(kind, operator, given, value, asked["field"], row) for value in values)


def _equals(kind: Type, given: Any, value: Any, field: str, row: Row) -> bool:
    if kind is Type.NUMBER:
        return _fraction(given, field, row) == _minor(value, field, row)
    if kind is Type.TIME:
        start, end = _span(given)
        return bool(start <= value < end)
    if kind is Type.OBJECT:
        return all(name in value and _same(value[name], one) for name, one in given.items())
    return _same(value, given)


def _same(one: Any, other: Any) -> bool:
    return bool(isinstance(one, bool) == isinstance(other, bool) and one == other)


def _compares(kind: Type, operator: str, given: list[Any], value: Any, field: str, row: Row) -> bool:
    if operator in ("like", "ilike"):
        flags = re.S | (re.I if operator == "ilike" else 0)
        parts = re.findall(r"\\.|.", given[0])
        pattern = "".join({"%": ".*", "_": "."}.get(part, re.escape(part[-1])) for part in parts)
        return re.fullmatch(pattern, _text(value), flags) is not None
    bounds: list[Any]
    if kind is Type.NUMBER:
        value, bounds = _minor(value, field, row), [_fraction(one, field, row) for one in given]
    elif kind is Type.TIME:
        bounds = [_span(one)[0] for one in given]
    elif kind is Type.MEMBER:
        numbers = [one for one in given if isinstance(one, (int, float)) and not isinstance(one, bool)]
        if len(numbers) == len(given):
            if isinstance(value, bool) or not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", str(value)):
                return False
            value, bounds = Decimal(str(value)), [Decimal(str(one)) for one in given]
        else:
            value, bounds = _text(value), [_text(one) for one in given]
    else:
        bounds = given
    match operator:
        case "gt":
            return bool(value > bounds[0])
        case "gte":
            return bool(value >= bounds[0])
        case "lt":
            return bool(value < bounds[0])
        case "lte":
            return bool(value <= bounds[0])
    return bool(bounds[0] <= value <= bounds[1])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _minor(value: Any, field: str, row: Row) -> Decimal:
    return Decimal(row["precise_amount"]) if field == "amount" else Decimal(str(value))


def _fraction(given: Any, field: str, row: Row) -> Decimal:
    return Decimal(str(given)) * (row["precision"] if field == "amount" else 1)


def _span(given: str) -> tuple[datetime, datetime]:
    """Only of the forms that are used here, and so written as a table."""
    if given in _SPANS:
        start, end = _SPANS[given]
        return datetime.fromisoformat(start), datetime.fromisoformat(end)
    start_at = datetime.fromisoformat(given)
    digits = len(given.partition(".")[2].partition("+")[0])
    return start_at, start_at + timedelta(microseconds=10 ** (6 - digits))


_SPANS = {
    "2020": ("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z"),
    "2020-02": ("2020-02-01T00:00:00Z", "2020-03-01T00:00:00Z"),
    "2020-02-29": ("2020-02-29T00:00:00Z", "2020-03-01T00:00:00Z"),
    "2020-02-29T12": ("2020-02-29T12:00:00Z", "2020-02-29T13:00:00Z"),
    "9999-12-31": ("9999-12-31T00:00:00Z", "9999-12-31T23:59:59.999999Z"),
}


def _sort_key(row: Row, sort_by: str | None, things: str) -> tuple[Any, ...]:
    if things != "transactions":
        values = _values_of(row, sort_by or "created_at")
        created_at = datetime.fromisoformat(row["created_at"])
        return (values[0] if values else "", created_at)
    place = (row["sequence"] or 10**19, row["transaction_id"])
    if sort_by in (None, "created_at", "sequence"):
        return place
    values = _values_of(row, sort_by or "")
    return (values[0] if values else "", *place)


def test_a_filter_by_status_agrees_with_every_transaction_as_it_is_read(
    client: FlaskClient, one_of_each: dict[str, str]
) -> None:
    ids = [row["transaction_id"] for row in _ok(client.get("/transactions?limit=1000"), 200)]
    status = {one: _ok(client.get(f"/transactions/{one}"), 200)["status"] for one in ids}
    assert status[one_of_each["split half decided"]] == "QUEUED"
    every = ("QUEUED", "INFLIGHT", "APPLIED", "VOID", "REJECTED")
    assert set(status.values()) == set(every)
    for size in range(1, 4):
        for wanted in itertools.combinations(every, size):
            body = {"filters": [{"field": "status", "operator": "in", "values": wanted}], "limit": 1000}
            rows = _ok(client.post("/transactions/filter", json=body | {"include_count": True}), 200)
            expected = [one for one in ids if status[one] in wanted]
            assert ([row["transaction_id"] for row in rows["data"]], rows["total_count"]) == (expected, len(expected))
    for one in every:
        rows = _ok(client.get(f"/transactions?limit=1000&status_ne={one}"), 200)
        assert [row["transaction_id"] for row in rows] == [id for id in ids if status[id] != one]


def test_pages_by_offset_are_those_of_the_whole(client: FlaskClient, one_of_each: dict[str, str]) -> None:
    for query in ("/transactions?status_in=APPLIED,VOID,REJECTED", "/transactions?reference_like=r%25"):
        whole = _ok(client.get(f"{query}&limit=1000"), 200)
        assert len(whole) > 12
        assert _ok(client.get(f"{query}&limit=5&offset=7"), 200) == whole[7:12]


def test_what_is_backdated_has_only_the_date_that_was_given(client: FlaskClient, one_of_each: dict[str, str]) -> None:
    backdated = {one_of_each["backdated"], one_of_each["paid in euros"]}
    for query, found_there in (("effective_date_lt=2021", True), ("effective_date_gte=2021", False)):
        rows = {row["transaction_id"] for row in _ok(client.get(f"/transactions?limit=1000&{query}"), 200)}
        assert rows and (backdated <= rows if found_there else not backdated & rows)


# The way through the database

ROWS = 20_000
DECIDED = 19_900


@pytest.fixture
def filled(own_database_url: str) -> Iterator[Engine]:
    """A ledger with a past: in each hundred a split of two legs, open, committed and voided holds, rejections."""
    engine = connect(own_database_url)
    with begin(engine) as conn:
        for sql in _FILL:
            conn.execute(text(sql), {"rows": ROWS, "decided": DECIDED} if ":" in sql else {})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("VACUUM ANALYZE"))
        conn.invalidate()
    yield engine
    engine.dispose()


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
def test_common_filters_use_an_index(filled: Engine, monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    with begin(filled) as conn:
        fields = {f"{{{key}}}": conn.execute(text(_SAMPLE.format(key))).scalar_one() for key in (1, 78, 1800)}
        now: datetime = conn.execute(text("SELECT max(accepted_at) FROM log")).scalar_one()
    # Yesterday, which is a whole day at any time of today.
    fields |= {"{hour}": now.strftime("%Y-%m-%dT%H"), "{day}": (now - timedelta(days=1)).strftime("%Y-%m-%d")}
    plans = _explained(monkeypatch)
    for field, operator, value, few in COMMON:
        for counted in (False, few):
            given = [fields.get(one, one) for one in value] if isinstance(value, list) else fields.get(value, value)
            clause = {"field": field, "operator": operator, "values" if isinstance(value, list) else "value": given}
            listing = _listing(TRANSACTIONS, [clause], sort_order=order, include_count=counted)
            plans.clear()
            with reading_within(filled, 60) as conn:
                rows, _ = found.find_transactions(conn, listing)
            assert rows or value == "SCHEDULED", (field, operator)
            assert plans or value == "SCHEDULED"
            walked = {name for plan in plans for name in _scanned(plan, by_index=few)}
            assert _NEEDED.get((field, str(value)), "") in json.dumps(plans)
            assert not walked & {"log", "outcomes"}, (field, operator, value, counted, walked)


_NEEDED = {
    ("status", "REJECTED"): "outcomes_status_seq_idx",
    ("status", "INFLIGHT"): "holds_inflight_idx",
    ("status", "VOID"): "holds_voided_idx",
    ("effective_date", "{day}"): "log_effective_date_idx",
    ("parent_transaction", "bulk_3"): "log_parent_idx",
    ("created_at", "{hour}"): "log_accepted_at_idx",
}


def test_common_filters_of_balances_use_an_index(filled: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = _explained(monkeypatch)
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
            rows, _ = found.find_balances(conn, _listing(BALANCES, clauses))
        assert rows and plans
        assert "balances" not in {name for plan in plans for name in _scanned(plan, by_index=field is not None)}, field


def _explained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The plans of all statements that a filter makes from now on."""
    plans: list[Any] = []
    execute = found._execute

    def explain(conn: Any, sql: str, values: Any) -> list[tuple[Any, ...]]:
        ((plan,),) = execute(conn, f"EXPLAIN (FORMAT JSON) {sql}", values)
        plans.append(plan)
        return execute(conn, sql, values)

    monkeypatch.setattr(found, "_execute", explain)
    return plans


def _scanned(plan: Any, *, by_index: bool = True) -> Iterator[str]:
    """Tables that are read from end to end, row by row or, if that counts, by an index that finds nothing, but sorts."""
    if isinstance(plan, list):
        for each in plan:
            yield from _scanned(each, by_index=by_index)
    elif isinstance(plan, dict):
        kind = plan.get("Node Type", "")
        useless = kind in ("Index Scan", "Index Only Scan") and "Index Cond" not in plan
        # One that only has what the filter is about is as good as found.
        if kind == "Seq Scan" or (by_index and useless and plan["Index Name"] not in _PARTIAL):
            yield plan["Relation Name"]
        for each in plan.values():
            yield from _scanned(each, by_index=by_index)


_PARTIAL = ("log_split_idx", "holds_inflight_idx", "holds_voided_idx")


def _listing(entity: Any, clauses: list[Row], **fields: Any) -> filters.Listing:
    asked = FilterRequest([FilterClause(**each) for each in clauses], **fields)
    return filters.of_request(entity, asked, default=20)


# The two forms, pages, counts


def test_a_query_means_the_same_as_a_body(client: FlaskClient, one_of_each: dict[str, str]) -> None:
    world = client.get("/balances/indicator/@World/currency/USD").get_json()["balance_id"]
    for query, clause in {
        "status_eq=REJECTED": ("status", "eq", "REJECTED"),
        "status_in=VOID,QUEUED": ("status", "in", ["VOID", "QUEUED"]),
        "status_neq=APPLIED": ("status", "ne", "APPLIED"),
        "amount_between=0.1|10.01": ("amount", "between", [0.1, 10.01]),
        "amount_gteq=750.23": ("amount", "gte", "750.23"),
        "amount_lteq=0.01": ("amount", "lte", "0.01"),
        "reference_like=r-%25": ("reference", "like", "r-%"),
        "parent_transaction_isnull=": ("parent_transaction", "isnull", None),
        "effective_date_eq=2020-02-29": ("effective_date", "eq", "2020-02-29"),
        "effective_date_eq=2020-02-29T13:30:00%2B01:00": ("effective_date", "eq", "2020-02-29T12:30:00Z"),
        f"balance_id_ne={world}": ("balance_id", "ne", world),
        "meta_data.vip_eq=true": ("meta_data.vip", "eq", True),
        "meta_data.tier_gt=6": ("meta_data.tier", "gt", 6),
        "meta_data_eq=%7B%22name%22:%22Bea%22%7D": ("meta_data", "eq", {"name": "Bea"}),
    }.items():
        field, operator, value = clause
        body = {"field": field, "operator": operator, "values" if isinstance(value, list) else "value": value}
        expected = _ok(client.post("/transactions/filter", json={"filters": [body], "limit": 100}), 200)
        assert expected, query
        assert _ok(client.get(f"/transactions?limit=100&{query}"), 200) == expected, query
    both = client.get("/transactions?status_eq=VOID&status_eq=REJECTED&logical_operator=or&limit=100").get_json()
    assert {row["status"] for row in both} == {"VOID", "REJECTED"}
    assert client.get("/transactions?status_eq=VOID&status_eq=REJECTED").get_json() == []


def test_a_number_in_a_query_finds_text_of_the_same_digits_too(
    client: FlaskClient, one_of_each: dict[str, str]
) -> None:
    found_ids = {row["transaction_id"] for row in client.get("/transactions?meta_data.tier_eq=5").get_json()}
    assert found_ids == {one_of_each["paid in euros"]}  # The other 5 is a 9 by now.
    assert client.post("/transactions/filter", json=_asking("meta_data.tier", "eq", 5)).get_json() == []
    assert client.get("/transactions?reference_eq=0001").status_code == 200


def test_what_is_no_filter_is_left_alone(client: FlaskClient, one_of_each: dict[str, str]) -> None:
    plain = client.get("/transactions").get_json()
    for name in (
        "instance_id",
        "org_id",
        "page",
        "per_page",
        "pagesize",
        "sort",
        "order",
        "order_by",
        "nothing",
        "a_b",
    ):
        assert client.get(f"/transactions?{name}=5").get_json() == plain, name


def test_a_count_is_of_all_that_match_also_when_nothing_does(client: FlaskClient, one_of_each: dict[str, str]) -> None:
    for things in ("transactions", "balances", "ledgers"):
        all_of_them = len(client.get(f"/{things}?limit=1000").get_json())
        for answer in (
            client.get(f"/{things}?include_count=true&limit=1"),
            client.post(f"/{things}/filter", json={"include_count": True, "limit": 1, "offset": 1000}),
            client.post(f"/{things}/filter?after=1", json={"include_count": True, "limit": 1}),
        ):
            assert _ok(answer, 200)["total_count"] == all_of_them, things
        nothing = _asking("created_at", "lt", "2000") | {"include_count": True}
        assert client.post(f"/{things}/filter", json=nothing).get_json() == {"data": [], "total_count": 0}
        assert client.post(f"/{things}/filter", json=nothing | {"include_count": False}).get_json() == []
        assert client.get(f"/{things}?created_at_lt=2000").get_json() == []


def test_pages_stay_right_while_rows_are_added(client: FlaskClient, one_of_each: dict[str, str]) -> None:
    expected = [row["transaction_id"] for row in client.get("/transactions?limit=1000&reference_like=r%25").get_json()]
    walked, path = [], "/transactions?limit=5&reference_like=r%25&offset=0"
    while path:
        response = client.get(path)
        walked += [row["transaction_id"] for row in _ok(response, 200)]
        path = response.headers.get("Link", "<>")[1:].partition(">")[0]
        _ok(client.post("/transactions", json=_transaction()), 201)
    assert walked == expected


def test_a_limit_below_one_is_the_default_in_a_body(client: FlaskClient, one_of_each: dict[str, str]) -> None:
    for limit in (0, -5, None):
        assert len(client.post("/transactions/filter", json={"limit": limit, "offset": -1}).get_json()) == 20
    assert client.post("/transactions/filter", json={"limit": 10**30, "offset": 10**30}).get_json() == []


def test_what_is_scheduled_is_listed_only_when_asked_for(client: FlaskClient, one_of_each: dict[str, str]) -> None:
    waiting = [one_of_each["scheduled split"], one_of_each["scheduled"]]

    def ids(**body: Any) -> list[str]:
        return [row["transaction_id"] for row in _ok(client.post("/transactions/filter", json=body), 200)]

    assert not set(waiting) & set(ids(limit=1000))
    assert ids(**_asking("status", "eq", "SCHEDULED")) == waiting
    assert ids(**_asking("status", "eq", "SCHEDULED"), sort_order="asc") == waiting[::-1]
    assert one_of_each["cancelled"] not in ids(**_asking("status", "eq", "VOID"))
    both = ids(filters=[{"field": "status", "operator": "in", "values": ["SCHEDULED", "VOID"]}], limit=1000)
    assert both[:3] == [one_of_each["cancelled"], *waiting]
    assert one_of_each["voided"] in both[3:]


# What cannot be meant


def test_what_cannot_be_meant_is_refused_and_says_what_would_be_right(client: FlaskClient) -> None:
    for things, clause, names in (
        ("transactions", {"field": "colour", "operator": "eq", "value": 1}, "colour parent_transaction"),
        ("transactions", {"field": "status.x", "operator": "eq", "value": 1}, "status.x"),
        ("transactions", {"field": "meta_data.a-b", "operator": "eq", "value": 1}, "meta_data.a-b"),
        ("transactions", {"field": "status", "operator": "almost", "value": 1}, "status almost isnotnull"),
        ("transactions", {"field": "status", "operator": "gt", "value": "VOID"}, "status gt eq"),
        ("transactions", {"field": "status", "operator": "eq", "value": "DONE"}, "status QUEUED, INFLIGHT"),
        ("transactions", {"field": "amount", "operator": "like", "value": "5"}, "amount like between"),
        ("transactions", {"field": "amount", "operator": "gt", "value": "much"}, "amount number"),
        ("transactions", {"field": "amount", "operator": "gt", "value": True}, "amount number"),
        ("transactions", {"field": "amount", "operator": "gt", "value": "1_0"}, "amount number"),
        ("transactions", {"field": "amount", "operator": "eq", "value": 10**1500}, "amount number"),
        ("transactions", {"field": "amount", "operator": "eq"}, "amount eq value"),
        ("transactions", {"field": "reference", "operator": "eq", "value": 5}, "reference text"),
        ("transactions", {"field": "reference", "operator": "eq", "value": "a\0b"}, "reference NUL"),
        ("transactions", {"field": "reference", "operator": "eq", "value": "x" * 1001}, "reference 1000"),
        ("transactions", {"field": "reference", "operator": "like", "value": "x\\"}, "reference escape"),
        ("transactions", {"field": "reference", "operator": "in", "value": "x"}, "reference in values"),
        ("transactions", {"field": "reference", "operator": "in", "values": ["x"] * 1001}, "reference 1000"),
        ("transactions", {"field": "created_at", "operator": "between", "values": ["2020"]}, "created_at between 2"),
        ("transactions", {"field": "created_at", "operator": "eq", "value": "yesterday"}, "created_at time"),
        ("transactions", {"field": "created_at", "operator": "eq", "value": "2026-02-30"}, "created_at time"),
        ("transactions", {"field": "created_at", "operator": "eq", "value": 2026}, "created_at time"),
        ("transactions", {"field": "meta_data", "operator": "eq", "value": "x"}, "meta_data object"),
        ("transactions", {"field": "meta_data.a", "operator": "eq", "value": {"b": "\0"}}, "meta_data.a value"),
        ("transactions", {"field": "meta_data.a", "operator": "eq", "value": None}, "meta_data.a value"),
        ("transactions", {"field": "meta_data.a", "operator": "like", "value": "\\"}, "meta_data.a escape"),
        ("balances", {"field": "status", "operator": "eq", "value": "VOID"}, "status inflight_balance"),
        ("ledgers", {"field": "currency", "operator": "eq", "value": "USD"}, "currency ledger_id"),
    ):
        response = client.post(f"/{things}/filter", json={"filters": [clause]})
        detail = _ok(response, 400)["error_detail"]
        assert detail["code"] == "GEN_BAD_REQUEST", clause
        assert detail["message"].startswith("Invalid filter: ")
        assert all(name in detail["message"] for name in names.split()), (clause, detail)
        assert detail["details"] == {"field": clause["field"]}


def test_a_number_that_nothing_can_hold_is_refused(client: FlaskClient) -> None:
    for number in ("1e999999999", "1e99999999999999999999", "1e5000", "9" * 5000, "[1e999999999]"):
        for field in ("amount", "meta_data.a"):
            body = f'{{"filters": [{{"field": "{field}", "operator": "eq", "value": {number}}}]}}'
            response = client.post("/transactions/filter", data=body, content_type="application/json")
            assert response.status_code == 400, (field, number)


def test_parameters_that_mean_nothing_are_refused_in_blnks_shape(client: FlaskClient) -> None:
    for name, wrong in (
        ("logical_operator", "xor"),
        ("sort_order", "up"),
        ("sort_by", "colour"),
        ("sort_by", "meta_data"),
        ("after", "x"),
    ):
        for response in (
            client.get(f"/transactions?{name}={wrong}"),
            client.post("/transactions/filter", json={name: wrong}),
        ):
            body = _ok(response, 400)
            assert body["error_detail"]["code"] == "GEN_VALIDATION_ERROR"
            assert (
                body["error_detail"]["details"]
                == body["errors"]
                == [{"Param": name, "Message": body["errors"][0]["Message"]}]
            )
            assert body["error"].startswith(f"{name}: must be ")
    body = _ok(client.get("/transactions?include_count=perhaps"), 400)
    assert body["errors"] == [{"Param": "include_count", "Message": "must be true or false"}]
    many = "&".join(["status_eq=VOID"] * 21)
    assert _ok(client.get(f"/transactions?{many}"), 400)["errors"][0]["Param"] == "filters"
    for path in ("transactions", "balances", "ledgers"):
        assert "sort_by" in _ok(client.get(f"/{path}?sort_by=no"), 400)["error"]


def test_a_misspelt_key_of_a_body_is_refused(client: FlaskClient) -> None:
    bodies: list[Any] = [
        {"filter": []},
        {"filters": [{"field": "status", "op": "eq"}]},
        {"filters": [{"operator": "eq"}]},
    ]
    for body in [*bodies, []]:
        assert client.post("/transactions/filter", json=body).status_code == 400
    response = client.post("/transactions/filter", data="", content_type="application/json")
    assert response.status_code == 400


def test_odd_values_of_a_query_are_answered(client: FlaskClient, one_of_each: dict[str, str]) -> None:
    odd = [
        "",
        "%27",
        "%5C",
        "%25",
        "%ED%A0%80",
        "%F0%9F%98%80",
        "1e3",
        "-0",
        "NaN",
        "null",
        "[]",
        "{}",
        "9" * 1000,
        "|",
        ",",
    ]
    for things, entity in (("transactions", TRANSACTIONS), ("balances", BALANCES), ("ledgers", LEDGERS)):
        for field, kind in {**entity.fields, "meta_data.tier": Type.MEMBER}.items():
            for operator in OPERATORS[kind]:
                for value in odd:
                    response = client.get(f"/{things}?{field}_{operator}={value}")
                    assert response.status_code in (200, 400), (field, operator, value, response.text)
                    if response.status_code == 400:
                        assert field in response.get_json()["error"]


def test_a_list_that_takes_too_long_is_cut_short(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "TIMEOUT_S", 0.1)
    client = app.test_client()
    with begin(app.extensions["pacioli"].engine) as conn:
        conn.execute(text("LOCK TABLE balances"))  # What it waits for does not matter.
        body = _ok(client.get("/balances"), 400)
    assert body["error_detail"]["code"] == "GEN_BAD_REQUEST"
    assert "narrow the filter" in body["error"]
    assert body["error_detail"]["details"]["indexed"] == ["balance_id", "ledger_id", "indicator", "created_at"]
    assert client.get("/balances").status_code == 200


def _asking(field: str, operator: str, value: Any) -> Row:
    return {"filters": [{"field": field, "operator": operator, "value": value}]}
