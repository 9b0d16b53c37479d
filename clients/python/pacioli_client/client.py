"""The clients of a service, one that blocks and one for an event loop. Both have an attribute for each resource."""

import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from pacioli_client.answers.balances import Currency, CurrencyBooks
from pacioli_client.answers.service import Health, Parts, Queue, Verification
from pacioli_client.audit import Audit
from pacioli_client.balances import Balances
from pacioli_client.calls import Resource, W, call
from pacioli_client.events import Events
from pacioli_client.flows import FlowRequests
from pacioli_client.funding import Funding
from pacioli_client.identities import Identities
from pacioli_client.keys import Keys
from pacioli_client.ledgers import Ledgers
from pacioli_client.monitors import Monitors
from pacioli_client.receipts import Receipts
from pacioli_client.transactions import Transactions
from pacioli_client.webhooks import Webhooks
from pacioli_client.wire import AsyncWire, Plan, Request, Wire, ask, escaped


class Service(Resource[W]):
    """A service: its resources, and the requests for the whole of it."""

    def __init__(self, wire: W) -> None:
        super().__init__(wire)
        self.url = wire.url
        self.transactions: Transactions[W] = Transactions(wire)
        self.balances: Balances[W] = Balances(wire)
        self.ledgers: Ledgers[W] = Ledgers(wire)
        self.funding: Funding[W] = Funding(wire)
        self.audit: Audit[W] = Audit(wire)
        self.flows: FlowRequests[W] = FlowRequests(wire)
        self.events: Events[W] = Events(wire)
        self.keys: Keys[W] = Keys(wire)
        self.identities: Identities[W] = Identities(wire)
        self.monitors: Monitors[W] = Monitors(wire)
        self.webhooks: Webhooks[W] = Webhooks(wire)
        self.receipts: Receipts[W] = Receipts(wire)

    @call
    def queues(self) -> Plan[list[Queue]]:
        """Return every queue: how much waits in it, since when, and how fast it moves."""
        return ask(list[Queue], Request("GET", "/queues"))

    @call
    def books(self) -> Plan[list[CurrencyBooks]]:
        """Return all balances by currency, which add up to zero."""
        return ask(list[CurrencyBooks], Request("GET", "/books"))

    @call
    def currencies(self) -> Plan[list[Currency]]:
        """Return every currency that has a precision."""
        return ask(list[Currency], Request("GET", "/currencies"))

    @call
    def fix_currency(self, currency: str, precision: int) -> Plan[Currency]:
        """Fix the precision of a currency before its first use."""
        return ask(Currency, Request("PUT", f"/currencies/{escaped(currency)}", {"precision": precision}))

    @call
    def take_snapshots(self, batch_size: int | None = None) -> Plan[str]:
        """Have snapshots taken of all balances that changed since their last one, and return what the service says."""
        answer = yield from ask(
            dict[str, Any], Request("POST", "/balances-snapshots", params={"batch_size": batch_size})
        )
        return str(answer["message"])

    @call
    def health(self) -> Plan[Health]:
        """Return whether the service works. A service that is DOWN returns an answer instead of an error."""
        return ask(Health, Request("GET", "/health", also=frozenset({503})))

    @call
    def parts(self) -> Plan[Parts]:
        """Return the processes of the service, its ticks and its last verification."""
        return ask(Parts, Request("GET", "/parts"))

    @call
    def verify(self) -> Plan[Verification]:
        """Verify the log after the last checkpoint. The service may need some seconds."""
        return ask(Verification, Request("GET", "/verify", wait_s=120))

    @call
    def add_metadata(self, entity_id: str, meta_data: Mapping[str, Any]) -> Plan[dict[str, Any]]:
        """Add or replace members of the metadata of a ledger, balance, transaction or batch. Return all of it."""
        answer = yield from ask(
            dict[str, Any], Request("POST", f"/{escaped(entity_id)}/metadata", {"meta_data": meta_data})
        )
        merged: dict[str, Any] = answer["meta_data"]
        return merged


class Client(Service[Wire]):
    """A client of the service at an address. Close it, or use it in a ``with``. Threads may share it.

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
        super().__init__(Wire(url, key, transport, verify))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._wire.close()


class AsyncClient(Service[AsyncWire]):
    """A client for an event loop, with the same methods: await each, or iterate over it with ``async for``.

    Close it, or use it in an ``async with``. Tasks of one event loop may share it.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        verify: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(AsyncWire(url, key, transport, verify))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._wire.close()
