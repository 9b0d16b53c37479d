"""Transactions by Blnk's client: queued, exact, repeated, rejected, from the world and to it."""

import pytest
from blnk_sdk.types.transactions import (
    CreateTransactions,
)

from tests.harness.blnk import UNKNOWN, Client, data_of, error_of, new_name, new_reference

# Transactions


def test_a_queued_transaction_is_polled_by_its_id_until_it_is_applied(client: Client) -> None:
    customer = client.new_balance()
    asked = CreateTransactions(
        amount=750.23,
        precision=100,
        reference=new_reference(),
        description="Salary",
        currency="USD",
        source="@World",
        destination=customer,
        allow_overdraft=True,
        meta_data={"month": "2026-11"},
        effective_date="2026-11-01T00:00:00Z",
        rate=1,
    )
    created = data_of(client.transactions.create(asked), 201)
    assert (created["status"], created["precise_amount"], created["amount"]) == ("QUEUED", 75023, 750.23)
    applied = client.poll(created["transaction_id"])
    assert applied["status"] == "APPLIED"
    assert (applied["reference"], applied["meta_data"]) == (asked.reference, {"month": "2026-11"})
    assert applied["effective_date"] == "2026-11-01T00:00:00Z"
    assert client.sums(customer) == (75023, 0)
    for reference in (asked.reference, f"{asked.reference}_q"):
        assert data_of(client.transactions.get_by_reference(reference), 200) == applied
    assert data_of(client.transactions.list({"limit": 1}), 200)[0]["transaction_id"] == created["transaction_id"]
    error_of(client.transactions.get(f"txn_{UNKNOWN}"), 404, "TXN_NOT_FOUND")
    error_of(client.transactions.get_by_reference("nothing"), 404, "TXN_NOT_FOUND")


@pytest.mark.parametrize("precise", [189207535698279123, "189207535698279123", 10**40 + 1, "7"])
def test_a_precise_amount_is_exact_as_number_and_as_text(client: Client, precise: int | str) -> None:
    customer = client.new_balance()
    applied = client.done("@World", customer, precise, allow_overdraft=True)
    assert (applied["status"], applied["precise_amount"]) == ("APPLIED", int(precise))
    assert client.sums(customer) == (int(precise), 0)


def test_a_repeated_create_is_one_transaction(client: Client) -> None:
    customer, reference = client.new_balance(), new_reference()
    first = data_of(client.post("@World", customer, 9, reference=reference, allow_overdraft=True), 201)
    client.poll(first["transaction_id"])
    again = data_of(client.post("@World", customer, 9, reference=reference, allow_overdraft=True), 200)
    assert again["transaction_id"] == first["transaction_id"]
    other = client.post("@World", customer, 10, reference=reference, allow_overdraft=True)
    assert "has already been used" in error_of(other, 409, "TXN_DUPLICATE_REFERENCE")
    assert client.sums(customer) == (9, 0)


def test_what_cannot_be_paid_is_rejected_and_says_why(client: Client) -> None:
    poor, shop = client.new_balance(), client.new_balance()
    rejected = client.done(poor, shop, 100)
    assert rejected["status"] == "REJECTED"
    assert rejected["meta_data"]["blnk_rejection_reason"] == "insufficient funds in source balance"
    assert rejected["rejection"]["short_by"] == 100
    message = error_of(client.post(poor, shop, 100, skip_queue=True), 400, "TXN_INSUFFICIENT_FUNDS")
    assert "insufficient funds" in message
    error_of(client.post(poor, f"bln_{UNKNOWN}", 100), 404, "BAL_NOT_FOUND")
    assert client.sums(poor) == client.sums(shop) == (0, 0)


# The world outside


@pytest.mark.parametrize(
    ("scenario", "outwards"),
    [("send to a bank", True), ("receive from a bank", False), ("pay by card", True), ("get a refund", False)],
)
def test_money_leaves_to_the_world_and_comes_from_it(client: Client, scenario: str, outwards: bool) -> None:
    customer, world = client.new_balance(), new_name("World")
    client.done(world, customer, 10000, allow_overdraft=True, description="what was there before")
    if outwards:
        # The customer's own money: no overdraft.
        applied = client.done(customer, world, 2599, description=scenario)
        short = client.done(customer, world, 7402, description=scenario)
        assert (applied["status"], short["status"]) == ("APPLIED", "REJECTED")
        assert short["rejection"]["short_by"] == 1
        moved = -2599
    else:
        # The world has no money of its own: it needs the overdraft.
        short = client.done(world, customer, 2599, description=scenario)
        applied = client.done(world, customer, 2599, description=scenario, allow_overdraft=True)
        assert (applied["status"], short["status"]) == ("APPLIED", "REJECTED")
        moved = 2599
    assert client.sums(customer) == (10000 + moved, 0)
    found = data_of(client.balances.get_by_indicator(world, "USD"), 200)
    assert found["balance"] == -10000 - moved
    assert found["balance"] == found["credit_balance"] - found["debit_balance"]
