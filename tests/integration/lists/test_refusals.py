"""A filter that makes no sense is refused, and the answer says what would be right."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from core.base.db import begin
from core.ledger.store.balance_list import BALANCES
from core.ledger.store.ledger_list import LEDGERS
from core.ledger.store.transaction_list import TRANSACTIONS
from core.lists.fields import OPERATORS, Type
from tests.harness.lists import ok
from web.http import pages as lists


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
        ("transactions", {"field": "reference", "operator": "eq", "value": "x" * 1001}, "reference 1000"),
        ("transactions", {"field": "reference", "operator": "like", "value": "x\\"}, "reference escape"),
        ("transactions", {"field": "reference", "operator": "in", "value": "x"}, "reference in values"),
        ("transactions", {"field": "reference", "operator": "in", "values": ["x"] * 1001}, "reference 1000"),
        ("transactions", {"field": "created_at", "operator": "between", "values": ["2020"]}, "created_at between 2"),
        ("transactions", {"field": "created_at", "operator": "eq", "value": "yesterday"}, "created_at time"),
        ("transactions", {"field": "created_at", "operator": "eq", "value": "2026-02-30"}, "created_at time"),
        ("transactions", {"field": "created_at", "operator": "eq", "value": 2026}, "created_at time"),
        ("transactions", {"field": "meta_data", "operator": "eq", "value": "x"}, "meta_data object"),
        ("transactions", {"field": "meta_data.a", "operator": "eq", "value": None}, "meta_data.a value"),
        ("transactions", {"field": "meta_data.a", "operator": "like", "value": "\\"}, "meta_data.a escape"),
        ("balances", {"field": "status", "operator": "eq", "value": "VOID"}, "status inflight_balance"),
        ("ledgers", {"field": "currency", "operator": "eq", "value": "USD"}, "currency ledger_id"),
    ):
        response = client.post(f"/{things}/filter", json={"filters": [clause]})
        detail = ok(response, 400)["error_detail"]
        assert detail["code"] == "GEN_BAD_REQUEST", clause
        assert detail["message"].startswith("Invalid filter: ")
        assert all(name in detail["message"] for name in names.split()), (clause, detail)
        assert detail["details"]["field"] == clause["field"]


def test_everything_that_is_wrong_is_named_at_once(client: FlaskClient) -> None:
    wrong = [
        {"field": "status", "operator": "eq", "value": "DONE"},
        {"field": "reference", "operator": "eq", "value": "fine"},
        {"field": "colour", "operator": "eq", "value": 1},
        {"field": "amount", "operator": "like", "value": "5"},
    ]
    body = ok(client.post("/transactions/filter", json={"filters": wrong, "sort_by": "colour"}), 400)
    named = [each["field"] for each in body["error_detail"]["details"]["problems"]]
    assert named == ["status", "colour", "amount", "sort_by"]
    body = ok(client.get("/transactions?status=DONE&amount_like=5&colour=red&sort_order=up"), 400)
    named = [each["field"] for each in body["error_detail"]["details"]["problems"]]
    assert named == ["status", "amount", "colour", "sort_order"]
    body = ok(client.get("/transactions?sort_by=no&sort_order=up"), 400)
    assert [each["Param"] for each in body["errors"]] == ["sort_order", "sort_by"]


def test_an_unknown_parameter_of_a_list_is_refused_with_the_nearest_one(client: FlaskClient) -> None:
    for things, given, meant in (
        ("transactions", "status_equals=VOID", "status_eq"),
        ("transactions", "Status=VOID", "status"),
        ("transactions", "statuss_eq=VOID", "status"),
        ("transactions", "amount_greater_than=5", "amount_gt"),
        ("transactions", "sort_oder=asc", "sort_order"),
        ("transactions", "limt=5", "limit"),
        ("balances", "curency=USD", "currency"),
        ("ledgers", "nam_like=x", "name"),
    ):
        detail = ok(client.get(f"/{things}?{given}"), 400)["error_detail"]
        assert detail["code"] == "GEN_BAD_REQUEST"
        assert given.partition("=")[0].removesuffix("_eq").removesuffix("_like") in detail["message"]
        assert f"did you mean {meant}" in detail["message"], (given, detail["message"])


def test_a_nul_is_refused_wherever_it_is_in_the_body_of_a_list(client: FlaskClient) -> None:
    clause = {"field": "name", "operator": "eq", "value": "x"}
    bodies: list[dict[str, Any]] = [{"after": "\0"}, {"sort_by": "a\0"}, {"logical_operator": "\0"}, {"a\0": 1}]
    bodies += [{"filters": [{**clause, name: "a\0"}]} for name in clause]
    bodies += [{"filters": [{**clause, "operator": "in", "values": ["x", "\0"]}]}]
    for things in ("transactions", "balances", "ledgers"):
        for body in bodies:
            detail = ok(client.post(f"/{things}/filter", json=body), 400)["error_detail"]
            assert detail["code"] == "GEN_VALIDATION_ERROR", body


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
            body = ok(response, 400)
            assert body["error_detail"]["code"] == "GEN_VALIDATION_ERROR"
            assert (
                body["error_detail"]["details"]
                == body["errors"]
                == [{"Param": name, "Message": body["errors"][0]["Message"]}]
            )
            assert body["error"].startswith(f"{name}: must be ")
    body = ok(client.get("/transactions?include_count=perhaps"), 400)
    assert body["errors"] == [{"Param": "include_count", "Message": "must be true or false"}]
    many = "&".join(["status_eq=VOID"] * 21)
    assert ok(client.get(f"/transactions?{many}"), 400)["errors"][0]["Param"] == "filters"
    for path in ("transactions", "balances", "ledgers"):
        assert "sort_by" in ok(client.get(f"/{path}?sort_by=no"), 400)["error"]


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
    for things, resource in (("transactions", TRANSACTIONS), ("balances", BALANCES), ("ledgers", LEDGERS)):
        kinds = {field.name: field.type for field in resource.fields.values()} | {"meta_data.tier": Type.MEMBER}
        for field, kind in kinds.items():
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
        body = ok(client.get("/balances"), 400)
    assert body["error_detail"]["code"] == "GEN_BAD_REQUEST"
    assert "narrow the filter" in body["error"]
    assert body["error_detail"]["details"]["indexed"] == [
        "balance_id",
        "ledger_id",
        "identity_id",
        "indicator",
        "created_at",
    ]
    assert client.get("/balances").status_code == 200


@pytest.mark.parametrize("resource", ["transactions", "balances", "ledgers", "identities", "balance-monitors"])
def test_a_row_that_is_not_in_the_list_does_not_end_it(client: FlaskClient, resource: str) -> None:
    prefix = {"transactions": "txn", "balances": "bln", "identities": "idt", "balance-monitors": "mon"}.get(
        resource, "ldg"
    )
    unknown = f"{prefix}_00000000-0000-7000-8000-000000000000"
    for query in (f"after={unknown}", f"after={unknown}&include_count=true", f"after={unknown}&meta_data.a=1"):
        body = ok(client.get(f"/{resource}?{query}"), 400)
        assert body["error_detail"]["code"] == "GEN_VALIDATION_ERROR"
        assert body["errors"][0]["Param"] == "after"
        assert "Link header" in body["error"]


def test_the_position_of_no_row_does_not_end_a_sorted_list(client: FlaskClient) -> None:
    for sort_by in ("amount", "effective_date", "reference"):
        body = ok(client.get(f"/transactions?sort_by={sort_by}&after=999999999"), 400)
        assert body["errors"][0]["Param"] == "after"


@pytest.mark.parametrize("after", ["\u0000", "a\u0000", "ldg_\u0000", "0\u0000"])
@pytest.mark.parametrize("resource", ["transactions", "balances", "ledgers"])
def test_nul_in_the_end_of_the_page_before_is_refused(client: FlaskClient, resource: str, after: str) -> None:
    response = client.post(f"/{resource}/filter", json={"filters": [], "after": after})
    assert response.status_code == 400, response.text
    assert "NUL" in response.text
