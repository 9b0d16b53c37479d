"""Ledgers, balances, lists and metadata by Blnk's client."""

from pathlib import Path

import pytest
from blnk_sdk.services import ledger_balances, ledgers, metadata, transactions
from blnk_sdk.types.ledger import CreateLedger
from blnk_sdk.types.ledger_balances import CreateLedgerBalance, GetBalanceAtRequest, GetBalanceRequest
from blnk_sdk.types.list_options import ListOptions
from blnk_sdk.types.metadata import UpdateMetadataData
from blnk_sdk.types.search import FilterCondition, FilterParams
from blnk_sdk.types.transactions import (
    BulkTransactions,
    RecoverQueueRequest,
)

from tests.harness.blnk import UNKNOWN, Client, data_of, error_of, new_items, new_name

# Ledgers and balances


def test_ledgers_are_created_read_listed_and_renamed(client: Client) -> None:
    created = data_of(client.ledgers.create(CreateLedger(name="Customers", meta_data={"region": "EU"})), 201)
    assert created["ledger_id"].startswith("ldg_")
    assert (created["name"], created["meta_data"]) == ("Customers", {"region": "EU"})
    assert data_of(client.ledgers.get(created["ledger_id"]), 200) == created
    assert data_of(client.ledgers.list(ListOptions(limit=1)), 200) == [created]
    assert isinstance(data_of(client.ledgers.get(""), 200), list)
    renamed = data_of(client.ledgers.update(created["ledger_id"], {"name": "Clients"}), 200)
    assert renamed == {**created, "name": "Clients"}
    assert error_of(client.ledgers.get(f"ldg_{UNKNOWN}"), 404, "LGR_NOT_FOUND") == "Ledger not found"


def test_balances_are_created_read_and_listed(client: Client) -> None:
    ledger = data_of(client.ledgers.create({"name": "L"}), 201)["ledger_id"]
    asked = CreateLedgerBalance(ledger_id=ledger, currency="USD", meta_data={"customer": 7})
    created = data_of(client.balances.create(asked), 201)
    assert created["balance_id"].startswith("bln_")
    assert (created["ledger_id"], created["currency"], created["meta_data"]) == (ledger, "USD", {"customer": 7})
    assert (created["balance"], created["inflight_balance"], created["indicator"]) == (0, 0, "")
    assert data_of(client.balances.get(created["balance_id"]), 200) == created
    assert data_of(client.balances.list({"limit": 1}), 200) == [created]
    queued = data_of(client.balances.get(created["balance_id"], {"with_queued": True}), 200)
    assert (queued["queued_debit_balance"], queued["queued_credit_balance"]) == (0, 0)
    error_of(client.balances.get(f"bln_{UNKNOWN}"), 404, "BAL_NOT_FOUND")
    error_of(client.balances.create({"ledger_id": f"ldg_{UNKNOWN}", "currency": "USD"}), 400, "GEN_BAD_REQUEST")


def test_a_balance_is_read_as_it_was_and_snapshots_are_asked_for(client: Client) -> None:
    balance = client.new_balance()
    backdated = {"allow_overdraft": True, "effective_date": "2020-06-01T12:00:00Z"}
    client.done(new_name("World"), balance, 70, **backdated)
    sums = {"balance": 70, "credit_balance": 70, "debit_balance": 0, "currency": "USD", "balance_id": balance}
    asked_for = "Snapshotting in progress. should be completed shortly"
    assert data_of(client.balances.create_snapshot({"batch_size": 10}), 200) == {"message": asked_for}
    assert data_of(client.balances.create_snapshot(), 200) == {"message": asked_for}
    for from_source in (False, True):
        asked = {"timestamp": "2021-01-01T00:00:00Z", "from_source": from_source}
        assert data_of(client.balances.get_at(balance, asked), 200) == {"balance": sums, **asked}
    early = {"timestamp": "2020-01-01T00:00:00Z", "from_source": False}
    nothing = {**sums, "balance": 0, "credit_balance": 0}
    assert data_of(client.balances.get_at(balance, early), 200) == {"balance": nothing, **early}
    stored = data_of(client.balances.get(balance), 200)
    assert data_of(client.balances.get(balance, {"from_source": True}), 200) == stored


def test_an_internal_balance_is_found_by_its_name(client: Client) -> None:
    name = new_name("Fees")
    error_of(client.balances.get_by_indicator(name, "USD"), 404, "BAL_NOT_FOUND")
    asked = CreateLedgerBalance(ledger_id="general_ledger_id", currency="USD", indicator=name)
    created = data_of(client.balances.create(asked), 201)
    assert data_of(client.balances.get_by_indicator(name, "USD"), 200) == created
    error_of(client.balances.create(asked), 409, "GEN_CONFLICT")
    client.done("@World", name, 5, allow_overdraft=True)
    assert data_of(client.balances.get_by_indicator(name, "USD"), 200)["balance"] == 5


# The rest of the client


