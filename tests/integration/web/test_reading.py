"""Transactions, balances, ledgers and statements as they are read."""

import csv
import io
import json
import threading

import pytest

from core.ledger.store import balances as balance_store
from tests.harness.api import ZERO_TIME, Api, ok, refused

# Reading transactions


def test_a_queued_transaction_says_where_it_stands(api: Api) -> None:
    ids = [ok(api.post(), 201)["transaction_id"] for _ in range(3)]
    read = api.transaction(ids[2])
    assert read["queue"] | {"oldest_age_s": 0, "number": 0} == {
        "number": 0,
        "position": 3,
        "ahead": 2,
        "oldest_age_s": 0,
        "waiting_for": f"the 2 ahead of it in queue {read['queue']['number']}",
    }
    assert read["queue"]["oldest_age_s"] > 0
    assert api.transaction(ids[0])["queue"]["waiting_for"] == "a worker"
    assert [step["status"] for step in read["timeline"]] == ["QUEUED"]
    api.drain()
    decided = api.transaction(ids[2])
    assert "queue" not in decided
    assert [step["status"] for step in decided["timeline"]] == ["QUEUED", "APPLIED"]
    assert decided["timeline"][0]["at"] < decided["timeline"][1]["at"]


def test_a_wait_ends_with_the_status_there_is(api: Api) -> None:
    accepted = ok(api.client.post("/transactions?wait=50ms", json=json.loads(_body())), 201)
    assert accepted["status"] == "QUEUED"
    assert "queue" in accepted
    assert api.get(f"/transactions/{accepted['transaction_id']}", wait="0.05")["status"] == "QUEUED"
    waiting = threading.Thread(target=api.drain)
    waiting.start()
    assert api.get(f"/transactions/{accepted['transaction_id']}", wait="30s")["status"] == "APPLIED"
    waiting.join()
    detail = refused(
        api.client.get(f"/transactions/{accepted['transaction_id']}?wait=soon"), 400, "GEN_VALIDATION_ERROR"
    )
    assert detail["message"] == "wait: must be a duration such as 500ms, 10s or 1m."


def test_a_repeated_split_is_waited_for(api: Api) -> None:
    legs = [{"identifier": "@A", "distribution": "left"}, {"identifier": "@B", "distribution": "50%"}]
    body = json.loads(_body()) | {"precise_amount": 2, "destinations": legs}
    del body["destination"]
    assert ok(api.client.post("/transactions", json=body), 201)["status"] == "QUEUED"
    waiting = threading.Timer(0.2, api.drain)
    waiting.start()
    assert ok(api.client.post("/transactions?wait=30s", json=body), 200)["status"] == "APPLIED"
    waiting.join()


def _body() -> str:
    return json.dumps(
        {
            "precise_amount": 1,
            "currency": "USD",
            "reference": "waited for",
            "source": "@World",
            "destination": "@A",
            "description": "d",
            "allow_overdraft": True,
        }
    )


def test_pages_of_transactions_lead_to_each_other(api: Api) -> None:
    ok(api.bulk(*[{"reference": f"r{number}"} for number in range(7)]), 201)
    walked = []
    address = "/transactions?sort_by=sequence&sort_order=asc&after=0&limit=3"
    while address:
        response = api.client.get(address)
        walked += [row["sequence"] for row in ok(response, 200)]
        assert len(walked) <= 7
        link = response.headers.get("Link", "")
        assert not link or link.endswith('>; rel="next"')
        address = link[1:].partition(">")[0]
    assert walked == [1, 2, 3, 4, 5, 6, 7]
    assert [row["sequence"] for row in api.get("/transactions")] == [7, 6, 5, 4, 3, 2, 1]
    assert [row["sequence"] for row in api.get("/transactions", limit=2, offset=2)] == [5, 4]
    assert [row["sequence"] for row in api.get("/transactions", limit=2, after=5)] == [4, 3]
    assert api.get("/transactions", after=1) == []
    assert len(api.get("/transactions", limit="abc", offset="-5")) == 7  # [88]
    refused(api.client.get("/transactions?after=x"), 400, "GEN_VALIDATION_ERROR")


