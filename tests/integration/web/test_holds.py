"""Holds, their commits and voids. Numbers in brackets are Blnk's acceptance cases."""

import itertools
from typing import Any

import pytest

from core.ledger import due
from tests.harness.api import Api, ok, refused


def test_a_hold_in_the_queue_becomes_inflight_under_its_id(api: Api) -> None:  # [44] [45]
    accepted = ok(api.post(amount=100.50, inflight=True), 201)
    assert (accepted["status"], accepted["inflight"]) == ("QUEUED", True)
    api.drain()
    held = api.transaction(accepted["transaction_id"])
    assert (held["status"], held["inflight"], held["precise_amount"]) == ("INFLIGHT", True, 10050)
    assert held["inflight_amounts"] == {"committed": 0, "voided": 0, "remaining": 10050}
    assert api.sums("@World") == (0, -10050, 0, 10050)
    assert api.sums("@A") == (0, 10050, 10050, 0)  # [56]
    response = api.settle(accepted["transaction_id"], "commit", precise_amount=10050, skip_queue=True)
    child = ok(response, 200)
    assert (child["status"], child["parent_transaction"]) == ("APPLIED", accepted["transaction_id"])
    assert api.sums("@World") == (-10050, 0, 0, 0)
    assert api.sums("@A") == (10050, 0, 0, 0)
    settled = api.transaction(accepted["transaction_id"])
    assert settled["status"] == "APPLIED"
    assert [step["status"] for step in settled["timeline"]] == ["QUEUED", "INFLIGHT", "APPLIED"]


@pytest.mark.smoke
def test_a_hold_is_committed_in_part_and_the_rest_voided(api: Api) -> None:  # [46] [48]
    api.done(precise_amount=200)
    hold = ok(api.spend(precise_amount=100, inflight=True), 201)["transaction_id"]
    assert api.sums("@A") == (200, -100, 0, 100)
    ok(api.settle(hold, "commit", precise_amount=40, skip_queue=True), 200)
    assert api.sums("@A") == (160, -60, 0, 60)
    assert api.transaction(hold)["inflight_amounts"] == {"committed": 40, "voided": 0, "remaining": 60}
    void = ok(api.settle(hold, "void", skip_queue=True), 200)
    assert (void["status"], void["precise_amount"], void["parent_transaction"]) == ("VOID", 60, hold)
    assert api.sums("@A") == (160, 0, 0, 0)
    assert api.sums("@B") == (40, 0, 0, 0)
    settled = api.transaction(hold)
    assert settled["status"] == "APPLIED"  # some of it moved
    assert settled["inflight_amounts"] == {"committed": 40, "voided": 60, "remaining": 0}


def test_a_hold_that_is_voided_whole_reads_void(api: Api) -> None:
    hold = api.done(precise_amount=100, inflight=True)["transaction_id"]
    assert ok(api.settle(hold, "void", skip_queue=True), 200)["precise_amount"] == 100
    assert api.transaction(hold)["status"] == "VOID"
    assert api.sums("@A") == (0, 0, 0, 0)


def test_an_empty_commit_takes_the_rest(api: Api) -> None:  # [47]
    hold = api.done(amount=300.50, inflight=True)["transaction_id"]
    first = ok(api.settle(hold, "commit", amount=100.25, skip_queue=True), 200)
    rest = ok(api.settle(hold, "commit", skip_queue=True), 200)
    assert (first["precise_amount"], rest["precise_amount"]) == (10025, 20025)
    assert api.sums("@A") == (30050, 0, 0, 0)


@pytest.mark.parametrize("status", ["commit", "void"])
@pytest.mark.parametrize("amount", [0, -100])
def test_a_precise_amount_to_settle_must_be_positive(api: Api, status: str, amount: int) -> None:  # [49]
    hold = api.done(inflight=True)["transaction_id"]
    response = api.settle(hold, status, precise_amount=amount, skip_queue=True)
    refused(response, 400, "TXN_INVALID_AMOUNT", "precise_amount must be positive")
    assert api.transaction(hold)["status"] == "INFLIGHT"


