"""Flows: where money moved, and how much was done."""

from datetime import datetime

from pacioli_client.answers.flows import Activity, Flows, FlowsOfNode
from pacioli_client.calls import Resource, W, call
from pacioli_client.wire import Plan, Request, ask, escaped


class FlowRequests(Resource[W]):
    """The requests of ``/flows`` and ``/activity``."""

    @call
    def read(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        currency: str | None = None,
        node: str | None = None,
        limit: int | None = None,
    ) -> Plan[Flows]:
        """Return where money moved between nodes, in the last day if no time is given. The times need a zone.

        ``limit`` is the number of nodes of each currency that are shown by themselves.
        """
        params = {"from": since, "to": until, "currency": currency, "node": node, "limit": limit}
        return ask(Flows, Request("GET", "/flows", params=params))

    @call
    def of_node(
        self,
        node: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        currency: str | None = None,
        limit: int | None = None,
    ) -> Plan[FlowsOfNode]:
        """Return what flowed through a node: what it exchanged with each other one, and the balances of a ledger."""
        params = {"from": since, "to": until, "currency": currency, "limit": limit}
        return ask(FlowsOfNode, Request("GET", f"/flows/{escaped(node)}", params=params))

    @call
    def activity(
        self, *, since: datetime | None = None, until: datetime | None = None, step: str | None = None
    ) -> Plan[Activity]:
        """Return how much was done, in the last hour if no time is given. ``step`` is ``minute``, ``hour`` or ``day``."""
        return ask(Activity, Request("GET", "/activity", params={"from": since, "to": until, "step": step}))
