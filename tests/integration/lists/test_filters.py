"""Filters find what a loop in Python over everything finds, in the same order."""

import itertools
import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import patch

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from core.ledger.store.balance_list import BALANCES
from core.ledger.store.ledger_list import LEDGERS
from core.ledger.store.transaction_list import TRANSACTIONS
from core.lists import query
from core.lists.fields import OPERATORS, Type
from tests.harness.lists import Row, ok
from tests.harness.searching import search


def test_any_filter_finds_what_a_loop_over_all_transactions_finds(
    client: FlaskClient, one_of_each: dict[str, str]
) -> None:
    everything = [
        *ok(client.get("/transactions?limit=1000"), 200),
        *(ok(client.get(f"/transactions/{one_of_each[name]}"), 200) for name in WAITING),
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
        ledger = ok(client.post("/ledgers", json={"name": f"L{number % 3}", "meta_data": meta_data}), 201)
        asked = {"ledger_id": ledger["ledger_id"], "currency": "USD", "meta_data": meta_data}
        ok(client.post("/balances", json=asked), 201)
    everything = ok(client.get(f"/{things}?limit=1000"), 200)
    assert len(everything) > 4
    _compare(client, things, everything)


def _compare(client: FlaskClient, things: str, everything: list[Row]) -> None:
    resource = {"transactions": TRANSACTIONS, "balances": BALANCES, "ledgers": LEDGERS}[things]
    fields = {name: field.type for name, field in resource.fields.items()}
    fields |= {"meta_data.tier": Type.MEMBER, "meta_data.name": Type.MEMBER}
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

    @search(120)
    @given(
        asked=st.lists(clauses(), max_size=3),
        logic=st.sampled_from(["and", "or"]),
        sort_by=st.sampled_from([None, *resource.sortable]),
        order=st.sampled_from(["asc", "desc"]),
        limit=st.sampled_from([3, 7, 1000]),
        looked_at=st.sampled_from([3, query.LOOKED_AT, query.LOOKED_AT]),
    )
    def run(asked: list[Row], logic: str, sort_by: str | None, order: str, limit: int, looked_at: int) -> None:
        if sort_by not in (None, "created_at", "sequence"):
            looked_at = query.LOOKED_AT  # A look in another order does not go on.
        body = {"filters": asked, "logical_operator": logic, "sort_by": sort_by, "sort_order": order, "limit": limit}
        quantifier = any if logic == "or" and asked else all
        seen = everything
        if things == "transactions" and not _asks_for_scheduled(asked):
            seen = [row for row in everything if row["sequence"]]
        expected = [row for row in seen if quantifier(_holds(each, row, fields[each["field"]]) for each in asked)]
        expected.sort(key=lambda row: _sort_key(row, sort_by, things), reverse=order == "desc")
        with patch.object(query, "LOOKED_AT", looked_at), patch.object(query, "SCATTERED", looked_at):
            pages = list(_walk(client, f"/{things}/filter", {**body, "include_count": True}))
        answered = [row[id_name] for page in pages for row in page["data"]]
        assert answered == [row[id_name] for row in expected], body
        for page in pages:
            assert page["total_count"] == len(expected) or (page["truncated"] and page["total_count"] < len(expected))
        if looked_at == query.LOOKED_AT:
            assert not any("truncated" in page for page in pages)

    run()


_STRANGERS: dict[Type, list[Any]] = {
    Type.TEXT: ["", "zzz", "txn_not-an-id", "%", "bln_00000000-0000-0000-0000-000000000000"],
    Type.NUMBER: [0, -1, 7.5, 10**40, "2.3333333333333333333"],
    Type.TIME: ["2020", "2020-02", "2020-02-29", "2020-02-29T12", "2020-02-29T12:30:00+00:00", "9999-12-31"],
    Type.CHOICE: ["SCHEDULED", "VOID"],
    Type.LINK: ["bln_00000000-0000-0000-0000-000000000000", "@A"],
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
    """Read the pages of a filter by their Link headers."""
    while path:
        response = client.post(path, json=body)
        yield ok(response, 200)
        path = response.headers.get("Link", "<>")[1:].partition(">")[0]


def _wire(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value) if isinstance(value, Decimal) else value


def _values_of(row: Row, field: str) -> list[Any]:
    """Return the values of a field: none, one, or one of each side."""
    name, _, key = field.partition(".")
    value = row.get(name)
    if key:
        value = (value or {}).get(key)
    if field == "balance_id" and "source" in row:
        return [one for one in (row["source"], row["destination"]) if one]
    if field == "indicator" and isinstance(value, set):
        return sorted(value)
    if field == "precise_amount" and row.get("pending"):
        return [0]
    if field == "amount":
        return [Decimal(0 if row.get("pending") else row["precise_amount"]) / row["precision"]]
    if field in ("created_at", "effective_date"):
        return [datetime.fromisoformat(str(value))]
    return [] if value is None or (value == "" and field != "meta_data.name") else [value]


def _holds(asked: Row, row: Row, kind: Type) -> bool:
    """Return whether a row matches a clause, in Python."""
    values, operator = _values_of(row, asked["field"]), asked["operator"]
    if operator in ("isnull", "isnotnull"):
        return bool(bool(values) == (operator == "isnotnull"))
    given = asked["values"] if "values" in asked else [asked["value"]]
    if operator == "ne":
        both = kind is Type.NAME or (kind is Type.LINK and asked["field"] == "balance_id")
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
    return Decimal(0 if row.get("pending") else row["precise_amount"]) if field == "amount" else Decimal(str(value))


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
    position = (row["sequence"] or 10**19, row["transaction_id"])
    if sort_by in (None, "created_at", "sequence"):
        return position
    values = _values_of(row, sort_by or "")
    return (values[0] if values else "", *position)


def test_a_filter_by_status_agrees_with_every_transaction_as_it_is_read(
    client: FlaskClient, one_of_each: dict[str, str]
) -> None:
    ids = [row["transaction_id"] for row in ok(client.get("/transactions?limit=1000"), 200)]
    status = {one: ok(client.get(f"/transactions/{one}"), 200)["status"] for one in ids}
    assert status[one_of_each["split half decided"]] == "QUEUED"
    every = ("QUEUED", "INFLIGHT", "APPLIED", "VOID", "REJECTED")
    assert set(status.values()) == set(every)
    for size in range(1, 4):
        for wanted in itertools.combinations(every, size):
            body = {"filters": [{"field": "status", "operator": "in", "values": wanted}], "limit": 1000}
            rows = ok(client.post("/transactions/filter", json=body | {"include_count": True}), 200)
            expected = [one for one in ids if status[one] in wanted]
            assert ([row["transaction_id"] for row in rows["data"]], rows["total_count"]) == (expected, len(expected))
    for one in every:
        rows = ok(client.get(f"/transactions?limit=1000&status_ne={one}"), 200)
        assert [row["transaction_id"] for row in rows] == [id for id in ids if status[id] != one]


def test_pages_by_offset_are_those_of_the_whole(client: FlaskClient, one_of_each: dict[str, str]) -> None:
    for path in ("/transactions?status_in=APPLIED,VOID,REJECTED", "/transactions?reference_like=r%25"):
        whole = ok(client.get(f"{path}&limit=1000"), 200)
        assert len(whole) > 12
        assert ok(client.get(f"{path}&limit=5&offset=7"), 200) == whole[7:12]


def test_what_is_backdated_has_only_the_date_that_was_given(client: FlaskClient, one_of_each: dict[str, str]) -> None:
    backdated = {one_of_each["backdated"], one_of_each["paid in euros"]}
    for asked, found_there in (("effective_date_lt=2021", True), ("effective_date_gte=2021", False)):
        rows = {row["transaction_id"] for row in ok(client.get(f"/transactions?limit=1000&{asked}"), 200)}
        assert rows and (backdated <= rows if found_there else not backdated & rows)
