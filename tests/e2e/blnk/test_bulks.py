"""Bulks and splits by Blnk's client."""

import pytest
from blnk_sdk.types.transactions import (
    BulkTransactions,
    MultipleSourcesT,
    UpdateTransactionStatus,
)

from tests.harness.blnk import Client, data_of, error_of, new_items, new_legs

# Bulks


@pytest.mark.parametrize("flags", [{}, {"skip_queue": True}, {"atomic": True}, {"run_async": True}], ids=str)
def test_a_bulk_is_applied(client: Client, flags: dict[str, bool]) -> None:
    customer = client.new_balance()
    items = new_items(customer, 1, 2, 4)
    answer = data_of(
        client.transactions.create_bulk(BulkTransactions(transactions=items, **flags)),
        202 if "run_async" in flags else 201,
    )
    assert answer["batch_id"].startswith("bulk_")
    assert answer["transaction_count"] == 3
    status = "applied" if "skip_queue" in flags else "processing" if "run_async" in flags else "queued"
    assert answer["status"] == status
    for item in items:
        found = data_of(client.transactions.get_by_reference(item.reference), 200)
        assert client.poll(found["transaction_id"])["status"] == "APPLIED"
        assert found["parent_transaction"] == answer["batch_id"]
    assert client.sums(customer) == (7, 0)


def test_a_bulk_of_holds_is_inflight(client: Client) -> None:
    customer = client.new_balance()
    bulk = BulkTransactions(transactions=new_items(customer, 1, 2), inflight=True, skip_queue=True)
    assert data_of(client.transactions.create_bulk(bulk), 201)["status"] == "inflight"
    assert client.sums(customer) == (0, 3)


@pytest.mark.parametrize("skip_queue", [True, False])
def test_an_atomic_bulk_is_applied_whole_or_not_at_all(client: Client, skip_queue: bool) -> None:
    customer = client.new_balance()
    items = [*new_items(customer, 1), *new_items(customer, 2, source=client.new_balance(), allow_overdraft=None)]
    response = client.transactions.create_bulk(BulkTransactions(transactions=items, atomic=True, skip_queue=skip_queue))
    if skip_queue:
        error_of(response, 400, "TXN_INSUFFICIENT_FUNDS")
        assert response.data["batch_id"].startswith("bulk_")
    else:
        data_of(response, 201)
    for item in items:
        found = data_of(client.transactions.get_by_reference(item.reference), 200)
        assert client.poll(found["transaction_id"])["status"] == "REJECTED"
    assert client.sums(customer) == (0, 0)


# Splits


def test_a_payment_is_split_among_several(client: Client) -> None:
    source, fee, shop, rest = (client.new_balance() for _ in range(4))
    client.done("@World", source, 3_000_000, allow_overdraft=True)
    legs = new_legs((fee, "20%"), (shop, "10000"), (rest, "left"))
    split = client.done(source, None, 3_000_000, destinations=legs, atomic=True)
    assert (split["status"], split["precise_amount"]) == ("APPLIED", 3_000_000)
    assert [client.sums(id)[0] for id in (source, fee, shop, rest)] == [0, 600_000, 1_000_000, 1_400_000]
    for number, named in enumerate(split["destinations"], 1):
        leg = data_of(client.transactions.get_by_reference(f"{split['reference']}_{number}"), 200)
        assert (leg["transaction_id"], leg["destination"]) == (named["transaction_id"], named["identifier"])
        assert leg["parent_transaction"] == split["transaction_id"]


def test_several_pay_one_by_precise_shares(client: Client) -> None:
    sources = [client.new_balance() for _ in range(2)]
    shop = client.new_balance()
    legs = [MultipleSourcesT(identifier=id, precise_distribution=n) for id, n in zip(sources, ("4", 6), strict=True)]
    split = client.done(None, shop, 10, sources=legs, allow_overdraft=True)
    assert split["status"] == "APPLIED"
    assert [client.sums(id)[0] for id in (*sources, shop)] == [-4, -6, 10]


def test_holds_of_a_split_are_committed_in_proportion_and_the_rest_is_voided(client: Client) -> None:
    first, second = client.new_balance(), client.new_balance()
    legs = new_legs((first, "30%"), (second, "left"))
    split = client.done("@World", None, 100, destinations=legs, inflight=True, allow_overdraft=True)
    assert (split["status"], split["inflight"]) == ("INFLIGHT", True)
    update = UpdateTransactionStatus(status="commit", precise_amount=10, skip_queue=True)
    data_of(client.transactions.update_status(split["transaction_id"], update), 200)
    assert (client.sums(first), client.sums(second)) == ((3, 27), (7, 63))
    data_of(client.transactions.update_status(split["transaction_id"], {"status": "void"}), 200)
    assert client.poll(split["transaction_id"], but=("INFLIGHT",))["status"] == "APPLIED"
    assert (client.sums(first), client.sums(second)) == ((3, 0), (7, 0))
