"""Dry runs by Blnk's client, read as its own types."""

from typing import Any

from blnk_sdk.types.transactions import (
    BulkCommitInflightItem,
    BulkCommitInflightRequest,
    BulkTransactionPreview,
    BulkTransactions,
    BulkVoidInflightRequest,
    RefundTransactionRequest,
    TransactionPreview,
    UpdateTransactionStatus,
)

from tests.harness.blnk import Client, data_of, new_items, new_legs


def _preview(response: Any) -> TransactionPreview:
    preview = TransactionPreview.from_dict(data_of(response, 200))
    assert preview.dry_run is True
    return preview


def test_a_dry_run_of_each_kind_reads_as_the_clients_types(client: Client) -> None:
    customer, shop = client.new_balance(), client.new_balance()
    client.done("@World", customer, 500, allow_overdraft=True)
    applied = _preview(client.post(customer, shop, 400, dry_run=True))
    assert (applied.would_apply, applied.status, applied.precise_amount) == (True, "APPLIED", "400")
    assert [(one.role, one.current_balance, one.resulting_balance) for one in applied.balances] == [
        ("source", "500", "100"),
        ("destination", "0", "400"),
    ]
    short = _preview(client.post(customer, shop, 501, dry_run=True))
    assert (short.would_apply, short.status, short.rejection.reason) == (False, None, "insufficient_funds")
    split = _preview(client.post(customer, None, 100, destinations=new_legs((shop, "left")), dry_run=True))
    assert [(leg.identifier, leg.role, leg.precise_amount) for leg in split.legs] == [(shop, "destination", "100")]

    hold = client.done(customer, shop, 60, inflight=True)["transaction_id"]
    update = UpdateTransactionStatus(status="commit", precise_amount=20, dry_run=True)
    commit = _preview(client.transactions.update_status(hold, update))
    assert (commit.operation, commit.status, commit.precise_amount) == ("commit", "APPLIED", "20")
    update = UpdateTransactionStatus(status="commit", precise_amount=61, dry_run=True)
    assert _preview(client.transactions.update_status(hold, update)).rejection.code == "TXN_COMMIT_AMOUNT_EXCEEDED"
    paid = client.done(customer, shop, 40)["transaction_id"]
    refund = _preview(client.transactions.refund(paid, RefundTransactionRequest(dry_run=True)))
    assert (refund.would_apply, refund.precise_amount) == (True, "40")
    assert (client.sums(customer), client.sums(shop)) == ((460, -60), (40, 60))


def test_a_dry_run_of_many_reads_as_the_clients_type(client: Client) -> None:
    customer, shop = client.new_balance(), client.new_balance()
    client.done("@World", customer, 500, allow_overdraft=True)
    items = new_items(shop, 450, 100, source=customer, allow_overdraft=None)
    bulk = BulkTransactions(transactions=items, dry_run=True)
    preview = BulkTransactionPreview.from_dict(data_of(client.transactions.create_bulk(bulk), 200))
    assert (preview.cumulative, preview.would_apply) == (True, False)
    assert [one.would_apply for one in preview.results] == [True, False]
    assert {one.balance_id: one.resulting_balance for one in preview.balances} == {customer: "50", shop: "450"}

    hold = client.done(customer, shop, 60, inflight=True)["transaction_id"]
    commit = BulkCommitInflightRequest(transactions=[BulkCommitInflightItem(transaction_id=hold)], dry_run=True)
    void = BulkVoidInflightRequest(transaction_ids=[hold, hold], dry_run=True)
    committed = data_of(client.transactions.bulk_commit_inflight(commit), 200)
    voided = BulkTransactionPreview.from_dict(data_of(client.transactions.bulk_void_inflight(void), 200))
    (one,) = BulkTransactionPreview.from_dict(committed).results
    assert (one.operation, one.status, one.precise_amount) == ("commit", "APPLIED", "60")
    assert [one.operation for one in voided.results] == ["void", "void"]
    assert "appears more than once" in voided.notes[0]
    assert client.sums(customer) == (500, -60)
