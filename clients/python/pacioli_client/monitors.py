"""Monitors: create, read, change, delete, list, and their firings."""

import builtins
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pacioli_client.answers.monitors import Firing, Monitor
from pacioli_client.calls import Listed, Resource, W, call, listing
from pacioli_client.wire import Plan, Request, ask, escaped, new_reference


class Monitors(Resource[W]):
    """The requests of ``/balance-monitors``."""

    @call
    def create(
        self, /, balance_id: str, field: str, operator: str, value: Decimal | int, **options: Any
    ) -> Plan[Monitor]:
        """Create a monitor, which fires when ``field operator value`` becomes true. ``value`` is in major units.

        The options are those of the API: mode, hysteresis, min_interval, once, fire_now, active, description, call_back_url,
        meta_data, and precision. The Idempotency-Key makes sure that a repeated request creates one monitor.
        """
        body = _body(balance_id, field, operator, value, options)
        return ask(Monitor, Request("POST", "/balance-monitors", body, idempotency_key=new_reference()))

    @call
    def update(
        self, /, monitor_id: str, balance_id: str, field: str, operator: str, value: Decimal | int, **options: Any
    ) -> Plan[Monitor]:
        """Replace what a monitor watches, and how. An option that is left out gets its default."""
        body = _body(balance_id, field, operator, value, options)
        return ask(Monitor, Request("PUT", f"/balance-monitors/{escaped(monitor_id)}", body))

    @call
    def read(self, monitor_id: str) -> Plan[Monitor]:
        """Return a monitor by its id."""
        return ask(Monitor, Request("GET", f"/balance-monitors/{escaped(monitor_id)}"))

    @call
    def delete(self, monitor_id: str) -> Plan[str]:
        """Delete a monitor, and return what the service says."""
        answer = yield from ask(dict[str, Any], Request("DELETE", f"/balance-monitors/{escaped(monitor_id)}"))
        return str(answer["message"])

    @call
    def of_balance(self, balance_id: str) -> Plan[builtins.list[Monitor]]:
        """Return the monitors of a balance, newest first."""
        return ask(builtins.list[Monitor], Request("GET", f"/balance-monitors/balances/{escaped(balance_id)}"))

    @listing
    def list(self, /, *, limit: int = 100, **filters: Any) -> Listed[Monitor]:
        """Iterate over the monitors that match, newest first. A filter is ``field_operator=value``; a page has ``limit``."""
        return Listed(Monitor, "/balance-monitors", {"limit": limit, **filters})

    @listing
    def events(self, monitor_id: str, *, limit: int = 100) -> Listed[Firing]:
        """Iterate over the firings of a monitor, latest first."""
        return Listed(Firing, f"/balance-monitors/{escaped(monitor_id)}/events", {"limit": limit})


def _body(
    balance_id: str, field: str, operator: str, value: Decimal | int, options: Mapping[str, Any]
) -> dict[str, Any]:
    condition: dict[str, Any] = {"field": field, "operator": operator, "value": value}
    if (precision := options.get("precision")) is not None:
        condition["precision"] = precision
    others = {name: given for name, given in options.items() if name != "precision" and given is not None}
    return {"balance_id": balance_id, "condition": condition, **others}
