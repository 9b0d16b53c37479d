"""Each right: the request that has it, and the one that is refused."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from core.base.actors import Right, grants
from core.base.db import reading
from core.funding import runs
from tests.harness.api import ok, refused
from tests.harness.key_ring import Holder, Keys, later
from web.http.rights import RIGHTS

MISSING = "AUTH_INSUFFICIENT_PERMISSIONS"


def test_each_route_is_open_to_its_right_and_closed_to_all_others(keys: Keys) -> None:
    holders = {right: keys.make(right) for rights in RIGHTS.values() for right in rights}
    for route, rights in RIGHTS.items():
        if route.endswith(("/hooks", "/hooks/<hook_id>")):  # As in Blnk they are the master key's.
            continue
        method, _, rule = route.partition(" ")
        asks = f"{method} {'/'.join('x' if step.startswith('<') else step for step in rule.split('/'))}"
        stranger = keys.make(*(right for right in Right if not any(grants(right, one) for one in rights)))
        detail = refused(stranger.ask(asks), 403, MISSING, f"Insufficient permissions for {rights[0]}")
        assert detail["details"] == {"required": rights[0]}
        for right in rights:
            response = holders[right].ask(asks)
            assert response.status_code not in (401, 403), (asks, right, response.text)


def test_head_asks_for_the_right_of_get(keys: Keys) -> None:
    assert keys.make("ledgers:read").ask("HEAD /ledgers").status_code == 200
    assert keys.make("balances:read").ask("HEAD /ledgers").status_code == 403


def test_a_route_that_is_not_in_the_table_is_closed_to_every_key(keys: Keys, app: Flask) -> None:
    app._got_first_request = False
    app.add_url_rule("/ledgers/new/thing", "new", lambda: "open", methods=["GET"])
    response = keys.make("*:*").ask("GET /ledgers/new/thing")
    refused(response, 403, MISSING, "Insufficient permissions for GET /ledgers/new/thing: only the master key may")
    assert keys.master.ask("GET /ledgers/new/thing").text == "open"


@pytest.mark.parametrize("route", ["GET /nowhere", "POST /reconciliation", "GET /apikeys/x"])
def test_a_path_of_no_resource_has_the_code_of_blnk(keys: Keys, route: str) -> None:
    refused(keys.make("*:*").ask(route), 403, "AUTH_UNKNOWN_RESOURCE", "Unknown resource type")
    refused(keys.master.ask(route), 404, "GEN_NOT_FOUND")


def test_a_wrong_path_or_method_of_a_resource_says_what_there_is(keys: Keys) -> None:
    reader = keys.make("ledgers:read")
    assert "did you mean" in refused(reader.ask("GET /ledgers/x/y/filter"), 404, "GEN_NOT_FOUND")["message"]
    assert refused(reader.ask("DELETE /ledgers"), 405, "GEN_METHOD_NOT_ALLOWED")["details"] == {
        "allowed": ["GET", "HEAD", "POST"]
    }


def test_prometheus_gets_a_key_that_reads_metrics_and_nothing_else(keys: Keys) -> None:
    own, client = keys.make("metrics:read"), keys.app.test_client()
    bearer = {"Authorization": f"Bearer {own.secret}"}
    assert client.get("/metrics", headers=bearer).status_code == 200
    refused(client.get("/queues", headers=bearer), 401, "AUTH_MISSING_API_KEY")
    refused(own.ask("GET /queues"), 403, MISSING)


def test_what_needs_no_key_needs_no_right(keys: Keys) -> None:
    weak = keys.make("search:read")
    for path in ("/", "/health/live", "/openapi.json", "/docs"):
        assert weak.ask(f"GET {path}").status_code == 200


# What only the body tells

POSTER = ("transactions:post", "transactions:read")


@pytest.fixture
def teller(keys: Keys) -> Holder:
    """A key that posts between balances that are there, with money in @Till."""
    keys.master.api.done(destination="@Till", precise_amount=1000)
    keys.master.api.done(destination="@Shop", precise_amount=1)
    return keys.make(*POSTER)


OVERDRAFTS: list[dict[str, Any]] = [
    {"allow_overdraft": True},
    {"apply_overdraft": True, "allow_overdraft": None},
    {"allow_overdraft": True, "overdraft_limit": 5},
    {"allow_overdraft": None, "overdraft_limit": 5},
    {"allow_overdraft": True, "inflight": True},
    {"allow_overdraft": True, "scheduled_for": later(days=1)},
    {"allow_overdraft": True, "skip_queue": True},
    {"allow_overdraft": True, "dry_run": True},
    {
        "allow_overdraft": True,
        "source": None,
        "sources": [
            {"identifier": "@Till", "distribution": "50%"},
            {"identifier": "@World", "distribution": "left"},
        ],
    },
]
NO_OVERDRAFTS: list[dict[str, Any]] = [
    {"allow_overdraft": None},
    {"allow_overdraft": False},
    {"allow_overdraft": True, "overdraft_limit": 0},
    {"allow_overdraft": None, "overdraft_limit": 0},
    {"allow_overdraft": None, "scheduled_for": later(days=1)},
]


def test_an_overdraft_needs_its_right(keys: Keys, teller: Holder) -> None:
    for fields in OVERDRAFTS:
        _needs_overdraft(keys, teller, fields)


def _needs_overdraft(keys: Keys, teller: Holder, fields: dict[str, Any]) -> None:
    before = len(keys.master.api.get("/transactions?limit=100"))
    asked = {"source": "@Till", "destination": "@Shop", **fields}
    message = "Insufficient permissions for transactions:post_overdraft"
    refused(teller.api.post(**asked), 403, MISSING, message)
    refused(keys.make("transactions:write").api.post(**asked), 403, MISSING, message)
    fine = {name: value for name, value in asked.items() if not name.startswith("dry")}
    bulk = teller.api.bulk({"source": "@Till", "destination": "@Shop", "allow_overdraft": None}, fine)
    assert refused(bulk, 403, MISSING, message)["details"] == {"required": "transactions:post_overdraft", "index": 1}
    assert len(keys.master.api.get("/transactions?limit=100")) == before  # Nothing of it was accepted.
    for scopes in (["transactions:*"], ["*:*"], [*POSTER, "transactions:post_overdraft"]):
        assert keys.make(*scopes).api.post(**asked).status_code in (200, 201)


def test_what_cannot_go_below_zero_needs_no_right_to(teller: Holder) -> None:
    for fields in NO_OVERDRAFTS:
        ok(teller.api.post(source="@Till", destination="@Shop", **fields), 201)


NEW: list[dict[str, Any]] = [
    {"destination": "@New"},
    {"destination": "@Till", "source": "@New"},
    {"destination": "@New", "dry_run": True},
    {"destination": "@New", "scheduled_for": later(days=1)},
    {"destination": "@Shop", "currency": "EUR"},
    {
        "destination": None,
        "destinations": [
            {"identifier": "@Shop", "distribution": "50%"},
            {"identifier": "@New", "distribution": "left"},
        ],
    },
]


@pytest.mark.parametrize("fields", NEW)
def test_a_new_name_needs_its_right(keys: Keys, teller: Holder, fields: dict[str, Any]) -> None:
    asked = {"source": "@Till", "allow_overdraft": None, "precise_amount": 2, **fields}
    message = "Insufficient permissions for balances:create_indicator"
    detail = refused(teller.api.post(**asked), 403, MISSING, message)
    assert detail["details"]["required"] == "balances:create_indicator" and detail["details"]["names"]
    refused(teller.api.bulk({name: value for name, value in asked.items() if name != "dry_run"}), 403, MISSING, message)
    assert {balance["indicator"] for balance in keys.master.api.get("/balances")} == {"@World", "@Till", "@Shop"}
    for scope in ("balances:create_indicator", "balances:write"):
        assert keys.make(*POSTER, scope).api.post(**asked).status_code in (200, 201)
        asked["destination" if asked["source"] != "@New" else "source"] = asked.get("destination") and "@Newer"
        if asked["destination"] is None:
            break


def test_what_is_wrong_with_a_request_is_said_first(teller: Holder) -> None:
    refused(teller.api.post(amount=-1, destination="@New"), 400, "TXN_VALIDATION_ERROR")


@pytest.mark.parametrize(("status", "other"), [("commit", "void"), ("void", "commit")])
def test_a_hold_is_settled_with_the_right_of_the_status(keys: Keys, status: str, other: str) -> None:
    hold = keys.master.api.done(inflight=True)["transaction_id"]
    weak, strong = keys.make(f"transactions:{other}", "transactions:read"), keys.make(f"transactions:{status}")
    message = f"Insufficient permissions for transactions:{status}"
    for fields in ({}, {"dry_run": True}):
        refused(weak.api.settle(hold, status, **fields), 403, MISSING, message)
    bulk = f"POST /transactions/inflight/bulk/{status}"
    body = {"transactions": [{"transaction_id": hold}]} if status == "commit" else {"transaction_ids": [hold]}
    refused(weak.ask(bulk, json=body), 403, MISSING, message)
    ok(strong.api.settle(hold, status, dry_run=True), 200)
    ok(strong.ask(bulk, json=body), 200)


def test_a_refund_and_a_cancellation_need_their_rights(keys: Keys) -> None:
    paid = keys.master.api.done()["transaction_id"]
    planned = ok(keys.master.api.post(scheduled_for=later(days=1)), 201)["transaction_id"]
    poster = keys.make("transactions:post", "transactions:post_overdraft")
    for route, right in ((f"POST /refund-transaction/{paid}", "refund"), (f"DELETE /transactions/{planned}", "cancel")):
        refused(poster.ask(route), 403, MISSING, f"Insufficient permissions for transactions:{right}")
        assert keys.make(f"transactions:{right}").ask(route).status_code in (200, 201)


@pytest.mark.parametrize(
    ("kind", "right", "other"),
    [
        ("transaction", "transactions:write", "ledgers:write"),
        ("balance", "balances:write", "transactions:write"),
        ("ledger", "ledgers:write", "balances:write"),
    ],
)
def test_metadata_needs_the_right_of_its_thing_or_its_own(keys: Keys, kind: str, right: str, other: str) -> None:
    paid = keys.master.api.done()
    ids = {
        "transaction": paid["transaction_id"],
        "balance": keys.master.api.balance("@A")["balance_id"],
        "ledger": "general_ledger_id",
    }
    route, body = f"POST /{ids[kind]}/metadata", {"meta_data": {"a": 1}}
    refused(keys.make(other).ask(route, json=body), 403, MISSING, f"Insufficient permissions for {right}")
    for scope in (right, "metadata:write"):
        ok(keys.make(scope).ask(route, json=body), 200)


# Funding jobs


JOB = {
    "name": "Wallets",
    "source": "@Till",
    "currency": "USD",
    "precision": 100,
    "recipients": [{"destination": "@Shop", "precise_amount": 5}],
}


@pytest.mark.parametrize(
    "fields",
    [{"allow_overdraft": True}, {"overdraft_limit": 1}, {"allow_overdraft": True, "cron": "0 8 * * *", "timezone": "UTC"}],
)  # fmt: skip
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_job_that_overdraws_needs_the_right(
    keys: Keys, teller: Holder, fields: dict[str, Any], dry_run: bool
) -> None:
    funder = keys.make("funding:create")
    response = funder.ask("POST /funding-jobs", json={**JOB, **fields, "dry_run": dry_run})
    refused(response, 403, MISSING, "Insufficient permissions for transactions:post_overdraft")
    both = keys.make("funding:create", "transactions:post_overdraft")
    assert both.ask("POST /funding-jobs", json={**JOB, **fields, "dry_run": dry_run}).status_code in (200, 201)


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_job_with_a_new_name_needs_the_right(keys: Keys, teller: Holder, dry_run: bool) -> None:
    job = {**JOB, "recipients": [{"destination": "@New", "precise_amount": 5}], "dry_run": dry_run}
    response = keys.make("funding:create").ask("POST /funding-jobs", json=job)
    detail = refused(response, 403, MISSING, "Insufficient permissions for balances:create_indicator")
    assert detail["details"]["names"] == ["@New"]
    both = keys.make("funding:create", "balances:create_indicator")
    assert both.ask("POST /funding-jobs", json=job).status_code in (200, 201)


def test_the_rows_of_a_job_carry_the_key_that_asked_for_it(keys: Keys, teller: Holder, app: Flask) -> None:
    funder, operator = keys.make("funding:create"), keys.make("funding:control")
    job = ok(funder.ask("POST /funding-jobs", json=JOB), 201)
    engine = app.extensions["pacioli"].engine
    runs.advance(engine, for_s=60)
    ok(operator.ask(f"POST /funding-jobs/{job['job_id']}/run"), 201)
    runs.advance(engine, for_s=60)
    with reading(engine) as conn:
        rows = conn.execute(text("SELECT actor, part FROM log ORDER BY seq")).all()
    assert [tuple(row) for row in rows[2:]] == [(funder.key_id, "funding"), (operator.key_id, "funding")]
