"""A ledger with a transaction in each state, for lists to find."""

import itertools
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from core.base.db import begin, connect
from core.ledger.drain import drain
from tests.harness.lists import Row, ok, transaction
from tests.harness.saved import MadeOnce

_made = MadeOnce()


@pytest.fixture
def database_url(owner_url: str, request: pytest.FixtureRequest) -> str:
    """The URL of the database, which holds one of each transaction before anybody opens it, if a test asks for them."""
    if "one_of_each" in request.fixturenames:
        engine = connect(owner_url)
        _made.restore(engine)
        engine.dispose()
    return owner_url


@pytest.fixture
def one_of_each(client: FlaskClient) -> dict[str, str]:
    """The id of a transaction in each state, by a name for the state."""
    return _made.ids(client.application.extensions["pacioli"].engine, lambda: _one_of_each(client))


def _one_of_each(client: FlaskClient) -> dict[str, str]:
    ids: dict[str, str] = {}

    def post(name: str, status: str, **fields: Any) -> None:
        body = ok(client.post("/transactions", json=transaction(skip_queue=True, **fields)), 200, 201, 400)
        if "transaction_id" not in body:
            body = client.get(f"/transactions/reference/{fields['reference']}").get_json()
        ids[name] = body["transaction_id"]
        assert body["status"] == status, (name, body)

    def settle(name: str, status: str, **fields: Any) -> None:
        asked = {"status": status, "skip_queue": True, **fields}
        ok(client.put(f"/transactions/inflight/{ids[name]}", json=asked), 200)

    halves = [{"identifier": "@A", "distribution": "50%"}, {"identifier": "@C", "distribution": "left"}]
    poor = {"allow_overdraft": False, "source": "@Poor"}
    split: Row = {"destination": None, "destinations": halves, "precise_amount": 1001}
    post("paid", "APPLIED", meta_data={"tier": 5, "name": "Ann", "vip": True, "list": [1, 2]}, precise_amount=75023)
    post("paid in euros", "APPLIED", currency="EUR", effective_date="2020-02-29T12:30:00Z", meta_data={"tier": "5"})
    post("paid in thirds", "APPLIED", currency="TRD", precision=3, precise_amount=7, source="@A", destination="@C")
    post("backdated", "APPLIED", effective_date="2020-02-29T23:59:59.5Z", meta_data={"tier": 7.25, "name": "Bea"})
    post("held", "INFLIGHT", inflight=True)
    post("partly committed", "INFLIGHT", inflight=True, precise_amount=10)
    settle("partly committed", "commit", precise_amount=4)
    post("committed", "INFLIGHT", inflight=True, precise_amount=10)
    settle("committed", "commit")
    post("committed and voided", "INFLIGHT", inflight=True, precise_amount=10)
    settle("committed and voided", "commit", precise_amount=4)
    settle("committed and voided", "void")
    post("voided", "INFLIGHT", inflight=True, precise_amount=10)
    settle("voided", "void")
    post("rejected", "REJECTED", reference="r-poor", **poor)
    post("rejected hold", "REJECTED", reference="r-poor-hold", inflight=True, **poor)
    post("split", "APPLIED", **split)
    post("split held", "INFLIGHT", inflight=True, **split)
    post("split partly committed", "INFLIGHT", inflight=True, **split)
    settle("split partly committed", "commit", precise_amount=500)
    post("split committed", "INFLIGHT", inflight=True, **split)
    settle("split committed", "commit")
    post("split voided", "INFLIGHT", inflight=True, **split)
    settle("split voided", "void")
    post("split rejected", "REJECTED", reference="r-poor-split", **{**split, **poor})
    one_leg = [{"identifier": "@Poor", "precise_distribution": "1"}, {"identifier": "@A", "distribution": "left"}]
    post("split half rejected", "APPLIED", reference="r-half", source=None, sources=one_leg, destination="@C",
         allow_overdraft=False, precise_amount=100)  # fmt: skip
    refund = ok(client.post(f"/refund-transaction/{ids['paid']}", json={"skip_queue": True}), 201)
    ids["refund"] = refund["transaction_id"]
    bulk = [transaction(), transaction(destination="@D", currency="EUR")]
    batch = ok(client.post("/transactions/bulk", json={"transactions": bulk, "skip_queue": True}), 201)
    ids["batch"] = batch["batch_id"]
    for name in ("paid", "split", "held"):
        ok(client.post(f"/{ids[name]}/metadata", json={"meta_data": {"added": name, "tier": 9}}), 200)
    ids["split half decided"] = _half_decided(client)
    # Nothing is decided after this line.
    undecided: dict[str, Row] = {
        "queued": {"source": "@Q", "destination": "@A"},
        "queued hold": {"source": "@Q", "inflight": True},
        "queued split": {"source": "@Q", **split},
        "scheduled": {"scheduled_for": "2999-01-01T00:00:00Z", "meta_data": {"tier": 5}},
        "scheduled split": {"scheduled_for": "2999-01-01T00:00:00Z", **split},
        "cancelled": {"scheduled_for": "2999-01-01T00:00:00Z"},
    }
    for name, fields in undecided.items():
        ids[name] = ok(client.post("/transactions", json=transaction(**fields)), 201)["transaction_id"]
    ok(client.delete(f"/transactions/{ids['cancelled']}"), 200)
    asked = {"status": "commit"}
    ids["queued commit"] = ok(client.put(f"/transactions/inflight/{ids['held']}", json=asked), 200)["child_transaction"]
    return ids


def _half_decided(client: FlaskClient) -> str:
    """A split of two holds in two queues. One is decided, so the split is QUEUED though money is held."""
    engine = client.application.extensions["pacioli"].engine
    for number in itertools.count():
        sources = [{"identifier": f"@Rich{number}{side}", "distribution": "50%"} for side in "LR"]
        asked = transaction(source=None, sources=sources, inflight=True, precise_amount=10)
        split = ok(client.post("/transactions", json=asked), 201)
        with begin(engine) as conn:
            sql = text("SELECT queue FROM log WHERE parent = :id ORDER BY seq")
            first, second = conn.execute(sql, {"id": split["transaction_id"]}).scalars()
        drain(engine, first)
        if first != second:
            return str(split["transaction_id"])
    raise AssertionError
