"""Receipts: what was accepted and decided about a transaction, with proofs."""

from typing import Any

from pacioli_client.calls import Resource, W, call
from pacioli_client.wire import Plan, Request, ask, escaped


class Receipts(Resource[W]):
    """The requests of ``/transactions/<id>/receipt``."""

    @call
    def get(self, transaction_id: str) -> Plan[dict[str, Any]]:
        """Return the receipt of a transaction, a JSON document that is kept as it came.

        ``pacioli receipt check`` checks it with the public key of the notary alone.
        """
        return ask(dict[str, Any], Request("GET", f"/transactions/{escaped(transaction_id)}/receipt", wait_s=30))
