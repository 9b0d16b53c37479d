"""Blnk's own Python client, unchanged, against the whole service."""

import itertools
import time
import uuid
from collections.abc import Iterator
from typing import Any

import blnk_sdk
import pytest
from blnk_sdk.types.ledger import CreateLedger
from blnk_sdk.types.ledger_balances import CreateLedgerBalance
from blnk_sdk.types.list_options import ListOptions
from blnk_sdk.types.transactions import BulkTransactions, CreateTransactions, UpdateTransactionStatus

_numbers = itertools.count(1)
UNKNOWN = "00000000-0000-0000-0000-000000000000"


class _Silent:
    """Its own logger prints."""

    def info(self, message: str, *meta: Any) -> None: ...

    error = debug = info


class Client:
    """The client, and what these tests do with it again and again."""

    def __init__(self, url: str) -> None:
        options = blnk_sdk.BlnkClientOptions(base_url=url, timeout=30_000, logger=_Silent())
        self.blnk = blnk_sdk.blnk_init("", options)
        self.transactions = self.blnk.transactions
        self.balances = self.blnk.ledger_balances
        self.ledgers = self.blnk.ledgers

    def post(self, source: str, destination: str, amount: Any, **fields: Any) -> Any:
        given = {
            "precise_amount": amount,
            "precision": 100,
            "reference": _reference(),
            "description": "a test",
            "currency": "USD",
            "source": source,
            "destination": destination,
        }
        return self.transactions.create(CreateTransactions(**{**given, **fields}))

    def done(self, source: str, destination: str, amount: Any, **fields: Any) -> dict[str, Any]:
        """Posted through the queue, and polled until it is decided."""
        return self.poll(_data(self.post(source, destination, amount, **fields), 201)["transaction_id"])

    def poll(self, transaction_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + 30
        while True:
            found: dict[str, Any] = _data(self.transactions.get(transaction_id), 200)
            if found["status"] != "QUEUED":
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.02)

    def new_balance(self, currency: str = "USD") -> str:
        asked = CreateLedgerBalance(ledger_id="general_ledger_id", currency=currency)
        balance_id: str = _data(self.balances.create(asked), 201)["balance_id"]
        return balance_id

    def sums(self, balance_id: str) -> tuple[int, int]:
        """Balance and inflight balance."""
        found = _data(self.balances.get(balance_id), 200)
        return found["balance"], found["inflight_balance"]


def _data(response: Any, status: int) -> Any:
    assert response.status == status, (response.message, response.data)
    assert response.error is None
    return response.data


def _error(response: Any, status: int, code: str) -> str:
    assert (response.status, response.error.code) == (status, code)
    message: str = response.message
    return message


def _reference() -> str:
    return f"{next(_numbers)}/{uuid.uuid4()}"


def _name(name: str) -> str:
    return f"@{name}-{uuid.uuid4()}"


@pytest.fixture
def client(service: str) -> Iterator[Client]:
    client = Client(service)
    with client.blnk:
        yield client


# Ledgers and balances


def test_ledgers_are_created_read_listed_and_renamed(client: Client) -> None:
    created = _data(client.ledgers.create(CreateLedger(name="Customers", meta_data={"region": "EU"})), 201)
    assert created["ledger_id"].startswith("ldg_")
    assert (created["name"], created["meta_data"]) == ("Customers", {"region": "EU"})
    assert _data(client.ledgers.get(created["ledger_id"]), 200) == created
    assert _data(client.ledgers.list(ListOptions(limit=1)), 200) == [created]
    assert isinstance(_data(client.ledgers.get(""), 200), list)
    renamed = _data(client.ledgers.update(created["ledger_id"], {"name": "Clients"}), 200)
    assert renamed == {**created, "name": "Clients"}
    assert _error(client.ledgers.get(f"ldg_{UNKNOWN}"), 404, "LGR_NOT_FOUND") == "Ledger not found"


