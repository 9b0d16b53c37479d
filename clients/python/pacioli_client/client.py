"""The client: one attribute for each kind of thing, and what concerns the whole service."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from pacioli_client.answers import Health, Queue, Verification
from pacioli_client.balances import Balances
from pacioli_client.funding import Funding
from pacioli_client.ledgers import Ledgers
from pacioli_client.transactions import Transactions
from pacioli_client.wire import Request, Wire, decoded, escaped


class Client:
    """A service, at its address and with its key. Close it, or use it in a ``with``.

    Every method raises a ``PacioliError`` when it has no answer, or the answer is an error.
    """

    def __init__(self, url: str, key: str | None = None, *, transport: httpx.BaseTransport | None = None) -> None:
        self._wire = Wire(url, key, transport)
        self.url = self._wire.url
        self.transactions = Transactions(self._wire)
        self.balances = Balances(self._wire)
        self.ledgers = Ledgers(self._wire)
        self.funding = Funding(self._wire)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._wire.close()

    def queues(self) -> list[Queue]:
        """Every queue: how much waits in it, how long already, and how fast it moves."""
        return self._wire.ask(list[Queue], Request("GET", "/queues"))

    def health(self) -> Health:
        """Whether the service works. That it is DOWN is an answer too."""
        return self._wire.ask(Health, Request("GET", "/health", also=frozenset({503})))

    def verify(self) -> Verification:
        """Have what came after the last checkpoint checked. It may take some seconds."""
        return self._wire.ask(Verification, Request("GET", "/verify", wait_s=120))

    def add_metadata(self, entity_id: str, meta_data: Mapping[str, Any]) -> dict[str, Any]:
        """Add members to the metadata of a ledger, balance, transaction or batch, or replace them. Returns all of it."""
        request = Request("POST", f"/{escaped(entity_id)}/metadata", {"meta_data": meta_data})
        merged: dict[str, Any] = decoded(dict[str, Any], self._wire.send(request))["meta_data"]
        return merged
