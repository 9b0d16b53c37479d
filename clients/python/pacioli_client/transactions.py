"""Transactions: create, read, wait, commit and void holds, refund, cancel, list."""

import time
from typing import Any

from msgspec.structs import asdict, replace

from pacioli_client.answers.transactions import Batch, BatchAccepted, Transaction
from pacioli_client.calls import Listed, Resource, W, call, listing
from pacioli_client.errors import NotApplied
from pacioli_client.requests import NewBatch, NewTransaction, Refund, Settlement
from pacioli_client.wire import AGAIN_S, ONE_WAIT_S, Pause, Plan, Request, ask, escaped, new_reference, seconds

WHOLE = Settlement()
ALL = Refund()


class Transactions(Resource[W]):
    """The requests of ``/transactions``."""

    @call
    def create(self, asked: NewTransaction, *, wait_s: float = 0.0) -> Plan[Transaction]:
        """Create a transaction. With ``wait_s``, wait so long for its decision.

        A repeated reference returns the first transaction, so the request is repeated when its answer is lost.
        """
        asked = _named(asked)
        request = Request("POST", "/transactions", asked, params={"wait": seconds(wait_s)}, wait_s=wait_s)
        return ask(Transaction, request)

    @call
    def dry_run(self, asked: NewTransaction) -> Plan[dict[str, Any]]:
        """Return what a transaction would do to the balances as they are now. Nothing is kept."""
        return ask(dict[str, Any], Request("POST", "/transactions", {**_sent(asked), "dry_run": True}))

    @call
    def create_batch(self, asked: NewBatch) -> Plan[BatchAccepted]:
        """Create up to 10,000 transactions together. If one of them is invalid, none is accepted."""
        asked = replace(asked, transactions=[_named(each) for each in asked.transactions])
        return ask(BatchAccepted, Request("POST", "/transactions/bulk", asked, wait_s=60))

    @call
    def read(self, transaction_id: str, *, wait_s: float = 0.0) -> Plan[Transaction]:
        """Return a transaction by its id. With ``wait_s``, wait so long for its decision."""
        return ask(Transaction, _read(transaction_id, wait_s))

    @call
    def read_batch(self, batch_id: str, *, wait_s: float = 0.0) -> Plan[Batch]:
        """Return how many transactions of a batch have which status. With ``wait_s``, wait so long for all decisions."""
        return ask(Batch, _read(batch_id, wait_s))

    @call
    def by_reference(self, reference: str) -> Plan[Transaction]:
        """Return a transaction by your reference."""
        return ask(Transaction, Request("GET", f"/transactions/reference/{escaped(reference)}"))

    @call
    def wait(self, transaction_id: str, *, timeout_s: float = 60.0) -> Plan[Transaction]:
        """Wait until a transaction is decided, and return it. After ``timeout_s`` it is returned as it is, perhaps QUEUED."""
        return _decided(transaction_id, timeout_s)

    @call
    def wait_applied(self, transaction_id: str, *, timeout_s: float = 60.0) -> Plan[Transaction]:
        """Wait until a transaction is applied, or holds the money if it is inflight, and return it.

        Raises:
            NotApplied: it is rejected or void, or still waits after ``timeout_s``. The error has the transaction.
        """
        found = yield from _decided(transaction_id, timeout_s)
        if found.status not in ("APPLIED", "INFLIGHT"):
            raise NotApplied(
                found.transaction_id, found.status, found.rejection.message if found.rejection else "", found
            )
        return found

    @call
    def wait_batch(self, batch_id: str, *, timeout_s: float = 60.0) -> Plan[Batch]:
        """Wait until all transactions of a batch are decided, and return its counts, or those after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = yield from ask(Batch, _read(batch_id, _wait_s(deadline)))
            if found.decided == found.transaction_count or time.monotonic() >= deadline:
                return found
            yield Pause(AGAIN_S)

    @call
    def commit_inflight(
        self, transaction_id: str, asked: Settlement = WHOLE, *, wait_s: float = 0.0
    ) -> Plan[Transaction]:
        """Commit a hold, whole or in part."""
        return ask(Transaction, _settle(transaction_id, "commit", asked, wait_s))

    @call
    def void_inflight(
        self, transaction_id: str, asked: Settlement = WHOLE, *, wait_s: float = 0.0
    ) -> Plan[Transaction]:
        """Void what is left of a hold."""
        return ask(Transaction, _settle(transaction_id, "void", asked, wait_s))

    @call
    def commit_batch_inflight(self, batch_id: str, asked: Settlement = WHOLE, *, wait_s: float = 0.0) -> Plan[Batch]:
        """Commit all holds of a batch."""
        return ask(Batch, _settle(batch_id, "commit", asked, wait_s))

    @call
    def void_batch_inflight(self, batch_id: str, asked: Settlement = WHOLE, *, wait_s: float = 0.0) -> Plan[Batch]:
        """Void what is left of all holds of a batch."""
        return ask(Batch, _settle(batch_id, "void", asked, wait_s))

    @call
    def refund(self, transaction_id: str, asked: Refund = ALL, *, wait_s: float = 0.0) -> Plan[Transaction]:
        """Refund a transaction, whole or in part.

        A repeated request is answered as the first one was: a partial refund always has a reference, and one of the whole has an
        Idempotency-Key.
        """
        if asked.reference is None and (asked.amount is not None or asked.precise_amount is not None):
            asked = replace(asked, reference=new_reference())
        request = Request(
            "POST",
            f"/refund-transaction/{escaped(transaction_id)}",
            asked,
            params={"wait": seconds(wait_s)},
            wait_s=wait_s,
            idempotency_key=None if asked.reference is not None else new_reference(),
        )
        return ask(Transaction, request)

    @call
    def cancel(self, transaction_id: str) -> Plan[Transaction]:
        """Cancel a transaction that waits for its date."""
        return ask(Transaction, Request("DELETE", f"/transactions/{escaped(transaction_id)}"))

    @listing
    def list(self, /, *, limit: int = 100, **filters: Any) -> Listed[Transaction]:
        """Iterate over the transactions that match, newest first; ``sort_order="asc"`` gives the order of acceptance.

        A filter is ``field_operator=value``, such as ``status_eq="QUEUED"`` or ``reference_in=["a", "b"]``.
        Each request fetches ``limit`` transactions.
        """
        return Listed(Transaction, "/transactions", {"limit": limit, **filters})


def _decided(transaction_id: str, timeout_s: float) -> Plan[Transaction]:
    """Read a transaction until it is decided, or the time is over."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = yield from ask(Transaction, _read(transaction_id, _wait_s(deadline)))
        if found.status != "QUEUED" or time.monotonic() >= deadline:
            return found
        yield Pause(AGAIN_S)


def _wait_s(deadline: float) -> float:
    return min(ONE_WAIT_S, max(0.0, deadline - time.monotonic()))


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
