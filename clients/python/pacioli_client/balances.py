"""Balances: create, read, list, and their statements."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pacioli_client.answers.balances import Balance, BalanceAt, Entry
from pacioli_client.requests import NewBalance
from pacioli_client.wire import Request, Wire, escaped


class Balances:
    """The requests of ``/balances``."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def create(self, asked: NewBalance) -> Balance:
        """Create a balance. The request is not repeated when its answer is lost, because that could create two."""
        return self._wire.ask(Balance, Request("POST", "/balances", asked, safe=False))

    def read(self, balance_id: str, *, with_queued: bool = False, from_source: bool = False) -> Balance:
        """Return a balance by its id. ``with_queued`` adds undecided sums, ``from_source`` recomputes it from its history."""
        params = {"with_queued": with_queued or None, "from_source": from_source or None}
        return self._wire.ask(Balance, Request("GET", f"/balances/{escaped(balance_id)}", params=params))

    def by_indicator(self, indicator: str, currency: str, *, with_queued: bool = False) -> Balance:
        """Return an internal balance by its ``@Name``."""
        path = f"/balances/indicator/{escaped(indicator)}/currency/{escaped(currency)}"
        return self._wire.ask(Balance, Request("GET", path, params={"with_queued": with_queued or None}))

    def at(self, balance_id: str, timestamp: datetime | None = None, *, from_source: bool = False) -> BalanceAt:
        """Return what a balance held at a time, by effective dates. The time needs a zone."""
        params = {"timestamp": timestamp, "from_source": from_source or None}
        return self._wire.ask(BalanceAt, Request("GET", f"/balances/{escaped(balance_id)}/at", params=params))

    def entries(
        self,
        balance_id: str,
        *,
        after: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 1000,
    ) -> Iterator[Entry]:
        """Iterate over a statement, oldest first, after the version ``after``. Each request fetches ``limit`` entries."""
        params = {"after": after, "from": since, "to": until, "limit": limit}
        return self._wire.rows(Entry, f"/balances/{escaped(balance_id)}/entries", params)

    def list(self, *, limit: int = 100, **filters: Any) -> Iterator[Balance]:
        """Iterate over the balances that match, newest first. A filter is ``field_operator=value``; a page has ``limit``."""
        return self._wire.rows(Balance, "/balances", {"limit": limit, **filters})
