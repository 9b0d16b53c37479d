"""Blnk's own Python client, unchanged, against the whole service."""

import itertools
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import blnk_sdk
import pytest
from blnk_sdk.services import ledger_balances, ledgers, metadata, transactions
from blnk_sdk.types.ledger import CreateLedger
from blnk_sdk.types.ledger_balances import CreateLedgerBalance, GetBalanceAtRequest, GetBalanceRequest
from blnk_sdk.types.list_options import ListOptions
from blnk_sdk.types.metadata import UpdateMetadataData
from blnk_sdk.types.search import FilterCondition, FilterParams
from blnk_sdk.types.transactions import (
    BulkCommitInflightItem,
    BulkCommitInflightRequest,
    BulkTransactionPreview,
    BulkTransactions,
    BulkVoidInflightRequest,
    CreateTransactions,
    MultipleSourcesT,
    RecoverQueueRequest,
    RefundTransactionRequest,
    TransactionPreview,
    UpdateTransactionStatus,
)

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
        self.metadata = self.blnk.metadata

    def post(self, source: str | None, destination: str | None, amount: Any, **fields: Any) -> Any:
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

    def done(self, source: str | None, destination: str | None, amount: Any, **fields: Any) -> dict[str, Any]:
        """Posted through the queue, and polled until it is decided."""
        return self.poll(_data(self.post(source, destination, amount, **fields), 201)["transaction_id"])

    def poll(self, transaction_id: str, *, but: tuple[str, ...] = ("QUEUED",)) -> dict[str, Any]:
        """Until its status is none of these."""
        deadline = time.monotonic() + 30
        while True:
            found: dict[str, Any] = _data(self.transactions.get(transaction_id), 200)
            if found["status"] not in but:
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


# Splits


def _legs(*shares: tuple[str, str]) -> list[MultipleSourcesT]:
    return [MultipleSourcesT(identifier=id, distribution=share, narration="n") for id, share in shares]


def test_a_payment_is_split_among_several(client: Client) -> None:
    source, fee, shop, rest = (client.new_balance() for _ in range(4))
    client.done("@World", source, 3_000_000, allow_overdraft=True)
    legs = _legs((fee, "20%"), (shop, "10000"), (rest, "left"))
    split = client.done(source, None, 3_000_000, destinations=legs, atomic=True)
    assert (split["status"], split["precise_amount"]) == ("APPLIED", 3_000_000)
    assert [client.sums(id)[0] for id in (source, fee, shop, rest)] == [0, 600_000, 1_000_000, 1_400_000]
    for number, named in enumerate(split["destinations"], 1):
        leg = _data(client.transactions.get_by_reference(f"{split['reference']}_{number}"), 200)
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
    legs = _legs((first, "30%"), (second, "left"))
    split = client.done("@World", None, 100, destinations=legs, inflight=True, allow_overdraft=True)
    assert (split["status"], split["inflight"]) == ("INFLIGHT", True)
    update = UpdateTransactionStatus(status="commit", precise_amount=10, skip_queue=True)
    _data(client.transactions.update_status(split["transaction_id"], update), 200)
    assert (client.sums(first), client.sums(second)) == ((3, 27), (7, 63))
    _data(client.transactions.update_status(split["transaction_id"], {"status": "void"}), 200)
    assert client.poll(split["transaction_id"], but=("INFLIGHT",))["status"] == "APPLIED"
    assert (client.sums(first), client.sums(second)) == ((3, 0), (7, 0))


# Dates


