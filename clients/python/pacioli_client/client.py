"""The client of a service. It has one attribute for each resource, and methods for the whole service."""

import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from pacioli_client.answers.service import Health, Parts, Queue, Verification
from pacioli_client.audit import Audit
from pacioli_client.balances import Balances
from pacioli_client.funding import Funding
from pacioli_client.ledgers import Ledgers
from pacioli_client.transactions import Transactions
from pacioli_client.wire import Request, Wire, decoded, escaped


class Client:
    """A client of the service at an address. Close it, or use it in a ``with``.

    Every method raises a ``PacioliError`` when there is no answer, or when the answer is an error.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
        verify: ssl.SSLContext | None = None,
    ) -> None:
        self._wire = Wire(url, key, transport, verify)
        self.url = self._wire.url
        self.transactions = Transactions(self._wire)
        self.balances = Balances(self._wire)
        self.ledgers = Ledgers(self._wire)
        self.funding = Funding(self._wire)
        self.audit = Audit(self._wire)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._wire.close()

    def queues(self) -> list[Queue]:
        """Return every queue: how much waits in it, since when, and how fast it moves."""
        return self._wire.ask(list[Queue], Request("GET", "/queues"))

    def health(self) -> Health:
        """Return whether the service works. A service that is DOWN returns an answer instead of an error."""
        return self._wire.ask(Health, Request("GET", "/health", also=frozenset({503})))

    def parts(self) -> Parts:
        """Return the processes of the service, its ticks and its last verification."""
        return self._wire.ask(Parts, Request("GET", "/parts"))

    def verify(self) -> Verification:
        """Verify the log after the last checkpoint. The service may need some seconds."""
        return self._wire.ask(Verification, Request("GET", "/verify", wait_s=120))

    def add_metadata(self, entity_id: str, meta_data: Mapping[str, Any]) -> dict[str, Any]:
        """Add or replace members of the metadata of a ledger, balance, transaction or batch. Return all of it."""
        request = Request("POST", f"/{escaped(entity_id)}/metadata", {"meta_data": meta_data})
        merged: dict[str, Any] = decoded(dict[str, Any], self._wire.send(request))["meta_data"]
        return merged
