"""Balances: create, read, list, and their statements."""

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from pacioli_client.answers.balances import Balance, BalanceAt, BalanceLimits, Entry, Statement
from pacioli_client.calls import Listed, Resource, W, call, listing
from pacioli_client.requests import NewBalance, NewLimits
from pacioli_client.wire import Plan, Request, ask, attempts, decoded, escaped, new_reference


class Balances(Resource[W]):
    """The requests of ``/balances``."""

    @call
    def create(self, asked: NewBalance) -> Plan[Balance]:
        """Create a balance. The Idempotency-Key of the request makes sure that only one is created when it is repeated."""
        return ask(Balance, Request("POST", "/balances", asked, idempotency_key=new_reference()))

    @call
    def read(self, balance_id: str, *, with_queued: bool = False, from_source: bool = False) -> Plan[Balance]:
        """Return a balance by its id. ``with_queued`` adds undecided sums, ``from_source`` recomputes it from its history."""
        params = {"with_queued": with_queued or None, "from_source": from_source or None}
        return ask(Balance, Request("GET", f"/balances/{escaped(balance_id)}", params=params))

    @call
    def by_indicator(self, indicator: str, currency: str, *, with_queued: bool = False) -> Plan[Balance]:
        """Return an internal balance by its ``@Name``."""
        path = f"/balances/indicator/{escaped(indicator)}/currency/{escaped(currency)}"
        return ask(Balance, Request("GET", path, params={"with_queued": with_queued or None}))

    @call
    def limits(self, balance_id: str) -> Plan[BalanceLimits]:
        """Return the floor and the freeze of a balance, and what was set before."""
        return ask(BalanceLimits, Request("GET", f"/balances/{escaped(balance_id)}/limits"))

    @call
    def limit(self, balance_id: str, asked: NewLimits) -> Plan[BalanceLimits]:
        """Limit or freeze a balance, or neither any more. It counts for what is accepted from then on."""
        return ask(BalanceLimits, Request("PUT", f"/balances/{escaped(balance_id)}/limits", asked))

    @call
    def at(self, balance_id: str, timestamp: datetime | None = None, *, from_source: bool = False) -> Plan[BalanceAt]:
        """Return what a balance held at a time, by effective dates. The time needs a zone."""
        params = {"timestamp": timestamp, "from_source": from_source or None}
        return ask(BalanceAt, Request("GET", f"/balances/{escaped(balance_id)}/at", params=params))

    @listing
    def entries(
        self,
        balance_id: str,
        *,
        after: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 1000,
    ) -> Listed[Entry]:
        """Iterate over a statement, oldest first, after the version ``after``. Each request fetches ``limit`` entries."""
        params = {"after": after, "from": since, "to": until, "limit": limit}
        return Listed(Entry, f"/balances/{escaped(balance_id)}/entries", params)

    @call
    def statement(
        self,
        balance_id: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        basis: str = "booked",
        limit: int = 1000,
    ) -> Plan[Statement]:
        """Return the first page of a statement, with the sums of the whole period. The times need a zone.

        ``basis`` is ``booked`` or ``effective``. ``whole_statement`` has all entries.
        """
        return ask(Statement, _statement(balance_id, since, until, basis, limit))

    @call
    def whole_statement(
        self, balance_id: str, *, since: datetime | None = None, until: datetime | None = None, basis: str = "booked"
    ) -> Plan[Statement]:
        """Return a statement with all entries of the period, as of one moment. Each request fetches up to 5,000 entries."""
        response = yield from attempts(_statement(balance_id, since, until, basis, 5000))
        found = decoded(Statement, response)
        entries = [*found.entries]
        while (following := response.links.get("next")) is not None:
            response = yield from attempts(Request("GET", following["url"]))
            entries += decoded(Statement, response).entries
        return replace(found, entries=entries)

    @listing
    def list(self, /, *, limit: int = 100, **filters: Any) -> Listed[Balance]:
        """Iterate over the balances that match, newest first. A filter is ``field_operator=value``; a page has ``limit``."""
        return Listed(Balance, "/balances", {"limit": limit, **filters})


def _statement(balance_id: str, since: datetime | None, until: datetime | None, basis: str, limit: int) -> Request:
    params = {"from": since, "to": until, "basis": basis, "limit": limit}
    return Request("GET", f"/balances/{escaped(balance_id)}/statement", params=params)