def test_balances_are_created_read_and_listed(client: Client) -> None:
    ledger = _data(client.ledgers.create({"name": "L"}), 201)["ledger_id"]
    asked = CreateLedgerBalance(ledger_id=ledger, currency="USD", meta_data={"customer": 7})
    created = _data(client.balances.create(asked), 201)
    assert created["balance_id"].startswith("bln_")
    assert (created["ledger_id"], created["currency"], created["meta_data"]) == (ledger, "USD", {"customer": 7})
    assert (created["balance"], created["inflight_balance"], created["indicator"]) == (0, 0, "")
    assert _data(client.balances.get(created["balance_id"]), 200) == created
    assert _data(client.balances.list({"limit": 1}), 200) == [created]
    queued = _data(client.balances.get(created["balance_id"], {"with_queued": True}), 200)
    assert (queued["queued_debit_balance"], queued["queued_credit_balance"]) == (0, 0)
    _error(client.balances.get(f"bln_{UNKNOWN}"), 404, "BAL_NOT_FOUND")
    _error(client.balances.create({"ledger_id": f"ldg_{UNKNOWN}", "currency": "USD"}), 400, "GEN_BAD_REQUEST")


def test_a_balance_is_read_as_it_was_and_snapshots_are_asked_for(client: Client) -> None:
    balance = client.new_balance()
    backdated = {"allow_overdraft": True, "effective_date": "2020-06-01T12:00:00Z"}
    client.done(_name("World"), balance, 70, **backdated)
    sums = {"balance": 70, "credit_balance": 70, "debit_balance": 0, "currency": "USD", "balance_id": balance}
    asked_for = "Snapshotting in progress. should be completed shortly"
    assert _data(client.balances.create_snapshot({"batch_size": 10}), 200) == {"message": asked_for}
    assert _data(client.balances.create_snapshot(), 200) == {"message": asked_for}
    for from_source in (False, True):
        asked = {"timestamp": "2021-01-01T00:00:00Z", "from_source": from_source}
        assert _data(client.balances.get_at(balance, asked), 200) == {"balance": sums, **asked}
    too_early = {"timestamp": "2020-01-01T00:00:00Z"}
    _error(client.balances.get_at(balance, too_early), 404, "BAL_HISTORY_NOT_FOUND")
    stored = _data(client.balances.get(balance), 200)
    assert _data(client.balances.get(balance, {"from_source": True}), 200) == stored


def test_an_internal_balance_is_found_by_its_name(client: Client) -> None:
    name = _name("Fees")
    _error(client.balances.get_by_indicator(name, "USD"), 404, "BAL_NOT_FOUND")
    asked = CreateLedgerBalance(ledger_id="general_ledger_id", currency="USD", indicator=name)
    created = _data(client.balances.create(asked), 201)
    assert _data(client.balances.get_by_indicator(name, "USD"), 200) == created
    _error(client.balances.create(asked), 409, "GEN_CONFLICT")
    client.done("@World", name, 5, allow_overdraft=True)
    assert _data(client.balances.get_by_indicator(name, "USD"), 200)["balance"] == 5


# Transactions


def test_a_queued_transaction_is_polled_by_its_id_until_it_is_applied(client: Client) -> None:
    customer = client.new_balance()
    asked = CreateTransactions(
        amount=750.23,
        precision=100,
        reference=_reference(),
        description="Salary",
        currency="USD",
        source="@World",
        destination=customer,
        allow_overdraft=True,
        meta_data={"month": "2026-11"},
        effective_date="2026-11-01T00:00:00Z",
        rate=1,
    )
    created = _data(client.transactions.create(asked), 201)
    assert (created["status"], created["precise_amount"], created["amount"]) == ("QUEUED", 75023, 750.23)
    applied = client.poll(created["transaction_id"])
    assert applied["status"] == "APPLIED"
    assert (applied["reference"], applied["meta_data"]) == (asked.reference, {"month": "2026-11"})
    assert applied["effective_date"] == "2026-11-01T00:00:00Z"
    assert client.sums(customer) == (75023, 0)
    for reference in (asked.reference, f"{asked.reference}_q"):
        assert _data(client.transactions.get_by_reference(reference), 200) == applied
    assert _data(client.transactions.list({"limit": 1}), 200)[0]["transaction_id"] == created["transaction_id"]
    _error(client.transactions.get(f"txn_{UNKNOWN}"), 404, "TXN_NOT_FOUND")
    _error(client.transactions.get_by_reference("nothing"), 404, "TXN_NOT_FOUND")


