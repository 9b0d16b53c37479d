"""Scheduled transactions, expiries and refunds by Blnk's client."""

from datetime import UTC, datetime, timedelta

import pytest
from blnk_sdk.types.transactions import (
    RefundTransactionRequest,
)

from tests.harness.blnk import UNKNOWN, Client, data_of, error_of


def _in(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


# Dates


def test_a_scheduled_transaction_is_applied_when_it_is_due(client: Client) -> None:
    customer = client.new_balance()
    at = _in(3)
    scheduled = data_of(client.post("@World", customer, 5, scheduled_for=at, allow_overdraft=True), 201)
    assert scheduled["status"] == "SCHEDULED"
    assert datetime.fromisoformat(scheduled["scheduled_for"]) == at.replace(microsecond=0)
    applied = client.poll(scheduled["transaction_id"], but=("SCHEDULED", "QUEUED"))
    assert applied["status"] == "APPLIED"
    assert [step["status"] for step in applied["timeline"]] == ["SCHEDULED", "QUEUED", "APPLIED"]
    assert datetime.fromisoformat(applied["created_at"]) >= at.replace(microsecond=0)
    assert client.sums(customer) == (5, 0)


@pytest.mark.parametrize(
    ("date", "status", "moved"), [("inflight_expiry_date", "VOID", 0), ("inflight_commit_date", "APPLIED", 5)]
)
def test_a_hold_is_settled_when_its_date_comes(client: Client, date: str, status: str, moved: int) -> None:
    customer = client.new_balance()
    given = {date: _in(3), "inflight": True, "allow_overdraft": True}
    hold = client.done("@World", customer, 5, **given)
    assert hold["status"] == "INFLIGHT"
    assert client.poll(hold["transaction_id"], but=("INFLIGHT",))["status"] == status
    assert client.sums(customer) == (moved, 0)


# Refunds


def test_a_refund_gives_back_once_and_can_be_refunded(client: Client) -> None:
    customer = client.new_balance()
    paid = client.done("@World", customer, 500, allow_overdraft=True, meta_data={"order": 1})
    refund = data_of(client.transactions.refund(paid["transaction_id"]), 201)
    assert (refund["status"], refund["parent_transaction"]) == ("QUEUED", paid["transaction_id"])
    assert refund["reference"] == f"{paid['transaction_id']}_refund"
    assert client.poll(refund["transaction_id"])["status"] == "APPLIED"
    assert client.sums(customer) == (0, 0)
    error_of(client.transactions.refund(paid["transaction_id"]), 409, "TXN_ALREADY_REFUNDED")
    options = RefundTransactionRequest(skip_queue=True, description="after all", meta_data={"why": "mistake"})
    again = data_of(client.transactions.refund(refund["transaction_id"], options), 201)
    assert (again["status"], again["description"]) == ("APPLIED", "after all")
    assert again["meta_data"] == {"order": 1, "why": "mistake"}
    assert client.sums(customer) == (500, 0)
    error_of(client.transactions.refund(f"txn_{UNKNOWN}"), 404, "TXN_NOT_FOUND")
