"""Bulks. Numbers in brackets are Blnk's acceptance cases."""

from typing import Any

import pytest

from core.ledger.store import transactions as transaction_store
from tests.harness.api import Api, ok, refused


def test_a_bulk_is_empty_or_too_long_or_names_the_bad_item(api: Api) -> None:  # [63] [64]
    bodies: list[dict[str, Any]] = [{}, {"transactions": []}, {"transactions": None}]
    for body in bodies:
        response = api.client.post("/transactions/bulk", json=body)
        refused(response, 400, "TXN_BULK_EMPTY", "transactions cannot be empty")
    response = api.bulk(*[{}] * 10_001)
    refused(response, 400, "TXN_BULK_LIMIT_EXCEEDED", "too many transactions; max is 10000")
    detail = refused(
        api.bulk({"precision": 10.5}, {}),
        400,
        "TXN_VALIDATION_ERROR",
        "transactions[0]: precision: precision must be an integer value.",
    )
    listed = [{"index": 0, "field": "precision", "message": "precision must be an integer value"}]
    assert detail["details"] == {
        "field": "transactions[0].precision",
        "index": 0,
        "problems": listed,
        "problem_count": 1,
    }
    response = api.client.post("/transactions/bulk", json={"transactions": [None]})
    refused(response, 400, "TXN_VALIDATION_ERROR", "transactions[0]: is required.")
    refused(api.client.post("/transactions/bulk", json={"transactions": 1}), 400, "GEN_MALFORMED_REQUEST")
    detail = refused(api.bulk({"reference": "R"}, {}, {"reference": "R"}), 409, "TXN_DUPLICATE_REFERENCE")
    listed = [{"index": 2, "field": "", "message": "reference R is used by transactions[0] too"}]
    named = {"field": "transactions[2]", "index": 2}
    assert detail["details"] == {**named, "problems": listed, "problem_count": 1}
    assert api.get("/transactions") == []


def test_all_that_is_wrong_with_a_bulk_is_said_at_once(api: Api) -> None:
    rows: list[dict[str, Any]] = [
        {},
        {"amount": 1.005},
        {"reference": "", "scheduled_for": "noon"},
        {"allow_overdraft": "yes", "description": ""},
        {"source": "nobody"},
    ]
    for mode in ({}, {"dry_run": True}):
        response = api.bulk(*rows, **mode, atomic=1)
        detail = refused(response, 400, "GEN_MALFORMED_REQUEST")
        assert detail["message"] == "Invalid input: atomic: must be true or false, not 1; 6 more problems in details"
        assert response.get_json()["errors"] == detail["message"]
        assert detail["details"]["problem_count"] == 7
        assert [(each.get("index"), each["field"]) for each in detail["details"]["problems"]] == [
            (None, "atomic"),
            (1, "amount"),
            (2, "scheduled_for"),
            (2, "reference"),
            (3, "allow_overdraft"),
            (3, "description"),
            (4, "source"),
        ]
    assert (api.get("/transactions"), api.get("/balances")) == ([], [])


@pytest.mark.parametrize(("inflight", "status"), [(False, "applied"), (True, "inflight")])
def test_a_bulk_with_skip_queue_is_decided_when_it_is_answered(api: Api, inflight: bool, status: str) -> None:  # [65]
    answer = ok(api.bulk({}, {"precise_amount": 2}, skip_queue=True, inflight=inflight), 201)
    assert answer == {"batch_id": answer["batch_id"], "status": status, "transaction_count": 2}
    assert answer["batch_id"].startswith("bulk_")
    assert api.sums("@A") == ((0, 3, 3, 0) if inflight else (3, 0, 0, 0))
    assert {row["parent_transaction"] for row in api.get("/transactions")} == {answer["batch_id"]}


def test_a_bulk_in_the_queue_says_so(api: Api) -> None:
    assert ok(api.bulk({}, {}), 201)["status"] == "queued"
    answer = ok(api.bulk({}, {}, run_async=True), 202)
    assert (answer["status"], answer["message"]) == ("processing", "Bulk transaction processing started")
    assert {row["status"] for row in api.get("/transactions")} == {"QUEUED"}
    api.drain()
    assert api.balance("@A")["balance"] == 4


def test_a_bulk_that_is_not_atomic_keeps_what_went_well(api: Api) -> None:  # [66]
    api.done(source="@Poor", destination="@B")
    poor = {"source": "@Poor", "allow_overdraft": False, "reference": "short"}
    response = api.bulk({}, poor, {"precise_amount": 5}, skip_queue=True)
    detail = refused(response, 400, "TXN_INSUFFICIENT_FUNDS")
    assert detail["message"].startswith("failed to queue transaction 2 (Reference: short, Source: bln_")
    assert detail["message"].endswith("Previous transactions were not rolled back.")
    assert response.get_json()["batch_id"] == detail["details"]["batch_id"]
    assert detail["details"]["rejected"] == 1
    assert api.balance("@A")["balance"] == 6


