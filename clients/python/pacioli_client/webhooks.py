"""Webhooks: create, read, change, delete, rotate, replay, test, and their deliveries."""

import builtins
from typing import Any

from pacioli_client.answers.webhooks import Delivery, Replay, Tested, Webhook
from pacioli_client.calls import Listed, Resource, W, call, listing
from pacioli_client.wire import Plan, Request, ask, attempts, escaped


class Webhooks(Resource[W]):
    """The requests of ``/webhooks``."""

    @call
    def create(self, /, url: str, **options: Any) -> Plan[Webhook]:
        """Create an endpoint. Only this answer has its secret.

        The options are those of the API: events, ordered, active, description, headers, secret, and after.
        """
        given = {name: value for name, value in options.items() if value is not None}
        return ask(Webhook, Request("POST", "/webhooks", {"url": url, **given}, safe=False))

    @call
    def list(self) -> Plan[builtins.list[Webhook]]:
        """Return the endpoints, newest first."""
        return ask(builtins.list[Webhook], Request("GET", "/webhooks"))

    @call
    def read(self, webhook_id: str) -> Plan[Webhook]:
        """Return an endpoint by its id."""
        return ask(Webhook, Request("GET", f"/webhooks/{escaped(webhook_id)}"))

    @call
    def update(self, /, webhook_id: str, **changes: Any) -> Plan[Webhook]:
        """Change an endpoint. What is left out stays as it is."""
        return ask(Webhook, Request("PUT", f"/webhooks/{escaped(webhook_id)}", changes))

    @call
    def delete(self, webhook_id: str) -> Plan[None]:
        """Delete an endpoint."""
        yield from attempts(Request("DELETE", f"/webhooks/{escaped(webhook_id)}"))

    @call
    def rotate(self, webhook_id: str, *, overlap_s: int | None = None) -> Plan[Webhook]:
        """Give an endpoint a new secret, which only this answer has. The one of before signs too for the overlap."""
        body = {} if overlap_s is None else {"overlap_s": overlap_s}
        return ask(Webhook, Request("POST", f"/webhooks/{escaped(webhook_id)}/rotate", body, safe=False))

    @call
    def replay(self, webhook_id: str, after: str, until: str | None = None) -> Plan[Replay]:
        """Send the events after one position, up to another, once more."""
        body = {"from": after} if until is None else {"from": after, "to": until}
        return ask(Replay, Request("POST", f"/webhooks/{escaped(webhook_id)}/replay", body, safe=False))

    @call
    def test(self, webhook_id: str) -> Plan[Tested]:
        """Send a test event now, and say how that went."""
        return ask(Tested, Request("POST", f"/webhooks/{escaped(webhook_id)}/test"))

    @listing
    def deliveries(self, webhook_id: str, *, status: str | None = None, limit: int = 100) -> Listed[Delivery]:
        """Iterate over the deliveries of an endpoint, latest first."""
        wanted = {"limit": limit} if status is None else {"limit": limit, "status": status}
        return Listed(Delivery, f"/webhooks/{escaped(webhook_id)}/deliveries", wanted)