def _in(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def test_a_scheduled_transaction_is_applied_when_it_is_due(client: Client) -> None:
    customer = client.new_balance()
    at = _in(3)
    scheduled = _data(client.post("@World", customer, 5, scheduled_for=at, allow_overdraft=True), 201)
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
    refund = _data(client.transactions.refund(paid["transaction_id"]), 201)
    assert (refund["status"], refund["parent_transaction"]) == ("QUEUED", paid["transaction_id"])
    assert refund["reference"] == f"{paid['transaction_id']}_refund"
    assert client.poll(refund["transaction_id"])["status"] == "APPLIED"
    assert client.sums(customer) == (0, 0)
    _error(client.transactions.refund(paid["transaction_id"]), 409, "TXN_ALREADY_REFUNDED")
    options = RefundTransactionRequest(skip_queue=True, description="after all", meta_data={"why": "mistake"})
    again = _data(client.transactions.refund(refund["transaction_id"], options), 201)
    assert (again["status"], again["description"]) == ("APPLIED", "after all")
    assert again["meta_data"] == {"order": 1, "why": "mistake"}
    assert client.sums(customer) == (500, 0)
    _error(client.transactions.refund(f"txn_{UNKNOWN}"), 404, "TXN_NOT_FOUND")


# Many holds at once


def _holds(client: Client, customer: str, *amounts: int) -> list[str]:
    posted = [client.done("@World", customer, n, inflight=True, allow_overdraft=True) for n in amounts]
    return [hold["transaction_id"] for hold in posted]


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
    answer = _data(client.transactions.bulk_commit_inflight(asked), 200)
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
    answer = _data(client.transactions.bulk_void_inflight(asked), 200)
    assert (answer["succeeded"], answer["failed"]) == (2, 0)
    assert {client.poll(hold, but=("INFLIGHT",))["status"] for hold in holds} == {"VOID"}
    again = _data(client.transactions.bulk_void_inflight(asked), 200)
    assert [one["code"] for one in again["results"]] == ["ALREADY_VOIDED"] * 2
    assert client.sums(customer) == (0, 0)


# Dry runs


def _preview(response: Any) -> TransactionPreview:
    preview = TransactionPreview.from_dict(_data(response, 200))
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
    split = _preview(client.post(customer, None, 100, destinations=_legs((shop, "left")), dry_run=True))
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
    items = _items(shop, 450, 100, source=customer, allow_overdraft=None)
    bulk = BulkTransactions(transactions=items, dry_run=True)
    preview = BulkTransactionPreview.from_dict(_data(client.transactions.create_bulk(bulk), 200))
    assert (preview.cumulative, preview.would_apply) == (True, False)
    assert [one.would_apply for one in preview.results] == [True, False]
    assert {one.balance_id: one.resulting_balance for one in preview.balances} == {customer: "50", shop: "450"}

    hold = client.done(customer, shop, 60, inflight=True)["transaction_id"]
    commit = BulkCommitInflightRequest(transactions=[BulkCommitInflightItem(transaction_id=hold)], dry_run=True)
    void = BulkVoidInflightRequest(transaction_ids=[hold, hold], dry_run=True)
    committed = _data(client.transactions.bulk_commit_inflight(commit), 200)
    voided = BulkTransactionPreview.from_dict(_data(client.transactions.bulk_void_inflight(void), 200))
    (one,) = BulkTransactionPreview.from_dict(committed).results
    assert (one.operation, one.status, one.precise_amount) == ("commit", "APPLIED", "60")
    assert [one.operation for one in voided.results] == ["void", "void"]
    assert "appears more than once" in voided.notes[0]
    assert client.sums(customer) == (500, -60)


# The rest of the client


def test_a_recovery_says_what_it_did(client: Client) -> None:
    client.done("@World", client.new_balance(), 1, allow_overdraft=True)
    answer = _data(client.transactions.recover_queue(RecoverQueueRequest(threshold="5m")), 200)
    assert answer == {"recovered": 0, "threshold": "5m0s"}
    assert _data(client.transactions.recover_queue(), 200)["threshold"] == "2m0s"


def test_a_balance_is_recomputed_from_its_history(client: Client) -> None:
    customer = client.new_balance()
    client.done("@World", customer, 7, allow_overdraft=True)
    options = GetBalanceRequest(from_source=True, with_queued=True)
    assert _data(client.balances.get(customer, options), 200)["balance"] == 7


@pytest.mark.parametrize("thing", ["transaction", "batch", "ledger", "balance"])
def test_metadata_is_merged(client: Client, thing: str) -> None:
    ledger = _data(client.ledgers.create(CreateLedger(name="L", meta_data={"a": 1})), 201)["ledger_id"]
    asked = CreateLedgerBalance(ledger_id=ledger, currency="USD", meta_data={"a": 1})
    balance = _data(client.balances.create(asked), 201)["balance_id"]
    items = _items(balance, 1, meta_data={"a": 1})
    batch = _data(client.transactions.create_bulk(BulkTransactions(transactions=items)), 201)["batch_id"]
    transaction = _data(client.transactions.get_by_reference(items[0].reference), 200)["transaction_id"]
    id = {"transaction": transaction, "batch": batch, "ledger": ledger, "balance": balance}[thing]
    answer = _data(client.metadata.update(id, UpdateMetadataData(meta_data={"b": 2})), 200)
    assert answer["meta_data"]["b"] == 2
    read = {"ledger": client.ledgers.get, "balance": client.balances.get}.get(thing, client.transactions.get)
    found = _data(read(transaction if thing == "batch" else id), 200)
    assert found["meta_data"] == {"a": 1, "b": 2}


@pytest.mark.parametrize("collection", ["transactions", "balances", "ledgers"])
def test_lists_are_filtered(client: Client, collection: str) -> None:
    ledger = _data(client.ledgers.create({"name": "L"}), 201)["ledger_id"]
    balance = _data(client.balances.create({"ledger_id": ledger, "currency": "USD"}), 201)["balance_id"]
    transaction = client.done("@World", balance, 1, allow_overdraft=True)["transaction_id"]
    key, id = {
        "transactions": ("transaction_id", transaction),
        "balances": ("balance_id", balance),
        "ledgers": ("ledger_id", ledger),
    }[collection]
    condition = FilterCondition(field=key, operator="eq", value=id)
    found = _data(client.blnk.search.filter(FilterParams(filters=[condition]), collection), 200)
    assert [row[key] for row in found] == [id]
    counted = FilterParams(filters=[condition], include_count=True)
    assert _data(client.blnk.search.filter(counted, collection), 200)["total_count"] == 1


@pytest.mark.parametrize("from_source", [True, False])
def test_a_balance_is_read_as_of_a_time(client: Client, from_source: bool) -> None:
    customer = client.new_balance()
    client.done("@World", customer, 5, allow_overdraft=True, effective_date="2020-01-01T00:00:00Z")
    client.done("@World", customer, 2, allow_overdraft=True)
    options = GetBalanceAtRequest(timestamp="2021-01-01T00:00:00Z", from_source=from_source)
    found = _data(client.balances.get_at(customer, options), 200)
    assert (found["balance"]["balance"], found["balance"]["balance_id"]) == (5, customer)
    assert found["from_source"] is from_source


def test_a_snapshot_is_taken(client: Client) -> None:
    assert _data(client.balances.create_snapshot({"batch_size": 100}), 200)["message"]


def test_a_balance_gets_an_identity(client: Client) -> None:
    answer = client.balances.update_identity(client.new_balance(), {"identity_id": f"idt_{UNKNOWN}"})
    assert (answer.status, answer.error is not None and answer.error.code) == (404, "IDT_NOT_FOUND")


def test_the_lineage_of_funds_is_read(client: Client) -> None:
    customer = client.new_balance()
    paid = client.done("@World", customer, 5, allow_overdraft=True)["transaction_id"]
    assert _data(client.transactions.get_lineage(paid), 200)["shadow_transactions"] == []
    _error(client.balances.get_lineage(customer), 400, "GEN_BAD_REQUEST")


def test_every_method_of_the_client_is_called_here() -> None:
    with open(__file__) as file:
        here = file.read()
    for name, service in (
        ("transactions", transactions.Transactions),
        ("balances", ledger_balances.LedgerBalances),
        ("ledgers", ledgers.Ledgers),
        ("metadata", metadata.Metadata),
    ):
        methods = [method for method in vars(service) if not method.startswith("_")]
        assert methods
        assert [method for method in methods if f"client.{name}.{method}(" not in here] == []


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
