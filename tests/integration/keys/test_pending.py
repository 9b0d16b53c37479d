"""A revoked key leaves things that are still to come. Whoever revokes it is told, and may stop them."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Engine, text

from core.base.db import reading
from core.funding import runs
from core.ledger import due
from tests.harness.api import ok, refused
from tests.harness.key_ring import Holder, Keys, later
from web import api_keys

JOB = {
    "name": "Wallets",
    "source": "@Till",
    "currency": "USD",
    "precision": 100,
    "recipients": [{"destination": "@Shop", "precise_amount": 5}],
}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no other process that could remember a key."""
    monkeypatch.setattr(api_keys, "REMEMBERED_S", 0.0)


@pytest.fixture
def left(keys: Keys, app: Flask) -> Holder:
    """A key that asked for one of each, and another that asked for a run of its own."""
    keys.master.api.done(destination="@Till", precise_amount=1000)
    key = keys.make("*:*")
    api = key.api
    ok(api.post(reference="planned", scheduled_for=later(days=1)), 201)
    api.done(reference="to commit", inflight=True, inflight_commit_date=later(days=1))
    api.done(reference="to expire", inflight=True, inflight_expiry_date=later(days=1))
    daily = ok(key.ask("POST /funding-jobs", json={**JOB, "cron": "0 8 * * *", "timezone": "UTC"}), 201)
    other = ok(keys.master.ask("POST /funding-jobs", json={**JOB, "cron": "0 9 * * *", "timezone": "UTC"}), 201)
    ok(key.ask(f"POST /funding-jobs/{other['job_id']}/run"), 201)
    ok(key.ask(f"POST /funding-jobs/{daily['job_id']}/run"), 201)
    keys.make("ledgers:read", by=key)
    return key


PENDING = {
    "scheduled_transactions": 1,
    "hold_commits": 1,
    "hold_expiries": 1,
    "funding_jobs": 1,
    "funding_runs": 2,
    "keys": 1,
}


def test_a_revocation_says_what_is_still_to_come_and_leaves_it(keys: Keys, left: Holder, app: Flask) -> None:
    answer = ok(keys.master.ask(f"DELETE /api-keys/{left.key_id}?with_pending=false"), 200)
    assert (answer["pending"], answer["stopped"], answer["api_key_id"]) == (PENDING, False, left.key_id)
    again = ok(keys.master.ask(f"DELETE /api-keys/{left.key_id}?with_pending=false"), 200)
    assert again == answer
    _advance(keys, app)
    assert keys.master.api.get("/transactions/reference/planned")["status"] == "APPLIED"
    assert keys.master.api.get("/transactions/reference/to%20commit")["status"] == "APPLIED"
    assert keys.master.api.get("/transactions/reference/to%20expire")["status"] == "VOID"
    actors = _actors(app.extensions["pacioli"].engine)
    assert actors == {
        ("planned", left.key_id, "tick"),
        ("commit", left.key_id, "tick"),
        ("expired", left.key_id, "tick"),
        ("run", left.key_id, "funding"),
    }


def test_a_revocation_stops_what_is_still_to_come(keys: Keys, left: Holder, app: Flask) -> None:
    answer = ok(keys.master.ask(f"DELETE /api-keys/{left.key_id}?with_pending=true"), 200)
    assert (answer["pending"], answer["stopped"]) == (PENDING, True)
    again = ok(keys.master.ask(f"DELETE /api-keys/{left.key_id}?with_pending=false"), 200)
    assert again["pending"] == {**dict.fromkeys(PENDING, 0), "hold_expiries": 1}
    _advance(keys, app)
    assert keys.master.api.get("/transactions/reference/planned")["status"] == "VOID"
    assert keys.master.api.get("/transactions/reference/to%20commit")["status"] == "INFLIGHT"
    assert keys.master.api.get("/transactions/reference/to%20expire")["status"] == "VOID"
    assert _actors(app.extensions["pacioli"].engine) == {("expired", left.key_id, "tick")}
    jobs = {job["name"] + job["status"] for job in keys.master.api.get("/funding-jobs")}
    assert jobs == {"WalletsCANCELLED", "WalletsACTIVE"}  # That of the master key goes on.
    assert all(key["is_revoked"] for key in keys.list())
    actions = [row["action"] for row in keys.master.api.get("/audit?limit=100")]
    for action in ("transaction.cancelled", "commit.cancelled", "funding_job.cancelled", "funding_run.cancelled"):
        assert actions.count(action) == 1, action
    assert actions.count("key.revoked") == 2


def test_keys_that_a_key_made_work_on_unless_they_are_revoked_too(keys: Keys) -> None:
    parent = keys.make("api-keys:write", "ledgers:read")
    child = keys.make("api-keys:write", "ledgers:read", by=parent)
    grandchild = keys.make("ledgers:read", by=child)
    assert ok(keys.master.ask(f"DELETE /api-keys/{parent.key_id}?with_pending=false"), 200)["pending"]["keys"] == 2
    ok(grandchild.ask("GET /ledgers"), 200)
    ok(keys.master.ask(f"DELETE /api-keys/{parent.key_id}?with_pending=true"), 200)
    app_ring(keys)
    for key in (child, grandchild):
        refused(key.ask("GET /ledgers"), 401, "AUTH_EXPIRED_API_KEY")


def test_to_stop_what_is_to_come_needs_the_rights_to(keys: Keys) -> None:
    key, weak = keys.make("ledgers:read"), keys.make("api-keys:delete", "transactions:cancel")
    route = f"DELETE /api-keys/{key.key_id}"
    message = "Insufficient permissions for funding:control"
    refused(weak.ask(f"{route}?with_pending=true"), 403, "AUTH_INSUFFICIENT_PERMISSIONS", message)
    ok(key.ask("GET /ledgers"), 200)
    ok(weak.ask(f"{route}?with_pending=false"), 200)
    refused(weak.ask(f"{route}?with_pending=perhaps"), 400, "GEN_BAD_REQUEST")


def app_ring(keys: Keys) -> None:
    keys.app.extensions["pacioli"].ring._entries.clear()


def _advance(keys: Keys, app: Flask) -> None:
    """Let two days pass."""
    engine = app.extensions["pacioli"].engine
    with reading(engine) as conn:
        now = conn.execute(text("SELECT clock_timestamp() + interval '2 days'")).scalar_one()
    due.accept_due(engine, now)
    keys.master.api.drain()
    runs.advance(engine, for_s=60)


def _actors(engine: Engine) -> set[tuple[Any, ...]]:
    """Who asked for the rows that no request brought."""
    with reading(engine) as conn:
        rows = conn.execute(text("SELECT reference, actor, part FROM log WHERE part <> 'web'")).all()
    names = {"planned": "planned", "_committed_when_due": "commit", "_expired": "expired", "fund_": "run"}
    return {(next(name for part, name in names.items() if part in row[0]), row[1], row[2]) for row in rows}
