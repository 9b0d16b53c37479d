"""The endpoints as a client sees them, in this process, and what a good and a bad answer look like."""

import itertools
import time
from dataclasses import dataclass
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from core.base.db import pools, reading
from core.ledger import drain
from core.ledger.store import queues as queue_store
from web.service import Service

_references = itertools.count(1)
GIVEN_BACK_WITHIN_S = 0.5
ZERO_TIME = "0001-01-01T00:00:00Z"


@dataclass
class Api:
    """The endpoints, and the worker's part on demand."""

    app: Flask
    client: FlaskClient

    def post(self, **fields: Any) -> TestResponse:
        """Post one USD cent from @World to @A by overdraft, or what the fields say. None leaves a field out."""
        return self.client.post("/transactions", json=_item(**fields))

    def done(self, **fields: Any) -> dict[str, Any]:
        """Post with ``skip_queue``, which must succeed."""
        applied: dict[str, Any] = ok(self.post(skip_queue=True, **fields), 201)
        return applied

    def spend(self, **fields: Any) -> TestResponse:
        """Post from @A to @B without an overdraft, decided at once."""
        asked = {"source": "@A", "destination": "@B", "allow_overdraft": None, "skip_queue": True}
        return self.post(**{**asked, **fields})

    def settle(self, hold: str, status: str, **fields: Any) -> TestResponse:
        return self.client.put(f"/transactions/inflight/{hold}", json={"status": status, **fields})

    def bulk(self, *items: dict[str, Any], **fields: Any) -> TestResponse:
        transactions = [_item(**item) for item in items]
        return self.client.post("/transactions/bulk", json={"transactions": transactions, **fields})

    def get(self, path: str, **arguments: Any) -> Any:
        return ok(self.client.get(path, query_string=arguments or None), 200)

    def transaction(self, transaction_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/transactions/{transaction_id}")
        return found

    def balance(self, name: str, currency: str = "USD", **arguments: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/balances/indicator/{name}/currency/{currency}", **arguments)
        return found

    def sums(self, name: str) -> tuple[int, int, int, int]:
        """Balance, inflight balance, inflight credit and inflight debit."""
        found = self.balance(name)
        names = ("balance", "inflight_balance", "inflight_credit_balance", "inflight_debit_balance")
        return tuple(found[name] for name in names)

    def drain(self) -> None:
        """Decide all that waits, as workers do."""
        service: Service = self.app.extensions["pacioli"]
        with reading(service.engine) as conn:
            numbers = list(queue_store.cursors(conn))
        for number in numbers:
            drain.drain(service.engine, number)

    def new_balance(self, currency: str = "USD") -> str:
        asked = {"ledger_id": "general_ledger_id", "currency": currency}
        balance_id: str = ok(self.client.post("/balances", json=asked), 201)["balance_id"]
        return balance_id


def close(app: Flask) -> None:
    """Close the connections of an application when its threads have given theirs back, so that the next test finds them warm."""
    engine = app.extensions["pacioli"].engine
    until = time.monotonic() + GIVEN_BACK_WITHIN_S
    while any(pool.checkedout() for pool in pools(engine).values()) and time.monotonic() < until:
        time.sleep(0.001)
    engine.dispose()


def _item(**fields: Any) -> dict[str, Any]:
    """Return a body: one USD cent from @World to @A by overdraft, or what the fields say."""
    return _given(
        {
            "precise_amount": None if "amount" in fields else 1,
            "precision": 100,
            "currency": "USD",
            "reference": f"ref {next(_references)}",
            "source": "@World",
            "destination": "@A",
            "description": "a test",
            "allow_overdraft": True,
            **fields,
        }
    )


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def ok(response: TestResponse, status: int) -> Any:
    assert response.status_code == status, response.text
    assert response.content_type == "application/json; charset=utf-8"
    return response.get_json()


def refused(response: TestResponse, status: int, code: str, message: str | None = None) -> dict[str, Any]:
    """The detail of an error, which has the shape of all errors."""
    body = ok(response, status)
    detail: dict[str, Any] = body["error_detail"]
    assert detail["code"] == code
    assert detail["message"] == body["error"]
    assert message is None or detail["message"] == message
    return detail