def test_a_hold_is_committed_or_voided_and_nothing_else(api: Api) -> None:  # [50]
    hold = api.done(inflight=True)["transaction_id"]
    response = api.settle(hold, "settle")
    refused(response, 400, "TXN_INVALID_STATUS_ACTION", "status not supported. use either commit or void")
    refused(api.settle(hold, "commit", amount=-1), 400, "GEN_BAD_REQUEST", "commit amount cannot be negative")
    unknown = "txn_00000000-0000-0000-0000-000000000000"
    text = f"Transaction with ID '{unknown}' not found"
    refused(api.settle(unknown, "commit"), 404, "TXN_NOT_FOUND", text)
    text = "transaction is not in inflight status"
    refused(api.settle(api.done()["transaction_id"], "commit"), 400, "TXN_NOT_INFLIGHT", text)


def test_no_more_is_committed_than_is_held(api: Api) -> None:  # [51]
    hold = api.done(precise_amount=10000, inflight=True)["transaction_id"]
    text = "cannot commit more than the original transaction amount. Original: USD100.00, Requested: USD700.00"
    refused(api.settle(hold, "commit", amount=700), 400, "TXN_COMMIT_AMOUNT_EXCEEDED", text)
    for _ in range(3):
        ok(api.settle(hold, "commit", amount=30, skip_queue=True), 200)
    text = "cannot commit more than the remaining amount. Available: USD10.00, Requested: USD30.00"
    for skip_queue in (True, False):
        response = api.settle(hold, "commit", amount=30, skip_queue=skip_queue)
        refused(response, 400, "TXN_COMMIT_AMOUNT_EXCEEDED", text)
    assert api.sums("@A") == (9000, 1000, 1000, 0)


def test_one_settlement_waits_at_a_time(api: Api) -> None:  # [52]
    hold = api.done(inflight=True)["transaction_id"]
    queued = ok(api.settle(hold, "commit"), 200)
    assert (queued["transaction_id"], queued["status"], queued["queued"]) == (hold, "INFLIGHT", True)
    for status in ("commit", "void"):
        text = "a commit or void is already queued for this transaction"
        refused(api.settle(hold, status), 409, "GEN_CONFLICT", text)
    api.drain()
    assert api.transaction(hold)["status"] == "APPLIED"
    child = api.transaction(queued["child_transaction"])
    assert (child["status"], child["parent_transaction"]) == ("APPLIED", hold)


def test_a_settlement_with_a_reference_happens_once(api: Api) -> None:
    hold = api.done(precise_amount=100, inflight=True)["transaction_id"]
    for status in (200, 200):
        response = api.settle(hold, "commit", precise_amount=30, reference="part one", skip_queue=True)
        assert ok(response, status)["reference"] == "part one"
    assert response.headers["Idempotent-Replayed"] == "true"
    assert api.sums("@A") == (30, 70, 70, 0)


def test_what_is_settled_stays_settled(api: Api) -> None:  # [55]
    past = {"inflight_expiry_date": "2020-01-01T00:00:00Z"}
    committed, voided, expired = (api.done(inflight=True, **each)["transaction_id"] for each in ({}, {}, past))
    assert ok(api.settle(committed, "commit", skip_queue=True), 200)["skip_queue"] is True
    ok(api.settle(voided, "void", skip_queue=True), 200)
    due.accept_due(api.app.extensions["pacioli"].engine)
    api.drain()
    for status, skip_queue in itertools.product(("commit", "void"), (True, False)):
        response = api.settle(committed, status, skip_queue=skip_queue)
        text = f"cannot {status}. Transaction already committed"
        refused(response, 409, "TXN_ALREADY_COMMITTED", text)
        response = api.settle(voided, status, skip_queue=skip_queue)
        refused(response, 409, "TXN_ALREADY_VOIDED", "transaction has already been voided")
        response = api.settle(expired, status, skip_queue=skip_queue)
        refused(response, 409, "TXN_ALREADY_VOIDED", "transaction has already been voided, because it expired")
        bulk = {"transaction_ids": [committed], "skip_queue": skip_queue}
        (item,) = ok(api.client.post("/transactions/inflight/bulk/void", json=bulk), 200)["results"]
        assert item["message"] == "cannot void. Transaction already committed"
    assert api.sums("@A") == (1, 0, 0, 0)


def test_a_rejected_hold_holds_nothing(api: Api) -> None:  # [57]
    rejected = ok(api.spend(inflight=True, skip_queue=None), 201)["transaction_id"]
    api.drain()
    assert api.transaction(rejected)["status"] == "REJECTED"
    refused(api.settle(rejected, "commit"), 400, "TXN_NOT_INFLIGHT")
    assert api.sums("@A") == api.sums("@B") == (0, 0, 0, 0)


