"""Blnk's acceptance cases of holds, alone and many at once."""

from datetime import timedelta
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.harness.acceptance import case
from tests.harness.api import Api, ok, refused
from tests.harness.steps import (
    UNKNOWN,
    ahead,
    beat,
    bulk_commit,
    bulk_void,
    commit,
    decide,
    give,
    legs_of,
    make_hold,
    post_split,
    void,
)

# Holds


@case(44)
def test_a_queued_hold_becomes_inflight_and_moves_nothing(api: Api) -> None:
    # Blnk: the returned id stays QUEUED, and R_q is INFLIGHT.
    accepted = ok(api.post(amount=100.50, inflight=True), 201)
    assert (accepted["status"], accepted["inflight"]) == ("QUEUED", True)
    api.drain()
    held = api.transaction(accepted["transaction_id"])
    assert (held["status"], held["inflight"]) == ("INFLIGHT", True)
    assert api.sums("@World")[:2] == (0, -10050)
    assert api.sums("@A")[:2] == (0, 10050)


@case(45)
def test_a_queued_hold_is_committed_whole_by_its_own_id(api: Api) -> None:
    hold = decide(api, amount=100.50, inflight=True)["transaction_id"]
    committed = commit(api, hold, precise_amount=10050)
    assert (committed["status"], committed["parent_transaction"]) == ("APPLIED", hold)
    assert (api.sums("@World")[:2], api.sums("@A")[:2]) == ((-10050, 0), (10050, 0))


@case(46)
def test_a_hold_leaves_the_balance_until_it_is_committed(api: Api) -> None:
    give(api, "@A", 400)
    whole, parts = (ok(api.spend(precise_amount=100, inflight=True), 201)["transaction_id"] for _ in range(2))
    assert api.sums("@A") == (400, -200, 0, 200)
    commit(api, whole)
    assert api.sums("@A") == (300, -100, 0, 100)
    commit(api, parts, precise_amount=40)
    assert api.sums("@A") == (260, -60, 0, 60)
    void(api, parts)
    assert api.sums("@A") == (260, 0, 0, 0)
    assert api.sums("@B") == (140, 0, 0, 0)


@case(47)
def test_an_empty_commit_takes_the_rest(api: Api) -> None:
    hold = api.done(amount=300.50, inflight=True)["transaction_id"]
    amounts = [commit(api, hold, amount=100.25)["precise_amount"], commit(api, hold)["precise_amount"]]
    assert amounts == [10025, 20025]
    assert api.sums("@A") == (30050, 0, 0, 0)


@case(48)
def test_a_void_releases_what_is_left(api: Api) -> None:
    hold = make_hold(api, 100)
    commit(api, hold, precise_amount=30)
    voided = void(api, hold)
    assert (voided["status"], voided["precise_amount"]) == ("VOID", 70)
    assert api.sums("@A") == (30, 0, 0, 0)


@case(49)
@pytest.mark.parametrize("status", ["commit", "void"])
@pytest.mark.parametrize("amount", [0, -100])
def test_a_precise_amount_to_settle_must_be_positive(api: Api, status: str, amount: int) -> None:
    hold = make_hold(api)
    response = api.settle(hold, status, precise_amount=amount, skip_queue=True)
    refused(response, 400, "TXN_INVALID_AMOUNT", "precise_amount must be positive")
    assert api.transaction(hold)["status"] == "INFLIGHT"


@case(50)
def test_a_hold_is_committed_or_voided_and_nothing_else(api: Api) -> None:
    text = "status not supported. use either commit or void"
    for status in ("settle", "COMMIT", ""):
        refused(api.settle(make_hold(api), status), 400, "TXN_INVALID_STATUS_ACTION", text)


@case(51)
def test_a_fourth_commit_of_thirty_of_a_hundred_is_too_much(api: Api) -> None:
    hold = make_hold(api, 100)
    for _ in range(3):
        commit(api, hold, precise_amount=30)
    text = "cannot commit more than the remaining amount. Available: USD0.10, Requested: USD0.30"
    response = api.settle(hold, "commit", precise_amount=30, skip_queue=True)
    refused(response, 400, "TXN_COMMIT_AMOUNT_EXCEEDED", text)
    assert api.sums("@A")[:2] == (90, 10)