def test_a_recovery_says_what_it_did(client: Client) -> None:
    client.done("@World", client.new_balance(), 1, allow_overdraft=True)
    answer = data_of(client.transactions.recover_queue(RecoverQueueRequest(threshold="5m")), 200)
    assert answer == {"recovered": 0, "threshold": "5m0s"}
    assert data_of(client.transactions.recover_queue(), 200)["threshold"] == "2m0s"


def test_a_balance_is_recomputed_from_its_history(client: Client) -> None:
    customer = client.new_balance()
    client.done("@World", customer, 7, allow_overdraft=True)
    options = GetBalanceRequest(from_source=True, with_queued=True)
    assert data_of(client.balances.get(customer, options), 200)["balance"] == 7


@pytest.mark.parametrize("thing", ["transaction", "batch", "ledger", "balance"])
def test_metadata_is_merged(client: Client, thing: str) -> None:
    ledger = data_of(client.ledgers.create(CreateLedger(name="L", meta_data={"a": 1})), 201)["ledger_id"]
    asked = CreateLedgerBalance(ledger_id=ledger, currency="USD", meta_data={"a": 1})
    balance = data_of(client.balances.create(asked), 201)["balance_id"]
    items = new_items(balance, 1, meta_data={"a": 1})
    batch = data_of(client.transactions.create_bulk(BulkTransactions(transactions=items)), 201)["batch_id"]
    transaction = data_of(client.transactions.get_by_reference(items[0].reference), 200)["transaction_id"]
    id = {"transaction": transaction, "batch": batch, "ledger": ledger, "balance": balance}[thing]
    answer = data_of(client.metadata.update(id, UpdateMetadataData(meta_data={"b": 2})), 200)
    assert answer["meta_data"]["b"] == 2
    read = {"ledger": client.ledgers.get, "balance": client.balances.get}.get(thing, client.transactions.get)
    found = data_of(read(transaction if thing == "batch" else id), 200)
    assert found["meta_data"] == {"a": 1, "b": 2}


@pytest.mark.parametrize("collection", ["transactions", "balances", "ledgers"])
def test_lists_are_filtered(client: Client, collection: str) -> None:
    ledger = data_of(client.ledgers.create({"name": "L"}), 201)["ledger_id"]
    balance = data_of(client.balances.create({"ledger_id": ledger, "currency": "USD"}), 201)["balance_id"]
    transaction = client.done("@World", balance, 1, allow_overdraft=True)["transaction_id"]
    key, id = {
        "transactions": ("transaction_id", transaction),
        "balances": ("balance_id", balance),
        "ledgers": ("ledger_id", ledger),
    }[collection]
    condition = FilterCondition(field=key, operator="eq", value=id)
    found = data_of(client.blnk.search.filter(FilterParams(filters=[condition]), collection), 200)
    assert [row[key] for row in found] == [id]
    counted = FilterParams(filters=[condition], include_count=True)
    assert data_of(client.blnk.search.filter(counted, collection), 200)["total_count"] == 1


@pytest.mark.parametrize("from_source", [True, False])
def test_a_balance_is_read_as_of_a_time(client: Client, from_source: bool) -> None:
    customer = client.new_balance()
    client.done("@World", customer, 5, allow_overdraft=True, effective_date="2020-01-01T00:00:00Z")
    client.done("@World", customer, 2, allow_overdraft=True)
    options = GetBalanceAtRequest(timestamp="2021-01-01T00:00:00Z", from_source=from_source)
    found = data_of(client.balances.get_at(customer, options), 200)
    assert (found["balance"]["balance"], found["balance"]["balance_id"]) == (5, customer)
    assert found["from_source"] is from_source


def test_a_snapshot_is_taken(client: Client) -> None:
    assert data_of(client.balances.create_snapshot({"batch_size": 100}), 200)["message"]


def test_a_balance_gets_an_identity(client: Client) -> None:
    answer = client.balances.update_identity(client.new_balance(), {"identity_id": f"idt_{UNKNOWN}"})
    assert (answer.status, answer.error is not None and answer.error.code) == (404, "IDT_NOT_FOUND")


def test_the_lineage_of_funds_is_read(client: Client) -> None:
    customer = client.new_balance()
    paid = client.done("@World", customer, 5, allow_overdraft=True)["transaction_id"]
    assert data_of(client.transactions.get_lineage(paid), 200)["shadow_transactions"] == []
    error_of(client.balances.get_lineage(customer), 400, "GEN_BAD_REQUEST")


def test_every_method_of_the_client_is_called_here() -> None:
    here = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    for name, service in (
        ("transactions", transactions.Transactions),
        ("balances", ledger_balances.LedgerBalances),
        ("ledgers", ledgers.Ledgers),
        ("metadata", metadata.Metadata),
    ):
        methods = [method for method in vars(service) if not method.startswith("_")]
        assert methods
        assert [method for method in methods if f"client.{name}.{method}(" not in here] == []