@pytest.mark.parametrize("things", ["balances", "ledgers"])
def test_pages_of_balances_and_ledgers_lead_to_each_other(api: Api, things: str) -> None:
    key = things[:-1] + "_id"
    for number in range(4):
        if things == "balances":
            api.new_balance()
        else:
            ok(api.client.post("/ledgers", json={"name": f"{number}"}), 201)
    expected = [thing[key] for thing in api.get(f"/{things}", limit=1000)]
    walked = []
    address = f"/{things}?limit=2&offset=0"
    while address:
        response = api.client.get(address)
        walked += [thing[key] for thing in ok(response, 200)]
        assert len(walked) <= len(expected)
        address = response.headers.get("Link", "<>")[1:].partition(">")[0]
    assert walked == expected
    assert api.get(f"/{things}", limit=1, offset=1)[0][key] == expected[1]
    assert api.get(f"/{things}", offset=100) == []
    for wrong in ("limit=0", "limit=x", "offset=-1"):
        what = wrong.partition("=")[0]
        detail = refused(api.client.get(f"/{things}?{wrong}"), 400, "GEN_VALIDATION_ERROR")
        assert detail["message"].lower() == f"invalid {what} value"


# Balances, statements, ledgers


def test_a_balance_that_is_new_has_blnks_fields(api: Api) -> None:
    ledger = ok(api.client.post("/ledgers", json={"name": "L", "meta_data": {"a": 1}}), 201)
    assert ledger == {
        "ledger_id": ledger["ledger_id"],
        "name": "L",
        "created_at": ledger["created_at"],
        "meta_data": {"a": 1},
    }
    made = ok(api.client.post("/balances", json={"ledger_id": ledger["ledger_id"], "currency": "USD"}), 201)
    assert made == api.get(f"/balances/{made['balance_id']}")
    assert {name: value for name, value in made.items() if name not in ("balance_id", "created_at")} == {
        "balance": 0,
        "version": 1,
        "inflight_balance": 0,
        "credit_balance": 0,
        "inflight_credit_balance": 0,
        "debit_balance": 0,
        "inflight_debit_balance": 0,
        "available_balance": 0,
        "ledger_id": ledger["ledger_id"],
        "identity_id": "",
        "indicator": "",
        "currency": "USD",
        "inflight_expires_at": ZERO_TIME,
        "meta_data": None,
        "track_fund_lineage": False,
        "allocation_strategy": "FIFO",
    }
    response = api.client.post("/balances", json={"ledger_id": "ldg_1", "currency": "USD"})
    refused(response, 400, "GEN_BAD_REQUEST", "Invalid ledger ID")


def test_a_ledger_is_renamed_and_nothing_else(api: Api) -> None:
    ledger = ok(api.client.post("/ledgers", json={"name": "L", "meta_data": {"a": 1}}), 201)
    path = f"/ledgers/{ledger['ledger_id']}"
    assert ok(api.client.put(path, json={"name": "M", "meta_data": {"b": 2}}), 200) == {**ledger, "name": "M"}
    assert api.get(path)["name"] == "M"
    refused(api.client.put("/ledgers/ldg_1", json={"name": "M"}), 404, "LGR_NOT_FOUND", "Ledger not found")
    refused(api.client.post("/ledgers", json={}), 400, "GEN_VALIDATION_ERROR", "name: cannot be blank.")
    assert [found["ledger_id"] for found in api.get("/ledgers")] == [ledger["ledger_id"], "general_ledger_id"]


