"""References, and the names of internal balances. Numbers in brackets are Blnk's acceptance cases."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask

from tests.harness.api import Api, ok, refused

# References


def test_a_repeated_reference_is_answered_with_the_first_transaction(api: Api) -> None:
    first = ok(api.post(reference="R", meta_data={"a": 1}), 201)
    response = api.post(reference="R", meta_data={"a": 1})
    again = ok(response, 200)
    assert response.headers["Idempotent-Replayed"] == "true"
    assert again["transaction_id"] == first["transaction_id"]
    assert again["status"] == "QUEUED"
    api.drain()
    assert ok(api.post(reference="R", meta_data={"a": 1}), 200)["status"] == "APPLIED"
    assert ok(api.post(reference="R", meta_data={"a": 1}, skip_queue=True), 200)["status"] == "APPLIED"
    assert api.balance("@A")["balance"] == 1
    assert "Idempotent-Replayed" not in api.post().headers


@pytest.mark.parametrize("skip_queue", [True, False])
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"precise_amount": 2}, "amount"),
        ({"destination": "@C"}, "destination"),
        ({"description": "other"}, "description"),
        ({"inflight": True}, "inflight"),
        ({"meta_data": {"a": 1}}, "meta_data"),
        ({"effective_date": "2020-01-01T00:00:00Z"}, "effective_date"),
        ({"overdraft_limit": 1}, "overdraft_limit"),
    ],
)
def test_a_reference_with_other_content_is_409_and_names_it(  # [38]
    api: Api, skip_queue: bool, change: dict[str, Any], named: str
) -> None:
    first = api.done(reference="R")
    detail = refused(
        api.post(reference="R", skip_queue=skip_queue, **change),
        409,
        "TXN_DUPLICATE_REFERENCE",
        f"transaction validation failed: reference R has already been used by a transaction whose {named} differs",
    )
    assert detail["details"] == {"reference": "R", "field": named, "transaction_id": first["transaction_id"]}
    assert len(api.get("/transactions")) == 1


@pytest.mark.parametrize(
    ("again", "is_same"),
    [
        ('{"b": "x", "a": [1, {"c": true}]}', True),
        ('{"a":[1.0,{"c":true}],"b":"x"}', True),
        ('{"a": [10e-1, {"c": true}], "b": "x"}', True),
        ('{"a": [true, {"c": true}], "b": "x"}', False),
        ('{"a": [1, {"c": 1}], "b": "x"}', False),
        ('{"a": ["1", {"c": true}], "b": "x"}', False),
        ('{"a": [1.0000000000000000000001, {"c": true}], "b": "x"}', False),
    ],
)
def test_metadata_may_be_written_in_another_way_and_must_have_the_same_values(
    api: Api, again: str, is_same: bool
) -> None:
    ok(api.post(reference="R", meta_data={"a": [1, {"c": True}], "b": "x"}), 201)
    body = {"precise_amount": 1, "precision": 100, "currency": "USD", "reference": "R", "source": "@World"}
    body |= {"destination": "@A", "description": "a test", "allow_overdraft": True}
    text = f'{json.dumps(body)[:-1]}, "meta_data": {again}}}'
    response = api.client.post("/transactions", data=text, content_type="application/json")
    assert (response.status_code, "Idempotent-Replayed" in response.headers) == (
        (200, True) if is_same else (409, False)
    )


def test_a_reference_that_ends_like_blnks_queue_copies_is_its_own(api: Api) -> None:  # [102]
    first, second = ok(api.post(reference="X"), 201), ok(api.post(reference="X_q", precise_amount=2), 201)
    api.drain()
    assert api.get("/transactions/reference/X")["transaction_id"] == first["transaction_id"]
    assert api.get("/transactions/reference/X_q")["transaction_id"] == second["transaction_id"]
    assert api.balance("@A")["balance"] == 3


@pytest.mark.parametrize("reference", ["a/b", "/a", "a//b", "a/", "a?b=c#d", "ä 💸", "%41", "a+b", "queue/_q"])
def test_any_reference_is_found(api: Api, reference: str) -> None:
    accepted = ok(api.post(reference=reference), 201)
    found = api.get("/transactions/reference/" + "".join(f"%{byte:02x}" for byte in reference.encode()))
    assert found["transaction_id"] == accepted["transaction_id"]


def test_what_is_not_there_is_404(api: Api) -> None:  # [43] [87]
    unknown = "txn_00000000-0000-0000-0000-000000000000"
    for path, code, message in (
        (f"/transactions/{unknown}", "TXN_NOT_FOUND", f"Transaction with ID '{unknown}' not found"),
        ("/transactions/reference/R", "TXN_NOT_FOUND", "Transaction with reference 'R' not found"),
        ("/balances/bln_1", "BAL_NOT_FOUND", "Balance with ID 'bln_1' not found"),
        ("/balances/bln_1/entries", "BAL_NOT_FOUND", "Balance with ID 'bln_1' not found"),
        ("/balances/indicator/@Nobody/currency/USD", "BAL_NOT_FOUND", "balance with indicator '@Nobody' not found"),
        ("/ledgers/ldg_1", "LGR_NOT_FOUND", "Ledger not found"),
    ):
        assert refused(api.client.get(path), 404, code, message)["details"] == {}
    assert api.get("/balances") == []


# Internal balances


def test_a_name_is_one_balance_for_each_currency(api: Api) -> None:  # [41]
    for _ in range(2):
        api.done(destination="@Revenue")
    api.done(destination="@Revenue", currency="EUR")
    dollars, euros = api.balance("@Revenue"), api.balance("@Revenue", "EUR")
    assert (dollars["balance"], euros["balance"]) == (2, 1)
    assert dollars["balance_id"] != euros["balance_id"]
    assert dollars["ledger_id"] == euros["ledger_id"] == "general_ledger_id"
    assert dollars["indicator"] == "@Revenue"
    refused(api.client.get("/balances/indicator/@revenue/currency/USD"), 404, "BAL_NOT_FOUND")


def test_24_first_uses_at_once_make_one_balance(api: Api, app: Flask) -> None:  # [42]
    ready = threading.Barrier(24)

    def post(number: int) -> int:
        mine = Api(app, app.test_client())
        ready.wait()
        return mine.post(destination="@New", reference=f"first {number}").status_code

    with ThreadPoolExecutor(24) as pool:
        assert list(pool.map(post, range(24))) == [201] * 24
    api.drain()
    assert api.balance("@New")["balance"] == 24
    assert sorted(balance["indicator"] for balance in api.get("/balances")) == ["@New", "@World"]


def test_a_name_with_a_space_is_refused_and_says_so(api: Api) -> None:
    detail = refused(api.post(destination="@My Pool"), 400, "TXN_VALIDATION_ERROR")
    assert "without spaces" in detail["message"]
    refused(api.post(destination="@" + "x" * 255), 400, "TXN_VALIDATION_ERROR")
    assert api.done(destination="@" + "x" * 254)["status"] == "APPLIED"


def test_an_internal_balance_can_be_made_beforehand_once(api: Api) -> None:
    asked = {"ledger_id": "general_ledger_id", "currency": "USD", "indicator": "@Fees", "meta_data": {"a": 1}}
    made = ok(api.client.post("/balances", json=asked), 201)
    assert made["indicator"] == "@Fees"
    refused(api.client.post("/balances", json=asked), 409, "GEN_CONFLICT")
    assert api.done(destination="@Fees")["destination"] == made["balance_id"]
    other = ok(api.client.post("/ledgers", json={"name": "other"}), 201)["ledger_id"]
    response = api.client.post("/balances", json={**asked, "ledger_id": other})
    assert "general_ledger_id" in refused(response, 400, "GEN_VALIDATION_ERROR")["message"]
