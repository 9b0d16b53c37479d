"""The steps of Blnk's acceptance cases."""

from datetime import UTC, datetime, timedelta
from typing import Any

from werkzeug.test import TestResponse

from core.ledger import due
from tests.harness.api import Api, ok

UNKNOWN = "txn_00000000-0000-0000-0000-000000000000"


def give(api: Api, name: str, amount: int) -> None:
    """Fund a balance from @World, in minor units of USD."""
    api.done(destination=name, precise_amount=amount)


def post_raw(api: Api, body: str) -> TestResponse:
    return api.client.post("/transactions", data=body, content_type="application/json")


def decide(api: Api, **fields: Any) -> dict[str, Any]:
    """Post through the queue, and read the transaction when workers have decided it."""
    accepted = ok(api.post(**fields), 201)
    api.drain()
    return api.transaction(accepted["transaction_id"])


def make_hold(api: Api, amount: int = 10000, **fields: Any) -> str:
    """The id of a hold from @World to @A."""
    transaction_id: str = api.done(precise_amount=amount, inflight=True, **fields)["transaction_id"]
    return transaction_id


def commit(api: Api, hold: str, **fields: Any) -> dict[str, Any]:
    committed: dict[str, Any] = ok(api.settle(hold, "commit", skip_queue=True, **fields), 200)
    return committed


def void(api: Api, hold: str, **fields: Any) -> dict[str, Any]:
    voided: dict[str, Any] = ok(api.settle(hold, "void", skip_queue=True, **fields), 200)
    return voided


def bulk_commit(api: Api, items: Any, **fields: Any) -> TestResponse:
    return api.client.post("/transactions/inflight/bulk/commit", json={"transactions": items, **fields})


def bulk_void(api: Api, ids: Any, **fields: Any) -> TestResponse:
    return api.client.post("/transactions/inflight/bulk/void", json={"transaction_ids": ids, **fields})


def post_refund(api: Api, transaction_id: str, **fields: Any) -> TestResponse:
    return api.client.post(f"/refund-transaction/{transaction_id}", json=fields)


def legs_of(*shares: tuple[str, str]) -> list[dict[str, str]]:
    return [{"identifier": name, "distribution": share} for name, share in shares]


def post_split(api: Api, amount: int, *shares: tuple[str, str], **fields: Any) -> TestResponse:
    """Fund several balances from @World, decided at once."""
    asked = {"precise_amount": amount, "destination": None, "destinations": legs_of(*shares), "skip_queue": True}
    return api.post(**{**asked, **fields})


def leg_amounts(split: dict[str, Any]) -> list[int]:
    return [leg["precise_amount"] for leg in split["legs"]]


def ahead(seconds: float) -> tuple[datetime, str]:
    at = (datetime.now(UTC) + timedelta(seconds=seconds)).replace(microsecond=0)
    return at, at.isoformat()


def beat(api: Api, now: datetime) -> None:
    """Do what beat and the workers do at that time."""
    due.accept_due(api.app.extensions["pacioli"].engine, now)
    api.drain()


def balances_of(api: Api, *names: str) -> list[int]:
    return [api.balance(name)["balance"] for name in names]


def is_empty(api: Api) -> bool:
    """Return whether no transaction and no balance was ever made."""
    return not api.get("/transactions") and not api.get("/balances")