def test_a_commit_may_stand_in_line_behind_its_hold(api: Api) -> None:
    hold = ok(api.post(precise_amount=10, inflight=True), 201)["transaction_id"]
    queued = ok(api.settle(hold, "commit", precise_amount=4), 200)
    assert (queued["status"], queued["queued"]) == ("QUEUED", True)
    api.drain()
    assert api.transaction(hold)["inflight_amounts"] == {"committed": 4, "voided": 0, "remaining": 6}
    assert api.sums("@A") == (4, 6, 6, 0)


@pytest.mark.parametrize(
    ("waits", "asked", "code"),
    [
        ({"status": "commit"}, {"status": "commit"}, "ALREADY_QUEUED"),
        ({"status": "void"}, {"status": "void"}, "ALREADY_QUEUED"),
        ({"status": "void"}, {"status": "commit"}, "LOCKED"),
        ({"status": "commit"}, {"status": "void"}, "LOCKED"),
        ({"status": "commit", "precise_amount": 3}, {"status": "commit"}, "LOCKED"),
        ({"status": "commit"}, {"status": "commit", "precise_amount": 3}, "LOCKED"),
        ({"status": "commit", "precise_amount": 3}, {"status": "commit", "precise_amount": 3}, "LOCKED"),
    ],
)
def test_a_bulk_counts_what_waits_only_where_that_does_what_was_asked_for(
    api: Api, waits: dict[str, Any], asked: dict[str, Any], code: str
) -> None:
    hold = api.done(precise_amount=10, inflight=True)["transaction_id"]
    ok(api.client.put(f"/transactions/inflight/{hold}", json=waits), 200)
    answer = _settle_in_bulk(api, [{"transaction_id": hold, **asked}])
    (item,) = answer["results"]
    does_it = code == "ALREADY_QUEUED"
    assert (item["status"], item["code"]) == ("queued" if does_it else "failed", code)
    assert (answer["succeeded"], answer["failed"]) == ((1, 0) if does_it else (0, 1))


@pytest.mark.parametrize(
    ("amounts", "code"), [([None, None], "ALREADY_QUEUED"), ([3, 7], "LOCKED"), ([3, 3], "LOCKED")]
)
def test_two_parts_of_one_hold_in_a_bulk_are_not_both_a_success(api: Api, amounts: list[int | None], code: str) -> None:
    hold = api.done(precise_amount=10, inflight=True)["transaction_id"]
    items = [{"transaction_id": hold, "status": "commit", "precise_amount": amount} for amount in amounts]
    answer = _settle_in_bulk(api, items)
    assert [item["code"] for item in answer["results"]] == ["QUEUED", code]
    assert answer["failed"] == (code == "LOCKED")
    api.drain()
    assert api.transaction(hold)["inflight_amounts"]["committed"] == (amounts[0] or 10)


@pytest.mark.parametrize("amounts", [[None, None], [3, 7]])
def test_a_hold_is_settled_once_by_a_bulk_that_is_decided_at_once(api: Api, amounts: list[int | None]) -> None:
    hold = api.done(precise_amount=10, inflight=True)["transaction_id"]
    items = [{"transaction_id": hold, "status": "commit", "precise_amount": amount} for amount in amounts]
    answer = _settle_in_bulk(api, items, skip_queue=True)
    assert [item["status"] for item in answer["results"]] == ["succeeded", "failed"]
    assert answer["results"][1]["code"] == "LOCKED"


def _settle_in_bulk(api: Api, items: list[dict[str, Any]], **more: Any) -> Any:
    """Commit or void many, and see that a dry run told which of them fail."""
    status = items[0]["status"]
    holds = [{name: value for name, value in item.items() if name != "status"} for item in items]
    body = (
        {"transactions": holds}
        if status == "commit"
        else {"transaction_ids": [each["transaction_id"] for each in holds]}
    )
    path = f"/transactions/inflight/bulk/{status}"
    tried = ok(api.client.post(path, json={**body, **more, "dry_run": True}), 200)
    answer = ok(api.client.post(path, json={**body, **more}), 200)
    would_apply = [item["status"] != "failed" for item in answer["results"]]
    assert ([one["would_apply"] for one in tried["results"]], tried["would_apply"]) == (would_apply, all(would_apply))
    return answer
