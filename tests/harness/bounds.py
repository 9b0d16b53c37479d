"""Two ledgers side by side, and a key that is bound to one of them: what is there for it, and what is not."""

from typing import Any

from tests.harness.api import ok
from tests.harness.factories import transaction
from tests.harness.key_ring import Holder, Keys

BODY = {"precise_amount": 7, "precision": 100, "currency": "USD", "description": "d", "skip_queue": True}


class Two:
    """Two ledgers with a balance each. The key is bound to the first ledger and to ``@Tills``."""

    def __init__(self, keys: Keys) -> None:
        self.keys, self.master = keys, keys.master
        self.ledgers = [self.made("POST /ledgers", name=f"ledger {n}")["ledger_id"] for n in range(2)]
        self.own, self.foreign = (
            self.made("POST /balances", ledger_id=ledger, currency="USD")["balance_id"] for ledger in self.ledgers
        )
        self.own_too = self.made("POST /balances", ledger_id=self.ledgers[0], currency="USD")["balance_id"]
        self.reach = {"ledgers": [self.ledgers[0]], "indicators": ["@Tills"]}
        self.holder = keys.make("*:*", reach=self.reach)
        self.moved = {
            (source, destination): self.post(self.master, source, destination)
            for source, destination in (
                ("@Tills", self.own), ("@Tills", self.foreign), ("@Secret", self.foreign), ("@Secret", self.own)
            )
        }  # fmt: skip
        self.hidden = [self.foreign, "@Secret", self.moved["@Secret", self.foreign], self.ledgers[1]]

    def made(self, route: str, **body: Any) -> dict[str, Any]:
        answer: dict[str, Any] = ok(self.master.ask(route, json=body), 201)
        return answer

    def body(self, source: str, destination: str, **fields: Any) -> dict[str, Any]:
        reference = transaction().reference
        return {**BODY, "reference": reference, "source": source, "destination": destination, **fields}

    def post(self, holder: Holder, source: str, destination: str, **fields: Any) -> str:
        body = self.body(source, destination, allow_overdraft=True, **fields)
        id: str = ok(holder.ask("POST /transactions", json=body), 201)["transaction_id"]
        return id

    def split(self, holder: Holder, source: str, *destinations: str, **fields: Any) -> str:
        """Post a split in equal parts, the last of which is what is left. Returns its ID."""
        body = self.body(source, "", allow_overdraft=True, **fields)
        del body["destination"]
        body["destinations"] = [
            {"identifier": each, "distribution": "left" if each == destinations[-1] else "30%"} for each in destinations
        ]
        id: str = ok(holder.ask("POST /transactions", json=body), 201)["transaction_id"]
        return id
