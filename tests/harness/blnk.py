"""Blnk's own Python client, unchanged, and the steps that tests repeat with it."""

import itertools
import time
import uuid
from typing import Any

import blnk_sdk
from blnk_sdk.types.ledger_balances import CreateLedgerBalance
from blnk_sdk.types.transactions import (
    CreateTransactions,
    MultipleSourcesT,
)

from tests.harness.keys import KEY

_numbers = itertools.count(1)
UNKNOWN = "00000000-0000-0000-0000-000000000000"


class _Silent:
    """A logger that prints nothing, in place of the client's own."""

    def info(self, message: str, *meta: Any) -> None: ...

    error = debug = info


class Client:
    """The client, with methods for the steps that tests repeat."""

    def __init__(self, url: str, key: str = KEY) -> None:
        options = blnk_sdk.BlnkClientOptions(base_url=url, timeout=30_000, logger=_Silent())
        self.blnk = blnk_sdk.blnk_init(key, options)
        self.transactions = self.blnk.transactions
        self.balances = self.blnk.ledger_balances
        self.ledgers = self.blnk.ledgers
        self.metadata = self.blnk.metadata
        self.keys = self.blnk.api_keys

    def post(self, source: str | None, destination: str | None, amount: Any, **fields: Any) -> Any:
        given = {
            "precise_amount": amount,
            "precision": 100,
            "reference": new_reference(),
            "description": "a test",
            "currency": "USD",
            "source": source,
            "destination": destination,
        }
        return self.transactions.create(CreateTransactions(**{**given, **fields}))

    def done(self, source: str | None, destination: str | None, amount: Any, **fields: Any) -> dict[str, Any]:
        """Post through the queue, and poll until it is decided."""
        return self.poll(data_of(self.post(source, destination, amount, **fields), 201)["transaction_id"])

    def poll(self, transaction_id: str, *, but: tuple[str, ...] = ("QUEUED",)) -> dict[str, Any]:
        """Read the transaction until its status is none of these."""
        deadline = time.monotonic() + 30
        while True:
            found: dict[str, Any] = data_of(self.transactions.get(transaction_id), 200)
            if found["status"] not in but:
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.02)

    def new_balance(self, currency: str = "USD") -> str:
        asked = CreateLedgerBalance(ledger_id="general_ledger_id", currency=currency)
        balance_id: str = data_of(self.balances.create(asked), 201)["balance_id"]
        return balance_id

    def sums(self, balance_id: str) -> tuple[int, int]:
        """Balance and inflight balance."""
        found = data_of(self.balances.get(balance_id), 200)
        return found["balance"], found["inflight_balance"]


def data_of(response: Any, status: int) -> Any:
    assert response.status == status, (response.message, response.data)
    assert response.error is None
    return response.data


def error_of(response: Any, status: int, code: str) -> str:
    assert (response.status, response.error.code) == (status, code)
    message: str = response.message
    return message


def new_reference() -> str:
    return f"{next(_numbers)}/{uuid.uuid4()}"


def new_name(name: str) -> str:
    return f"@{name}-{uuid.uuid4()}"


def new_items(destination: str, *amounts: int, **fields: Any) -> list[CreateTransactions]:
    given = {"precision": 100, "description": "bulk", "currency": "USD", "source": "@World", "allow_overdraft": True}
    return [
        CreateTransactions(**{**given, **fields}, destination=destination, precise_amount=n, reference=new_reference())
        for n in amounts
    ]


def new_legs(*shares: tuple[str, str]) -> list[MultipleSourcesT]:
    return [MultipleSourcesT(identifier=id, distribution=share, narration="n") for id, share in shares]