@pytest.mark.parametrize("precise", [189207535698279123, "189207535698279123", 10**40 + 1, "7"])
def test_a_precise_amount_is_exact_as_number_and_as_text(client: Client, precise: int | str) -> None:
    customer = client.new_balance()
    applied = client.done("@World", customer, precise, allow_overdraft=True)
    assert (applied["status"], applied["precise_amount"]) == ("APPLIED", int(precise))
    assert client.sums(customer) == (int(precise), 0)


def test_a_repeated_create_is_one_transaction(client: Client) -> None:
    customer, reference = client.new_balance(), _reference()
    first = _data(client.post("@World", customer, 9, reference=reference, allow_overdraft=True), 201)
    client.poll(first["transaction_id"])
    again = _data(client.post("@World", customer, 9, reference=reference, allow_overdraft=True), 200)
    assert again["transaction_id"] == first["transaction_id"]
    other = client.post("@World", customer, 10, reference=reference, allow_overdraft=True)
    assert "has already been used" in _error(other, 409, "TXN_DUPLICATE_REFERENCE")
    assert client.sums(customer) == (9, 0)


def test_what_cannot_be_paid_is_rejected_and_says_why(client: Client) -> None:
    poor, shop = client.new_balance(), client.new_balance()
    rejected = client.done(poor, shop, 100)
    assert rejected["status"] == "REJECTED"
    assert rejected["meta_data"]["blnk_rejection_reason"] == "insufficient funds in source balance"
    assert rejected["rejection"]["short_by"] == 100
    message = _error(client.post(poor, shop, 100, skip_queue=True), 400, "TXN_INSUFFICIENT_FUNDS")
    assert "insufficient funds" in message
    _error(client.post(poor, f"bln_{UNKNOWN}", 100), 404, "BAL_NOT_FOUND")
    assert client.sums(poor) == client.sums(shop) == (0, 0)


# Holds


def test_a_hold_is_committed_in_parts_and_the_rest_is_voided(client: Client) -> None:
    customer, shop = client.new_balance(), client.new_balance()
    client.done("@World", customer, 20000, allow_overdraft=True)
    hold = client.done(customer, shop, 10000, inflight=True)
    assert (hold["status"], hold["inflight"]) == ("INFLIGHT", True)
    assert (client.sums(customer), client.sums(shop)) == ((20000, -10000), (0, 10000))

    update = UpdateTransactionStatus(status="commit", amount=25.5, skip_queue=True)
    part = _data(client.transactions.update_status(hold["transaction_id"], update), 200)
    assert (part["status"], part["precise_amount"]) == ("APPLIED", 2550)
    assert part["parent_transaction"] == hold["transaction_id"]
    update = UpdateTransactionStatus(status="commit", precise_amount="1450")
    queued = _data(client.transactions.update_status(hold["transaction_id"], update), 200)
    assert (queued["queued"], queued["transaction_id"]) == (True, hold["transaction_id"])
    assert client.poll(queued["child_transaction"])["precise_amount"] == 1450
    assert (client.sums(customer), client.sums(shop)) == ((16000, -6000), (4000, 6000))

    too_much = {"status": "commit", "precise_amount": 6001}
    _error(client.transactions.update_status(hold["transaction_id"], too_much), 400, "TXN_COMMIT_AMOUNT_EXCEEDED")
    void = {"status": "void", "skip_queue": True}
    voided = _data(client.transactions.update_status(hold["transaction_id"], void), 200)
    assert (voided["status"], voided["precise_amount"]) == ("VOID", 6000)
    assert (client.sums(customer), client.sums(shop)) == ((16000, 0), (4000, 0))
    again = client.transactions.update_status(hold["transaction_id"], {"status": "void"})
    _error(again, 409, "TXN_ALREADY_VOIDED")