@case(52)
def test_one_queued_settlement_waits_at_a_time(api: Api) -> None:
    hold = make_hold(api)
    queued = ok(api.settle(hold, "commit"), 200)
    assert (queued["queued"], queued["status"], queued["transaction_id"]) == (True, "INFLIGHT", hold)
    text = "a commit or void is already queued for this transaction"
    refused(api.settle(hold, "void"), 409, "GEN_CONFLICT", text)
    api.drain()
    assert api.sums("@A")[:2] == (10000, 0)


@case(53)
def test_a_partial_commit_that_is_sent_again_moves_money_once(api: Api) -> None:
    # Blnk's action ids are its own. Here the client's reference makes a commit repeatable.
    hold = make_hold(api, 100)
    first = ok(api.settle(hold, "commit", precise_amount=30, reference="part"), 200)
    api.drain()
    for skip_queue in (False, True):
        again = api.settle(hold, "commit", precise_amount=30, reference="part", skip_queue=skip_queue)
        assert again.status_code == 200
        api.drain()
    assert api.transaction(first["child_transaction"])["precise_amount"] == 30
    assert api.sums("@A")[:2] == (30, 70)


@case(54)
@pytest.mark.parametrize("of", ["sources", "destinations", "batch"])
def test_a_queued_commit_takes_all_holds_of_a_split_or_batch(api: Api, of: str) -> None:
    shares = legs_of(("@B", "40%"), ("@C", "left"))
    if of == "batch":
        parent = ok(api.bulk({"precise_amount": 40}, {"precise_amount": 60}, inflight=True), 201)["batch_id"]
    elif of == "sources":
        fields = {"source": None, "sources": shares}
        parent = ok(api.post(precise_amount=100, inflight=True, **fields), 201)["transaction_id"]
    else:
        response = post_split(api, 100, ("@A", "40%"), ("@C", "left"), inflight=True, skip_queue=None)
        parent = ok(response, 201)["transaction_id"]
    api.drain()
    assert api.transaction(parent)["status"] == "INFLIGHT"
    answer = ok(api.settle(parent, "commit"), 200)
    assert (answer["queued"], answer["transaction_id"], answer["status"]) == (True, parent, "INFLIGHT")
    api.drain()
    assert api.transaction(parent)["status"] == "APPLIED"
    if of == "destinations":
        assert (api.sums("@World")[:2], api.sums("@A")[:2], api.sums("@C")[:2]) == ((-100, 0), (40, 0), (60, 0))
    else:
        assert api.sums("@A")[:2] == (100, 0)


@case(55)
@pytest.mark.parametrize("skip_queue", [True, False])
def test_what_is_settled_stays_settled(api: Api, skip_queue: bool) -> None:
    committed, voided = make_hold(api), make_hold(api)
    commit(api, committed)
    void(api, voided)
    response = api.settle(committed, "void", skip_queue=skip_queue)
    refused(response, 409, "TXN_ALREADY_COMMITTED", "cannot void. Transaction already committed")
    response = api.settle(voided, "commit", skip_queue=skip_queue)
    refused(response, 409, "TXN_ALREADY_VOIDED", "transaction has already been voided")
    assert api.sums("@A")[:2] == (10000, 0)


@case(56)
def test_a_hold_is_as_much_on_both_sides_and_leaves_nothing(api: Api) -> None:
    hold = make_hold(api, 77)
    assert (api.sums("@World"), api.sums("@A")) == ((0, -77, 0, 77), (0, 77, 77, 0))
    commit(api, hold)
    assert (api.sums("@World"), api.sums("@A")) == ((-77, 0, 0, 0), (77, 0, 0, 0))


@case(57)
def test_a_rejected_hold_cannot_be_committed(api: Api) -> None:
    # Blnk: the returned id stays QUEUED.
    hold = decide(api, source="@A", destination="@B", allow_overdraft=None, inflight=True)
    assert hold["status"] == "REJECTED"
    for skip_queue in (True, False):
        response = api.settle(hold["transaction_id"], "commit", skip_queue=skip_queue)
        refused(response, 400, "TXN_NOT_INFLIGHT", "transaction is not in inflight status")
    assert api.sums("@A") == api.sums("@B") == (0, 0, 0, 0)


