"""Holds by Blnk's client, alone and many at once."""

import pytest
from blnk_sdk.types.transactions import (
    BulkCommitInflightItem,
    BulkCommitInflightRequest,
    BulkVoidInflightRequest,
    UpdateTransactionStatus,
)

from tests.harness.blnk import UNKNOWN, Client, data_of, error_of

# Holds


def test_a_hold_is_committed_in_parts_and_the_rest_is_voided(client: Client) -> None:
    customer, shop = client.new_balance(), client.new_balance()
    client.done("@World", customer, 20000, allow_overdraft=True)
    hold = client.done(customer, shop, 10000, inflight=True)
    assert (hold["status"], hold["inflight"]) == ("INFLIGHT", True)
    assert (client.sums(customer), client.sums(shop)) == ((20000, -10000), (0, 10000))

    update = UpdateTransactionStatus(status="commit", amount=25.5, skip_queue=True)
    part = data_of(client.transactions.update_status(hold["transaction_id"], update), 200)
    assert (part["status"], part["precise_amount"]) == ("APPLIED", 2550)
    assert part["parent_transaction"] == hold["transaction_id"]
    update = UpdateTransactionStatus(status="commit", precise_amount="1450")
    queued = data_of(client.transactions.update_status(hold["transaction_id"], update), 200)
    assert (queued["queued"], queued["transaction_id"]) == (True, hold["transaction_id"])
    assert client.poll(queued["child_transaction"])["precise_amount"] == 1450
    assert (client.sums(customer), client.sums(shop)) == ((16000, -6000), (4000, 6000))

    too_much = {"status": "commit", "precise_amount": 6001}
    error_of(client.transactions.update_status(hold["transaction_id"], too_much), 400, "TXN_COMMIT_AMOUNT_EXCEEDED")
    void = {"status": "void", "skip_queue": True}
    voided = data_of(client.transactions.update_status(hold["transaction_id"], void), 200)
    assert (voided["status"], voided["precise_amount"]) == ("VOID", 6000)
    assert (client.sums(customer), client.sums(shop)) == ((16000, 0), (4000, 0))
    again = client.transactions.update_status(hold["transaction_id"], {"status": "void"})
    error_of(again, 409, "TXN_ALREADY_VOIDED")


def test_a_hold_is_committed_whole(client: Client) -> None:
    customer = client.new_balance()
    hold = client.done("@World", customer, 700, inflight=True, allow_overdraft=True)
    update = UpdateTransactionStatus(status="commit", meta_data={"sent": "by the client's type"})
    queued = data_of(client.transactions.update_status(hold["transaction_id"], update), 200)
    assert client.poll(queued["child_transaction"])["status"] == "APPLIED"
    assert client.poll(hold["transaction_id"])["status"] == "APPLIED"
    assert client.sums(customer) == (700, 0)


def _holds(client: Client, customer: str, *amounts: int) -> list[str]:
    posted = [client.done("@World", customer, n, inflight=True, allow_overdraft=True) for n in amounts]
    return [hold["transaction_id"] for hold in posted]


# Many holds at once


@pytest.mark.parametrize("skip_queue", [True, False])
def test_many_holds_are_committed_each_by_itself(client: Client, skip_queue: bool) -> None:
    customer = client.new_balance()
    first, second = _holds(client, customer, 100, 50)
    items = [
        BulkCommitInflightItem(transaction_id=first, amount=0.4),
        BulkCommitInflightItem(transaction_id=second),
        BulkCommitInflightItem(transaction_id=f"txn_{UNKNOWN}"),
    ]
    asked = BulkCommitInflightRequest(transactions=items, skip_queue=skip_queue)
    answer = data_of(client.transactions.bulk_commit_inflight(asked), 200)
    assert (answer["succeeded"], answer["failed"]) == (2, 1)
    done = "succeeded" if skip_queue else "queued"
    assert [one["status"] for one in answer["results"]] == [done, done, "failed"]
    assert answer["results"][2]["code"] == "NOT_FOUND"
    assert client.poll(second, but=("INFLIGHT",))["status"] == "APPLIED"
    client.done("@World", customer, 1, allow_overdraft=True)  # Behind the commits in the same queue.
    assert client.sums(customer) == (91, 60)


@pytest.mark.parametrize("skip_queue", [True, False])
def test_many_holds_are_voided_each_by_itself(client: Client, skip_queue: bool) -> None:
    customer = client.new_balance()
    holds = _holds(client, customer, 100, 50)
    asked = BulkVoidInflightRequest(transaction_ids=holds, skip_queue=skip_queue)
    answer = data_of(client.transactions.bulk_void_inflight(asked), 200)
    assert (answer["succeeded"], answer["failed"]) == (2, 0)
    assert {client.poll(hold, but=("INFLIGHT",))["status"] for hold in holds} == {"VOID"}
    again = data_of(client.transactions.bulk_void_inflight(asked), 200)
    assert [one["code"] for one in again["results"]] == ["ALREADY_VOIDED"] * 2
    assert client.sums(customer) == (0, 0)
