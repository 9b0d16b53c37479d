"""Ledgers: create, rename, read, list."""

from collections.abc import Iterator, Mapping
from typing import Any

from pacioli_client.answers.ledgers import Ledger
from pacioli_client.wire import Request, Wire, escaped


class Ledgers:
    """The requests of ``/ledgers``."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def create(self, name: str, meta_data: Mapping[str, Any] | None = None) -> Ledger:
        """Create a ledger. The request is not repeated when its answer is lost, because that could create two."""
        body: dict[str, Any] = {"name": name, **({} if meta_data is None else {"meta_data": meta_data})}
        return self._wire.ask(Ledger, Request("POST", "/ledgers", body, safe=False))

    def rename(self, ledger_id: str, name: str) -> Ledger:
        """Change the name of a ledger."""
        return self._wire.ask(Ledger, Request("PUT", f"/ledgers/{escaped(ledger_id)}", {"name": name}))

    def read(self, ledger_id: str) -> Ledger:
        """Return a ledger by its id."""
        return self._wire.ask(Ledger, Request("GET", f"/ledgers/{escaped(ledger_id)}"))

    def list(self, *, limit: int = 100, **filters: Any) -> Iterator[Ledger]:
        """Iterate over the ledgers that match, newest first. A filter is ``field_operator=value``; a page has ``limit``."""
        return self._wire.rows(Ledger, "/ledgers", {"limit": limit, **filters})