@case(58)
def test_a_hold_that_expires_is_voided(api: Api) -> None:
    at, expiry = ahead(3600)
    hold = make_hold(api, 100, inflight_expiry_date=expiry)
    commit(api, hold, precise_amount=30)
    beat(api, at - timedelta(seconds=1))
    assert api.sums("@A")[:2] == (30, 70)
    beat(api, at)
    assert api.sums("@A")[:2] == (30, 0)
    (child,) = [row for row in api.get("/transactions") if row["status"] == "VOID"]
    assert (child["parent_transaction"], child["precise_amount"]) == (hold, 70)
    refused(api.settle(hold, "void"), 409, "TXN_ALREADY_VOIDED")


@case(59)
def test_a_hold_is_committed_when_its_date_comes(api: Api) -> None:
    at, commit_date = ahead(3600)
    hold = make_hold(api, 100, inflight_commit_date=commit_date)
    beat(api, at - timedelta(seconds=1))
    assert api.transaction(hold)["status"] == "INFLIGHT"
    beat(api, at)
    assert api.transaction(hold)["status"] == "APPLIED"
    (child,) = [row for row in api.get("/transactions") if row["parent_transaction"] == hold]
    assert (child["status"], child["precise_amount"]) == ("APPLIED", 100)
    assert api.sums("@A")[:2] == (100, 0)


@case(60)
def test_an_expiry_takes_nothing_from_another_hold(api: Api) -> None:
    # Blnk: a VOID row appears, and takes the money of the other hold.
    at, expiry = ahead(3600)
    settled = decide(api, precise_amount=50, inflight=True, inflight_expiry_date=expiry)["transaction_id"]
    other = decide(api, precise_amount=50, inflight=True)["transaction_id"]
    commit(api, settled)
    beat(api, at)
    assert api.sums("@A")[:2] == (50, 50)
    assert len(api.get("/transactions")) == 3  # The holds and the commit, and not even a rejected void.
    commit(api, other)
    assert api.sums("@A")[:2] == (100, 0)


# Many holds at once


@case(61)
def test_many_holds_are_voided_at_once_and_once(api: Api) -> None:
    holds = [make_hold(api) for _ in range(3)]
    answer = ok(bulk_void(api, holds, skip_queue=True), 200)
    assert (answer["succeeded"], answer["failed"]) == (3, 0)
    assert answer["results"] == [{"transaction_id": hold, "status": "succeeded"} for hold in holds]
    assert api.sums("@A")[:2] == (0, 0)
    again = ok(bulk_void(api, holds, skip_queue=True), 200)
    assert (again["succeeded"], again["failed"]) == (0, 3)
    assert [(one["transaction_id"], one["code"]) for one in again["results"]] == [(h, "ALREADY_VOIDED") for h in holds]


@case(62)
def test_an_unknown_hold_among_many_fails_alone(api: Api) -> None:
    holds = [make_hold(api) for _ in range(2)]
    answer = ok(bulk_commit(api, [{"transaction_id": id} for id in (*holds, UNKNOWN)], skip_queue=True), 200)
    assert (answer["succeeded"], answer["failed"]) == (2, 1)
    assert [one["status"] for one in answer["results"]] == ["succeeded", "succeeded", "failed"]
    assert (answer["results"][2]["transaction_id"], answer["results"][2]["code"]) == (UNKNOWN, "NOT_FOUND")
    assert api.sums("@A")[:2] == (20000, 0)


@case(63)
@pytest.mark.parametrize(
    ("what", "path"), [("transactions", "commit"), ("transaction_ids", "void")], ids=["commit", "void"]
)
def test_many_holds_are_one_to_a_hundred(api: Api, what: str, path: str) -> None:
    def post(items: Any) -> TestResponse:
        return api.client.post(f"/transactions/inflight/bulk/{path}", json={} if items is None else {what: items})

    nothing: list[Any] = [None, []]
    for none in nothing:
        refused(post(none), 400, "TXN_BULK_EMPTY", f"{what} cannot be empty")
    item: Any = {"transaction_id": "a"} if path == "commit" else "a"
    refused(post([item] * 101), 400, "TXN_BULK_LIMIT_EXCEEDED", f"too many {what}; max is 100")
    # Blnk: TXN_BULK_EMPTY.
    assert what in refused(post("a"), 400, "GEN_MALFORMED_REQUEST")["message"]
