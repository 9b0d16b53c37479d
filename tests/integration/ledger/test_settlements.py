"""Commits, voids, expiries and refunds that meet each other, or a state that forbids them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.base.unreadable import NUL
from core.ledger import due, refunds
from core.ledger.rules.model import Draft
from tests.harness.api import Api, ok, refused

LATER = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)


def _refund(api: Api, transaction_id: str, status: int = 201, **fields: Any) -> dict[str, Any]:
    answer: dict[str, Any] = ok(api.client.post(f"/refund-transaction/{transaction_id}", json=fields), status)
    return answer


def _split(api: Api, **fields: Any) -> str:
    """Post a split of 10 cents to @A and 20 to @B into the queue, and return its id."""
    legs = [{"identifier": "@A", "precise_distribution": "10"}, {"identifier": "@B", "distribution": "left"}]
    posted = api.post(precise_amount=30, destination=None, destinations=legs, **fields)
    split_id: str = ok(posted, 201)["transaction_id"]
    return split_id


# Holds


@pytest.mark.parametrize("kind", ["hold", "split", "cancelled"])
@pytest.mark.parametrize("status", ["commit", "void"])
def test_a_hold_that_is_not_there_yet_cannot_be_settled(api: Api, kind: str, status: str) -> None:
    asked: dict[str, Any] = {"inflight": True, "scheduled_for": LATER.isoformat()}
    hold = _split(api, **asked) if kind == "split" else ok(api.post(**asked), 201)["transaction_id"]
    if kind == "cancelled":
        ok(api.client.delete(f"/transactions/{hold}"), 200)
    for skip_queue in (True, False):
        response = api.settle(hold, status, skip_queue=skip_queue)
        refused(response, 400, "TXN_NOT_INFLIGHT", "transaction is not in inflight status")
    assert api.get("/transactions") == []


@pytest.mark.parametrize(
    ("date", "name"), [("inflight_expiry_date", "expired"), ("inflight_commit_date", "committed_when_due")]
)
def test_a_date_is_kept_though_somebody_has_taken_its_reference(api: Api, date: str, name: str) -> None:
    hold = api.done(precise_amount=5, inflight=True, **{date: LATER.isoformat()})["transaction_id"]
    api.done(reference=f"{hold}_{name}", destination="@Other")
    due.accept_due(api.app.extensions["pacioli"].engine, LATER)
    api.drain()
    assert api.transaction(hold)["status"] == ("VOID" if name == "expired" else "APPLIED")


def test_the_code_of_a_split_among_many_settlements_is_that_of_the_leg_that_failed(api: Api) -> None:
    split = _split(api, inflight=True, skip_queue=True, atomic=True)
    legs = api.transaction(split)["legs"]
    items = [{"transaction_id": id} for id in (legs[1]["transaction_id"], split)]
    answer = ok(
        api.client.post("/transactions/inflight/bulk/commit", json={"transactions": items, "skip_queue": True}), 200
    )
    # Both were accepted before either was decided, and the legs of an atomic split are settled together.
    assert [one["status"] for one in answer["results"]] == ["succeeded", "failed"]
    assert answer["results"][1]["code"] == "ALREADY_COMMITTED"
    assert api.transaction(split)["legs"][0]["status"] == "INFLIGHT"


@pytest.mark.parametrize(("atomic", "statuses"), [(True, ["REJECTED", "REJECTED"]), (False, ["REJECTED", "APPLIED"])])
def test_legs_that_are_not_atomic_are_settled_each_by_itself(api: Api, atomic: bool, statuses: list[str]) -> None:
    api.done(destination="@Paid", precise_amount=20)
    sources = [{"identifier": "@Empty", "precise_distribution": "10"}, {"identifier": "@Paid", "distribution": "left"}]
    asked = {"source": None, "sources": sources, "allow_overdraft": None, "atomic": atomic, "inflight": True}
    split = ok(api.post(precise_amount=30, **asked), 201)["transaction_id"]
    ok(api.settle(split, "commit"), 200)  # Both wait, so nobody knows yet that one leg is short.
    api.drain()
    assert [leg["status"] for leg in api.transaction(split)["legs"]] == statuses
    assert api.balance("@A")["balance"] == (0 if atomic else 20)


def test_a_batch_that_waits_for_its_date_holds_nothing_yet(api: Api) -> None:
    batch = ok(api.bulk({"scheduled_for": LATER.isoformat()}, inflight=True), 201)["batch_id"]
    refused(api.settle(batch, "commit"), 400, "TXN_NOT_INFLIGHT", "transaction is not in inflight status")
    refund = api.client.post(f"/refund-transaction/{batch}", json={})
    refused(refund, 404, "TXN_NOT_FOUND", "no transaction to refund")


def test_a_repeated_bulk_with_skip_queue_decides_the_splits_in_it_too(api: Api) -> None:
    legs = [{"identifier": "@A", "precise_distribution": "10"}, {"identifier": "@B", "distribution": "left"}]
    item = {"reference": "parted", "precise_amount": 30, "destination": None, "destinations": legs}
    for asked, status in (({}, 201), ({"skip_queue": True}, 200)):
        ok(api.bulk(item, **asked), status)
    assert api.get("/transactions/reference/parted")["status"] == "APPLIED"


# Refunds


def test_refunds_at_once_in_different_words_give_one(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    paid = api.done(precise_amount=5)["transaction_id"]
    drafted = refunds.draft_refund

    def draft_after_another(*arguments: Any) -> Draft:
        draft = drafted(*arguments)
        monkeypatch.setattr(refunds, "draft_refund", drafted)
        _refund(api, paid, description="quicker")
        return draft

    monkeypatch.setattr(refunds, "draft_refund", draft_after_another)
    response = api.client.post(f"/refund-transaction/{paid}", json={"description": "slower"})
    refused(response, 409, "TXN_ALREADY_REFUNDED", f"transaction {paid} has already been refunded")
    api.drain()
    assert api.balance("@A")["balance"] == 0


def test_the_refund_of_a_batch_is_not_one_of_its_transactions(api: Api) -> None:
    batch = ok(api.bulk({}, {"precise_amount": 2}, skip_queue=True), 201)["batch_id"]
    refund = _refund(api, batch, skip_queue=True)
    assert (refund["status"], refund["precise_amount"]) == ("APPLIED", 3)
    assert api.balance("@A")["balance"] == 0
    counted = api.transaction(batch)
    assert (counted["transaction_count"], counted["counts"]["APPLIED"]) == (2, 2)


def test_a_refund_that_was_rejected_can_be_asked_for_again(api: Api) -> None:
    split = _split(api, skip_queue=True)
    leg = api.transaction(split)["legs"][0]["transaction_id"]
    _refund(api, leg)
    rejected = _refund(api, split)  # Both wait: it is not known yet that the leg's comes first.
    api.drain()
    assert api.transaction(rejected["transaction_id"])["status"] == "REJECTED"
    rest = _refund(api, split, skip_queue=True)
    assert (rest["status"], rest["precise_amount"]) == ("APPLIED", 20)
    assert [api.balance(name)["balance"] for name in ("@World", "@A", "@B")] == [0, 0, 0]
    response = api.client.post(f"/refund-transaction/{split}", json={})
    refused(response, 409, "TXN_ALREADY_REFUNDED")


@pytest.mark.parametrize("amount", [{}, {"precise_amount": 4}], ids=str)
def test_a_refund_is_made_though_somebody_has_taken_its_reference(api: Api, amount: dict[str, int]) -> None:
    original = api.done(precise_amount=10)["transaction_id"]
    api.done(reference=f"{original}_refund", destination="@Other")
    refund = _refund(api, original, skip_queue=True, **amount)
    assert (refund["status"], refund["parent_transaction"]) == ("APPLIED", original)
    if amount:
        assert _refund(api, original, skip_queue=True)["precise_amount"] == 6
    assert api.balance("@A")["balance"] == 0
    response = api.client.post(f"/refund-transaction/{original}", json={})
    refused(response, 409, "TXN_ALREADY_REFUNDED")


@pytest.mark.parametrize(("first", "then"), [({"precise_amount": 3}, {}), ({}, {"precise_amount": 3})], ids=str)
def test_a_reference_of_a_refund_is_for_one_amount(api: Api, first: dict[str, int], then: dict[str, int]) -> None:
    original = api.done(precise_amount=10)["transaction_id"]
    refund = _refund(api, original, reference="back", **first)
    assert _refund(api, original, 200, reference="back", **first)["transaction_id"] == refund["transaction_id"]
    response = api.client.post(f"/refund-transaction/{original}", json={"reference": "back", **then})
    assert refused(response, 409, "TXN_DUPLICATE_REFERENCE")["details"]["field"] == "amount"


def test_partial_refunds_are_never_more_than_the_original(api: Api) -> None:
    original = api.done(precise_amount=10)["transaction_id"]
    for amount in (4, 5):
        assert _refund(api, original, precise_amount=amount, skip_queue=True)["precise_amount"] == amount
    response = api.client.post(f"/refund-transaction/{original}", json={"precise_amount": 2})
    text = "cannot refund more than the remaining amount. Available: USD0.01, Requested: USD0.02"
    refused(response, 400, "TXN_INVALID_AMOUNT", text)
    assert _refund(api, original, skip_queue=True)["precise_amount"] == 1
    for amounts in ({}, {"precise_amount": 1}):
        response = api.client.post(f"/refund-transaction/{original}", json=amounts)
        refused(response, 409, "TXN_ALREADY_REFUNDED")
    assert api.balance("@A")["balance"] == 0


def test_partial_refunds_that_wait_together_are_decided_one_by_one(api: Api) -> None:
    original = api.done(precise_amount=10)["transaction_id"]
    ids = [_refund(api, original, precise_amount=6)["transaction_id"] for _ in range(2)]
    api.drain()
    refunds = [api.transaction(id) for id in ids]
    assert [refund["status"] for refund in refunds] == ["APPLIED", "REJECTED"]
    assert refunds[1]["rejection"]["reason"] == "refund_amount_exceeded"
    assert (refunds[1]["rejection"]["available"], refunds[1]["rejection"]["short_by"]) == (4, 2)


def test_a_split_is_refunded_in_proportion_and_then_whole(api: Api) -> None:
    split = _split(api, skip_queue=True)
    part = _refund(api, split, precise_amount=9, skip_queue=True)
    assert [leg["precise_amount"] for leg in part["legs"]] == [3, 6]
    assert [api.balance(name)["balance"] for name in ("@World", "@A", "@B")] == [-21, 7, 14]
    rest = _refund(api, split, skip_queue=True)
    assert rest["precise_amount"] == 21
    assert [api.balance(name)["balance"] for name in ("@World", "@A", "@B")] == [0, 0, 0]
    again = _refund(api, rest["transaction_id"], skip_queue=True)
    assert [api.balance(name)["balance"] for name in ("@World", "@A", "@B")] == [-21, 7, 14]
    assert again["parent_transaction"] == rest["transaction_id"]


def test_a_hold_that_was_committed_in_parts_is_refunded_whole(api: Api) -> None:
    hold = api.done(precise_amount=10, inflight=True)["transaction_id"]
    for amount in (3, 4):
        ok(api.settle(hold, "commit", precise_amount=amount, skip_queue=True), 200)
    # A hold that is still open is not final.
    response = api.client.post(f"/refund-transaction/{hold}", json={})
    refused(response, 404, "TXN_NOT_FOUND", "no transaction to refund")
    ok(api.settle(hold, "void", skip_queue=True), 200)
    refund = _refund(api, hold, skip_queue=True)
    assert refund["precise_amount"] == 7
    assert api.sums("@A") == (0, 0, 0, 0)


def test_all_that_is_wrong_with_a_refund_is_said_at_once(api: Api) -> None:
    asked = {"amount": -1, "precise_amount": 0, "reference": "", "description": "\0", "meta_data": [], "skip_queue": 5}
    detail = refused(api.client.post("/refund-transaction/txn_x", json=asked), 400, "GEN_MALFORMED_REQUEST")
    assert detail["details"]["problems"] == [
        {"field": "description", "message": NUL},
        {"field": "skip_queue", "message": "must be true or false, not 5"},
        {"field": "precise_amount", "message": "precise_amount must be positive"},
        {"field": "amount", "message": "refund amount cannot be negative"},
        {"field": "meta_data", "message": "must be an object"},
        {"field": "reference", "message": "cannot be blank"},
    ]


def test_all_that_is_wrong_with_a_settlement_is_said_at_once(api: Api) -> None:
    asked: dict[str, Any] = {"status": "keep", "amount": -1, "precise_amount": "x", "reference": " "}
    response = api.client.put("/transactions/inflight/txn_x", json=asked)
    assert refused(response, 400, "TXN_INVALID_STATUS_ACTION")["message"] == (
        "commit amount cannot be negative; precise_amount must be positive; "
        "status not supported. use either commit or void; reference: cannot be blank."
    )
    response = api.client.put("/transactions/inflight/txn_x", json=asked | {"status": 5, "amount": True})
    detail = refused(response, 400, "GEN_MALFORMED_REQUEST")
    assert [each["field"] for each in detail["details"]["problems"]] == [
        "amount",
        "status",
        "precise_amount",
        "reference",
    ]