def test_what_is_queued_counts_where_it_is_asked_for(api: Api) -> None:
    api.done(precise_amount=100)
    ok(api.spend(precise_amount=30, skip_queue=None), 201)
    ok(api.post(precise_amount=7), 201)
    balance = api.balance("@A", with_queued="true")
    assert (balance["balance"], balance["available_balance"]) == (100, 70)
    assert (balance["queued_debit_balance"], balance["queued_credit_balance"]) == (30, 7)
    assert api.get(f"/balances/{balance['balance_id']}", with_queued="true") == balance
    assert "queued_debit_balance" not in api.balance("@A")
    api.drain()
    balance = api.balance("@A", with_queued="true")
    assert (balance["available_balance"], balance["queued_debit_balance"], balance["queued_credit_balance"]) == (
        77,
        0,
        0,
    )


@pytest.mark.smoke
def test_too_many_that_wait_are_not_added_up(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balance_store, "QUEUED", 2)
    for waiting in (0, 1, 2):
        if waiting:
            assert api.balance("@A", with_queued="true")["queued_debit_balance"] == waiting
        ok(api.post(source="@A", destination="@B"), 201)
    refused(api.client.get("/balances/indicator/@A/currency/USD?with_queued=true"), 400, "GEN_VALIDATION_ERROR")
    api.drain()
    assert api.balance("@A", with_queued="true")["queued_debit_balance"] == 0


def test_a_statement_adds_up_entry_by_entry(api: Api) -> None:
    api.done(precise_amount=100, reference="in", description="first")
    ok(api.spend(precise_amount=30, reference="out"), 201)
    hold = ok(api.spend(precise_amount=50, reference="hold", inflight=True), 201)["transaction_id"]
    commit = ok(api.settle(hold, "commit", precise_amount=20, reference="commit", skip_queue=True), 200)
    ok(api.settle(hold, "void", skip_queue=True), 200)
    balance = api.balance("@A")
    path = f"/balances/{balance['balance_id']}/entries"
    entries = api.get(path)
    assert [
        (entry["reference"], entry["direction"], entry["precise_amount"], entry["precise_balance_after"])
        for entry in entries
    ] == [("in", "credit", 100, 100), ("out", "debit", 30, 70), ("commit", "debit", 20, 50)]
    assert [entry["counterparty"] for entry in entries] == ["@World", "@B", "@B"]
    assert [entry["amount"] for entry in entries] == [1, 0.3, 0.2]
    assert entries[0] == {
        "version": 2,
        "at": entries[0]["at"],
        "effective_date": entries[0]["effective_date"],
        "direction": "credit",
        "amount": 1,
        "precise_amount": 100,
        "precise_balance_after": 100,
        "currency": "USD",
        "counterparty": "@World",
        "transaction_id": entries[0]["transaction_id"],
        "parent_transaction": "",
        "reference": "in",
        "description": "first",
        "sequence": 1,
    }
    assert (entries[2]["transaction_id"], entries[2]["parent_transaction"]) == (commit["transaction_id"], hold)
    assert entries[-1]["precise_balance_after"] == balance["balance"]

    response = api.client.get(path, query_string={"limit": 2})
    link = response.headers["Link"]
    assert response.get_json() + api.get(link[1:].partition(">")[0]) == entries
    assert api.get(path, **{"from": entries[1]["at"], "to": entries[2]["at"]}) == entries[1:2]
    assert api.get(path, to=entries[0]["at"]) == []


def test_a_statement_as_csv_has_the_same_columns_and_starts_no_formula(api: Api) -> None:
    api.done(precise_amount=12345, reference="=1+1", description='@SUM(A1), "x"\n')
    path = f"/balances/{api.balance('@World')['balance_id']}/entries"
    (entry,) = api.get(path)
    response = api.client.get(path, headers={"Accept": "text/csv"})
    assert response.content_type == "text/csv; charset=utf-8"
    (row,) = csv.DictReader(io.StringIO(response.text, newline=""))
    assert list(row) == list(entry)
    assert row["precise_balance_after"] == "-12345"
    assert row["amount"] == "123.45"
    assert (row["reference"], row["counterparty"]) == ("'=1+1", "@A")  # A plain name is no formula.
    assert row["description"] == '\'@SUM(A1), "x"\n'
