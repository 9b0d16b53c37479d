"""A queued refund, commit or void of all says how much that is, marked as pending. No answer has a zero in its place."""

from typing import Any

import pytest

from tests.harness.api import Api

Body = dict[str, Any]


def amount_of(body: Body) -> tuple[Any, Any, Any, Any]:
    return body["status"], body["precise_amount"], body["amount"], body.get("pending")


def original(api: Api, **fields: Any) -> Body:
    return api.done(precise_amount=1250, precision=100, **fields)


def queued(api: Api, response: Any) -> Body:
    body: Body = response.get_json()
    assert response.status_code in (200, 201), body
    read = api.get(f"/transactions/{body['transaction_id']}")
    listed = api.get("/transactions", reference_eq=body["reference"])[0]
    assert amount_of(body) == amount_of(read) == amount_of(listed)
    return body


def test_a_queued_refund_of_the_whole_says_what_is_left(api: Api) -> None:
    first = original(api)
    path = f"/refund-transaction/{first['transaction_id']}"
    part = queued(api, api.client.post(path, json={"precise_amount": 250}))
    assert amount_of(part) == ("QUEUED", 250, 2.5, None)
    whole = queued(api, api.client.post(path))
    assert amount_of(whole) == ("QUEUED", 1250, 12.5, True)
    api.drain()
    read = api.get(f"/transactions/{whole['transaction_id']}")
    assert amount_of(read) == ("APPLIED", 1000, 10, None)
    again = api.client.post(path, json={"precise_amount": 1})
    assert again.status_code == 409


@pytest.mark.parametrize("action", ["commit", "void"])
def test_a_queued_commit_or_void_of_all_that_is_left_says_what_that_is(api: Api, action: str) -> None:
    hold = original(api, inflight=True)
    path = f"/transactions/inflight/{hold['transaction_id']}"
    api.client.put(path, json={"status": "commit", "precise_amount": 250})
    api.drain()
    api.client.put(path, json={"status": action})
    (settled,) = [
        each
        for each in api.get("/transactions", parent_transaction_eq=hold["transaction_id"])
        if each["status"] == "QUEUED"
    ]
    assert amount_of(settled) == ("QUEUED", 1000, 10, True)
    assert amount_of(api.get(f"/transactions/{settled['transaction_id']}")) == ("QUEUED", 1000, 10, True)
    api.drain()
    assert amount_of(api.get(f"/transactions/{settled['transaction_id']}"))[1:] == (1000, 10, None)
