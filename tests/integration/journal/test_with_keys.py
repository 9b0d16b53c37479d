"""The audit log and retries with several keys."""

import json
from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import Engine

from core.base.db import reading
from core.journal import audit_store
from tests.harness.api import close, ok, refused
from tests.harness.key_ring import Keys
from tests.harness.keys import KEY
from tests.harness.processes import wait_until
from web.accept.doorbell import Doorbell
from web.app import create_app

POST = {
    "precise_amount": 7,
    "precision": 100,
    "currency": "USD",
    "source": "@World",
    "destination": "@Shop",
    "description": "once",
    "allow_overdraft": True,
}


@pytest.fixture
def app(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY})
    yield app
    close(app)


@pytest.fixture
def keys(app: Flask) -> Keys:
    return Keys(app)


def test_a_row_names_the_key_and_its_owner(keys: Keys) -> None:
    holder = keys.make("ledgers:write", owner="finance")
    ok(holder.ask("POST /ledgers", json={"name": "Cash"}), 201)
    newest = keys.master.api.get("/audit")
    assert [(row["action"], row["actor"], row["owner"]) for row in newest] == [
        ("ledger.created", holder.key_id, "finance"),
        ("key.created", "master", "master"),
    ]
    assert keys.master.api.get("/audit", actor=holder.key_id) == newest[:1]
    assert len(keys.master.api.get("/audit", owner="finance")) == 1


def test_no_row_has_a_secret(keys: Keys) -> None:
    holder = keys.make("*:read")
    rotated = ok(keys.master.ask(f"POST /api-keys/{holder.key_id}/rotate", json={}), 201)["key"]
    text = keys.master.ask("GET /audit").text
    assert "key.rotated" in text
    assert holder.secret not in text and rotated not in text


def test_only_who_may_read_the_audit_log_does(keys: Keys) -> None:
    assert keys.make("audit:read").ask("GET /audit").status_code == 200
    assert keys.make("ledgers:read").ask("GET /audit").status_code == 403
    some = keys.make("*:*", reach={"indicators": ["@Shop"]})
    for route, body in (("GET /audit", None), ("POST /audit/filter", {})):
        refused(some.ask(route, json=body), 403, "AUTH_INSUFFICIENT_PERMISSIONS")


def test_a_request_beyond_a_key_is_recorded_under_it(keys: Keys, engine: Engine) -> None:
    holder = keys.make("ledgers:read")
    assert holder.ask("POST /ledgers", json={"name": "Cash"}).status_code == 403

    def denied() -> list[str]:
        with reading(engine) as conn:
            rows = audit_store.read_range(conn, after=0, limit=10)
        return [row.details for row in rows if row.action == "requests.denied"]

    wait_until(lambda: bool(denied()))
    (one,) = json.loads(denied()[0])["requests"]
    assert (one["status"], one["actor"], one["route"]) == (403, holder.key_id, "POST /ledgers")


def test_two_keys_may_send_one_idempotency_key(keys: Keys) -> None:
    header = {"Idempotency-Key": "monday"}
    made = {
        ok(keys.make("*:*").ask("POST /transactions", json=POST, headers=header), 201)["transaction_id"]
        for _ in range(2)
    }
    assert len(made) == 2


def test_a_kept_answer_is_for_those_who_may_still_ask(keys: Keys) -> None:
    holder, header = keys.make("*:*"), {"Idempotency-Key": "monday"}
    ok(holder.ask("POST /transactions", json=POST, headers=header), 201)
    keys.master.ask(f"DELETE /api-keys/{holder.key_id}", query_string={"owner": "shop"})
    ring = keys.app.extensions["pacioli"].ring
    wait_until(lambda: not hasattr(ring.find(holder.secret), "key_id"))
    refused(holder.ask("POST /transactions", json=POST, headers=header), 401, "AUTH_EXPIRED_API_KEY")
