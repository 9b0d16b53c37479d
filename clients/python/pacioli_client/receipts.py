"""Receipts: what was accepted and decided about a transaction, or in a balance over a period, with proofs."""

from datetime import datetime
from typing import Any

from pacioli_client.calls import Resource, W, call
from pacioli_client.wire import Plan, Request, ask, escaped


class Receipts(Resource[W]):
    """The requests of ``/transactions/<id>/receipt`` and ``/balances/<id>/statement/receipt``."""

    @call
    def get(self, transaction_id: str) -> Plan[dict[str, Any]]:
        """Return the receipt of a transaction, a JSON document that is kept as it came.

        ``pacioli receipt check`` checks it with the public key of the notary alone.
        """
        return ask(dict[str, Any], Request("GET", f"/transactions/{escaped(transaction_id)}/receipt", wait_s=30))

    @call
    def statement(
        self,
        balance_id: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        after: int | None = None,
        limit: int | None = None,
    ) -> Plan[dict[str, Any]]:
        """Return the receipt of a statement, a JSON document that is kept as it came. ``after`` is a version of the balance."""
        times = {"from": since, "to": until}
        params: dict[str, Any] = {name: at.isoformat() for name, at in times.items() if at is not None}
        params |= {name: value for name, value in (("after", after), ("limit", limit)) if value is not None}
        path = f"/balances/{escaped(balance_id)}/statement/receipt"
        return ask(dict[str, Any], Request("GET", path, params=params, wait_s=60))
