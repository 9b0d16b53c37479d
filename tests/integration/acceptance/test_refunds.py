"""Blnk's acceptance cases of refunds."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask

from tests.harness.acceptance import case
from tests.harness.api import Api, ok, refused
from tests.harness.steps import UNKNOWN, ahead, balances_of, decide, make_hold, post_refund, void


@case(71)
def test_a_refund_is_queued_under_the_originals_id(api: Api) -> None:
    original = api.done(precise_amount=10)["transaction_id"]
    response = api.client.post(f"/refund-transaction/{original}")
    refund = ok(response, 201)
    named = (refund["status"], refund["parent_transaction"], refund["reference"])
    assert named == ("QUEUED", original, f"{original}_refund")
    api.drain()
    assert api.transaction(refund["transaction_id"])["status"] == "APPLIED"
    assert balances_of(api, "@A", "@World") == [0, 0]


@pytest.mark.smoke
@case(72)
def test_a_refund_at_once_puts_both_balances_back(api: Api) -> None:
    original = api.done(precise_amount=10)["transaction_id"]
    response = api.client.post(f"/refund-transaction/{original}", data="{", content_type="application/json")
    refused(response, 400, "GEN_MALFORMED_REQUEST")
    refund = ok(post_refund(api, original, skip_queue=True), 201)
    assert (refund["status"], refund["precise_amount"]) == ("APPLIED", 10)
    assert balances_of(api, "@A", "@World") == [0, 0]


@case(73)
@pytest.mark.parametrize("skip_queue", [True, False])
def test_a_second_refund_moves_nothing(api: Api, skip_queue: bool) -> None:
    # Blnk: 409 GEN_CONFLICT, and with skip_queue it refunds the refund.
    original = api.done(precise_amount=10)["transaction_id"]
    first = ok(post_refund(api, original, skip_queue=skip_queue), 201)
    text = f"transaction {original} has already been refunded"
    for _ in range(2):
        detail = refused(post_refund(api, original, skip_queue=skip_queue), 409, "TXN_ALREADY_REFUNDED", text)
        assert detail["details"] == {"refund_transaction_id": first["transaction_id"]}
        api.drain()
    assert balances_of(api, "@A", "@World") == [0, 0]
    assert len(api.get("/transactions")) == 2


@case(74)
def test_five_refunds_at_once_are_one(api: Api, app: Flask) -> None:
    original = api.done(precise_amount=10)["transaction_id"]
    ready = threading.Barrier(5)

    def refund(number: int) -> int:
        mine = Api(app, app.test_client())
        ready.wait()
        return post_refund(mine, original, skip_queue=number % 2 == 0).status_code

    with ThreadPoolExecutor(5) as pool:
        assert sorted(pool.map(refund, range(5))) == [201, 409, 409, 409, 409]
    api.drain()
    assert balances_of(api, "@A", "@World") == [0, 0]


@case(75)
def test_a_refund_is_refunded_by_its_own_id(api: Api) -> None:
    original = api.done(precise_amount=10)["transaction_id"]
    refund = ok(post_refund(api, original, skip_queue=True), 201)["transaction_id"]
    again = ok(post_refund(api, refund, skip_queue=True), 201)
    assert (again["status"], again["parent_transaction"]) == ("APPLIED", refund)
    assert balances_of(api, "@A", "@World") == [10, -10]


@case(76)
@pytest.mark.parametrize("state", ["unknown", "QUEUED", "INFLIGHT", "SCHEDULED", "REJECTED", "VOID"])
def test_what_moved_nothing_cannot_be_refunded(api: Api, state: str) -> None:
    if state == "unknown":
        transaction_id = UNKNOWN
    elif state == "QUEUED":
        transaction_id = ok(api.post(), 201)["transaction_id"]
    elif state == "SCHEDULED":
        transaction_id = ok(api.post(scheduled_for=ahead(3600)[1]), 201)["transaction_id"]
    elif state == "REJECTED":
        short = {"source": "@A", "destination": "@B", "allow_overdraft": None}
        transaction_id = decide(api, **short)["transaction_id"]
    else:
        transaction_id = make_hold(api)
        if state == "VOID":
            void(api, transaction_id)
    if state != "unknown":
        assert api.transaction(transaction_id)["status"] == state
    refused(post_refund(api, transaction_id), 404, "TXN_NOT_FOUND", "no transaction to refund")


@case(77)
def test_a_refund_may_have_words_of_its_own(api: Api) -> None:
    original = api.done(meta_data={"a": 1, "b": 2}, description="the first")["transaction_id"]
    refund = ok(post_refund(api, original, description="sorry", meta_data={"b": 3, "c": 4}), 201)
    assert (refund["description"], refund["meta_data"]) == ("sorry", {"a": 1, "b": 3, "c": 4})
    other = api.done(meta_data={"a": 1}, description="the second")["transaction_id"]
    # An empty reference means no reference, as Blnk's clients send it.
    kept = ok(post_refund(api, other, description=""), 201)
    assert (kept["description"], kept["meta_data"]) == ("the second", {"a": 1})
