"""Transactions: create, read, wait, commit and void holds, refund, cancel, list."""

import time
from collections.abc import Iterator
from typing import Any

from msgspec.structs import asdict, replace

from pacioli_client.answers.transactions import Batch, BatchAccepted, Transaction
from pacioli_client.requests import NewBatch, NewTransaction, Refund, Settlement
from pacioli_client.wire import Request, Wire, escaped, new_reference, seconds

ONE_WAIT_S = 20.0
"""A long wait is made of requests that each wait at most so long."""

WHOLE = Settlement()
ALL = Refund()


class Transactions:
    """The requests of ``/transactions``."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def create(self, asked: NewTransaction, *, wait_s: float = 0.0) -> Transaction:
        """Create a transaction. With ``wait_s``, wait so long for its decision.

        A repeated reference returns the first transaction, so the request is repeated when its answer is lost.
        """
        asked = _named(asked)
        request = Request("POST", "/transactions", asked, params={"wait": seconds(wait_s)}, wait_s=wait_s)
        return self._wire.ask(Transaction, request)

    def dry_run(self, asked: NewTransaction) -> dict[str, Any]:
        """Return what a transaction would do to the balances as they are now. Nothing is kept."""
        return self._wire.ask(dict[str, Any], Request("POST", "/transactions", {**_sent(asked), "dry_run": True}))

    def create_batch(self, asked: NewBatch) -> BatchAccepted:
        """Create up to 10,000 transactions together. If one of them is invalid, none is accepted."""
        asked = replace(asked, transactions=[_named(each) for each in asked.transactions])
        return self._wire.ask(BatchAccepted, Request("POST", "/transactions/bulk", asked, wait_s=60))

    def read(self, transaction_id: str, *, wait_s: float = 0.0) -> Transaction:
        """Return a transaction by its id. With ``wait_s``, wait so long for its decision."""
        return self._wire.ask(Transaction, _read(transaction_id, wait_s))

    def read_batch(self, batch_id: str, *, wait_s: float = 0.0) -> Batch:
        """Return how many transactions of a batch have which status. With ``wait_s``, wait so long for all decisions."""
        return self._wire.ask(Batch, _read(batch_id, wait_s))

    def by_reference(self, reference: str) -> Transaction:
        """Return a transaction by your reference."""
        return self._wire.ask(Transaction, Request("GET", f"/transactions/reference/{escaped(reference)}"))

    def wait(self, transaction_id: str, *, timeout_s: float = 60.0) -> Transaction:
        """Wait until a transaction is decided, and return it. After ``timeout_s`` it is returned as it is, perhaps QUEUED."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = self.read(transaction_id, wait_s=min(ONE_WAIT_S, max(0.0, deadline - time.monotonic())))
            if found.status != "QUEUED" or time.monotonic() >= deadline:
                return found
            time.sleep(0.05)  # The service answers at once when too many clients wait already.

    def commit_inflight(self, transaction_id: str, asked: Settlement = WHOLE, *, wait_s: float = 0.0) -> Transaction:
        """Commit a hold, whole or in part."""
        return self._wire.ask(Transaction, _settle(transaction_id, "commit", asked, wait_s))

    def void_inflight(self, transaction_id: str, asked: Settlement = WHOLE, *, wait_s: float = 0.0) -> Transaction:
        """Void what is left of a hold."""
        return self._wire.ask(Transaction, _settle(transaction_id, "void", asked, wait_s))

    def commit_batch_inflight(self, batch_id: str, asked: Settlement = WHOLE, *, wait_s: float = 0.0) -> Batch:
        """Commit all holds of a batch."""
        return self._wire.ask(Batch, _settle(batch_id, "commit", asked, wait_s))

    def void_batch_inflight(self, batch_id: str, asked: Settlement = WHOLE, *, wait_s: float = 0.0) -> Batch:
        """Void what is left of all holds of a batch."""
        return self._wire.ask(Batch, _settle(batch_id, "void", asked, wait_s))

    def refund(self, transaction_id: str, asked: Refund = ALL, *, wait_s: float = 0.0) -> Transaction:
        """Refund a transaction, whole or in part.

        When the answer is lost, the request is repeated if the refund has a reference. A partial refund always has one.
        """
        if asked.reference is None and (asked.amount is not None or asked.precise_amount is not None):
            asked = replace(asked, reference=new_reference())
        # A second refund of the whole is answered with a conflict instead of the first refund, though it moves nothing.
        request = Request(
            "POST",
            f"/refund-transaction/{escaped(transaction_id)}",
            asked,
            params={"wait": seconds(wait_s)},
            safe=asked.reference is not None,
            wait_s=wait_s,
        )
        return self._wire.ask(Transaction, request)

    def cancel(self, transaction_id: str) -> Transaction:
        """Cancel a transaction that waits for its date."""
        return self._wire.ask(Transaction, Request("DELETE", f"/transactions/{escaped(transaction_id)}"))

    def list(self, *, limit: int = 100, **filters: Any) -> Iterator[Transaction]:
        """Iterate over the transactions that match, newest first; ``sort_order="asc"`` gives the order of acceptance.

        A filter is ``field_operator=value``, such as ``status_eq="QUEUED"``. Each request fetches ``limit`` transactions.
        """
        return self._wire.rows(Transaction, "/transactions", {"limit": limit, **filters})


def _named(asked: NewTransaction) -> NewTransaction:
    return asked if asked.reference is not None else replace(asked, reference=new_reference())


def _sent(asked: NewTransaction) -> dict[str, Any]:
    return {name: value for name, value in asdict(asked).items() if value is not None}


def _read(name: str, wait_s: float) -> Request:
    return Request("GET", f"/transactions/{escaped(name)}", params={"wait": seconds(wait_s)}, wait_s=wait_s)


def _settle(name: str, status: str, asked: Settlement, wait_s: float) -> Request:
    if asked.reference is None:
        asked = replace(asked, reference=new_reference())
    body = {"status": status} | {field: value for field, value in asdict(asked).items() if value is not None}
    params = {"wait": seconds(wait_s)}
    return Request("PUT", f"/transactions/inflight/{escaped(name)}", body, params=params, wait_s=wait_s)