def test_a_hold_is_committed_whole(client: Client) -> None:
    customer = client.new_balance()
    hold = client.done("@World", customer, 700, inflight=True, allow_overdraft=True)
    update = UpdateTransactionStatus(status="commit", meta_data={"sent": "by the client's type"})
    queued = _data(client.transactions.update_status(hold["transaction_id"], update), 200)
    assert client.poll(queued["child_transaction"])["status"] == "APPLIED"
    assert client.poll(hold["transaction_id"])["status"] == "APPLIED"
    assert client.sums(customer) == (700, 0)


# Bulks


def _items(destination: str, *amounts: int, **fields: Any) -> list[CreateTransactions]:
    given = {"precision": 100, "description": "bulk", "currency": "USD", "source": "@World", "allow_overdraft": True}
    return [
        CreateTransactions(**{**given, **fields}, destination=destination, precise_amount=n, reference=_reference())
        for n in amounts
    ]


@pytest.mark.parametrize("flags", [{}, {"skip_queue": True}, {"atomic": True}, {"run_async": True}], ids=str)
def test_a_bulk_is_applied(client: Client, flags: dict[str, bool]) -> None:
    customer = client.new_balance()
    items = _items(customer, 1, 2, 4)
    answer = _data(
        client.transactions.create_bulk(BulkTransactions(transactions=items, **flags)),
        202 if "run_async" in flags else 201,
    )
    assert answer["batch_id"].startswith("bulk_")
    assert answer["transaction_count"] == 3
    status = "applied" if "skip_queue" in flags else "processing" if "run_async" in flags else "queued"
    assert answer["status"] == status
    for item in items:
        found = _data(client.transactions.get_by_reference(item.reference), 200)
        assert client.poll(found["transaction_id"])["status"] == "APPLIED"
        assert found["parent_transaction"] == answer["batch_id"]
    assert client.sums(customer) == (7, 0)


def test_a_bulk_of_holds_is_inflight(client: Client) -> None:
    customer = client.new_balance()
    bulk = BulkTransactions(transactions=_items(customer, 1, 2), inflight=True, skip_queue=True)
    assert _data(client.transactions.create_bulk(bulk), 201)["status"] == "inflight"
    assert client.sums(customer) == (0, 3)


@pytest.mark.parametrize("skip_queue", [True, False])
def test_an_atomic_bulk_is_applied_whole_or_not_at_all(client: Client, skip_queue: bool) -> None:
    customer = client.new_balance()
    items = [*_items(customer, 1), *_items(customer, 2, source=client.new_balance(), allow_overdraft=None)]
    response = client.transactions.create_bulk(BulkTransactions(transactions=items, atomic=True, skip_queue=skip_queue))
    if skip_queue:
        _error(response, 400, "TXN_INSUFFICIENT_FUNDS")
        assert response.data["batch_id"].startswith("bulk_")
    else:
        _data(response, 201)
    for item in items:
        found = _data(client.transactions.get_by_reference(item.reference), 200)
        assert client.poll(found["transaction_id"])["status"] == "REJECTED"
    assert client.sums(customer) == (0, 0)


# The world outside


@pytest.mark.parametrize(
    ("scenario", "outwards"),
    [("send to a bank", True), ("receive from a bank", False), ("pay by card", True), ("get a refund", False)],
)
def test_money_leaves_to_the_world_and_comes_from_it(client: Client, scenario: str, outwards: bool) -> None:
    customer, world = client.new_balance(), _name("World")
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
    found = _data(client.balances.get_by_indicator(world, "USD"), 200)
    assert found["balance"] == -10000 - moved
    assert found["balance"] == found["credit_balance"] - found["debit_balance"]
