"""Ledgers: create, rename, read, list."""

from collections.abc import Mapping
from typing import Any

from pacioli_client.answers.ledgers import Ledger
from pacioli_client.calls import Listed, Resource, W, call, listing
from pacioli_client.wire import Plan, Request, ask, escaped, new_reference


class Ledgers(Resource[W]):
    """The requests of ``/ledgers``."""

    @call
    def create(self, name: str, meta_data: Mapping[str, Any] | None = None) -> Plan[Ledger]:
        """Create a ledger. The Idempotency-Key of the request makes sure that only one is created when it is repeated."""
        body: dict[str, Any] = {"name": name, **({} if meta_data is None else {"meta_data": meta_data})}
        return ask(Ledger, Request("POST", "/ledgers", body, idempotency_key=new_reference()))

    @call
    def rename(self, ledger_id: str, name: str) -> Plan[Ledger]:
        """Change the name of a ledger."""
        return ask(Ledger, Request("PUT", f"/ledgers/{escaped(ledger_id)}", {"name": name}))

    @call
    def read(self, ledger_id: str) -> Plan[Ledger]:
        """Return a ledger by its id."""
        return ask(Ledger, Request("GET", f"/ledgers/{escaped(ledger_id)}"))

    @listing
    def list(self, /, *, limit: int = 100, **filters: Any) -> Listed[Ledger]:
        """Iterate over the ledgers that match, newest first. A filter is ``field_operator=value``; a page has ``limit``."""
        return Listed(Ledger, "/ledgers", {"limit": limit, **filters})