@pytest.mark.parametrize("plain", [{}, {"overdraft_limit": None, "balance_id": ""}])
def test_a_repeated_bulk_names_the_batch_of_its_transactions_or_none(api: Api, plain: dict[str, Any]) -> None:
    items = [{**plain, "reference": name} for name in ("one", "two", "three")]
    for item in items[:2]:
        ok(api.post(**item), 201)
    repeated = ok(api.bulk(*items[:2]), 200)
    assert repeated == {"batch_id": None, "status": "queued", "transaction_count": 2}
    new = ok(api.bulk(*items), 201)
    assert (new["transaction_count"], new["accepted_before"]) == (3, 2)
    assert api.transaction(new["batch_id"])["transaction_count"] == 1
    assert ok(api.bulk(items[2]), 200) == {**repeated, "batch_id": new["batch_id"], "transaction_count": 1}
    assert ok(api.bulk(*items), 200) == {**repeated, "transaction_count": 3}
    assert "accepted_before" not in ok(api.bulk(plain, plain), 201)
    legs = [{"identifier": "@B", "distribution": "1"}, {"identifier": "@C", "distribution": "left"}]
    split = {"reference": "s", "amount": 2, "precise_amount": None, "destination": None, "destinations": legs}
    ok(api.post(**split), 201)
    leg = {**plain, "reference": "s_1", "destination": "@B", "precise_amount": 100}
    assert ok(api.bulk(leg), 200)["batch_id"] is None


def test_a_bulk_that_is_applied_at_once_is_not_read_back(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: Any) -> None:
        raise AssertionError("the transactions were read")

    monkeypatch.setattr(transaction_store, "find_seqs", fail)
    assert ok(api.bulk({}, {}, skip_queue=True), 201)["status"] == "applied"


def test_a_bulk_tells_of_a_rejection_before_it(api: Api) -> None:
    poor = {"source": "@Poor", "destination": "@B", "allow_overdraft": False, "reference": "short"}
    refused(api.post(**poor, skip_queue=True), 400, "TXN_INSUFFICIENT_FUNDS")
    detail = refused(api.bulk({}, poor, skip_queue=True), 400, "TXN_INSUFFICIENT_FUNDS")
    assert "transaction 2 (Reference: short" in detail["message"]
    assert detail["details"]["rejected"] == 1


def test_a_bulk_tells_of_a_leg_that_was_rejected_before_it(api: Api) -> None:
    legs = [{"identifier": "@B", "distribution": "1"}, {"identifier": "@C", "distribution": "left"}]
    split = {
        "source": "@Poor",
        "destination": None,
        "destinations": legs,
        "allow_overdraft": False,
        "reference": "legs",
    }
    split |= {"precise_amount": None, "amount": 2}
    api.done(source="@World", destination="@Poor", precise_amount=150)
    refused(api.post(**split, skip_queue=True), 400, "TXN_INSUFFICIENT_FUNDS")
    for items, number in (([split], 1), ([{}, split], 2)):
        detail = refused(api.bulk(*items, skip_queue=True), 400, "TXN_INSUFFICIENT_FUNDS")
        assert f"transaction {number} (Reference: legs_2" in detail["message"]
        assert detail["details"]["rejected"] == 1


@pytest.mark.smoke
@pytest.mark.parametrize("inflight", [False, True])
def test_an_atomic_bulk_is_one_decision(api: Api, inflight: bool) -> None:  # [67] [68]
    poor = {"source": "@Poor", "allow_overdraft": False, "reference": "short"}
    response = api.bulk({}, poor, {"precise_amount": 5}, skip_queue=True, atomic=True, inflight=inflight)
    detail = refused(response, 400, "TXN_INSUFFICIENT_FUNDS")
    assert "transaction 2 (Reference: short" in detail["message"]
    assert detail["message"].endswith("No transaction of this batch was applied.")
    assert detail["details"]["rejected"] == 3
    rows = api.get("/transactions", sort_order="asc")
    assert [row["rejection"]["reason"] for row in rows] == ["atomic_group", "insufficient_funds", "atomic_group"]
    assert all(row["atomic"] for row in rows)
    assert api.sums("@A") == api.sums("@World") == (0, 0, 0, 0)


def test_members_of_an_atomic_bulk_may_spend_what_earlier_ones_brought(api: Api) -> None:
    spend = {"source": "@A", "destination": "@B", "allow_overdraft": False}
    assert ok(api.bulk({}, spend, atomic=True, skip_queue=True), 201)["status"] == "applied"
    response = api.bulk(spend, {}, atomic=True, skip_queue=True)
    refused(response, 400, "TXN_INSUFFICIENT_FUNDS")
    assert api.balance("@B")["balance"] == 1


def test_a_repeated_bulk_is_answered_with_the_first(api: Api) -> None:
    items = [{"reference": "one"}, {"reference": "two"}]
    first = ok(api.bulk(*items), 201)
    response = api.bulk(*items)
    assert ok(response, 200)["batch_id"] == first["batch_id"]
    assert response.headers["Idempotent-Replayed"] == "true"
    response = api.bulk({"reference": "two", "precise_amount": 7}, {})
    detail = refused(response, 409, "TXN_DUPLICATE_REFERENCE")
    assert detail["details"]["field"] == "amount"
    assert len(api.get("/transactions")) == 2
