"""The answers that the OpenAPI document shows are those that the service gives. ``--update-docs`` records them anew."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from flask import Flask, Response, request
from flask.testing import FlaskClient

from core.flows import rollups
from core.funding import runs
from core.identities.tokens import keyring_of
from core.webhooks.endpoints import Book
from core.webhooks.operator import Operator
from core.webhooks.signing import Safe
from tests.harness.api import Api, close, ok
from tests.harness.factories import Ledger
from tests.harness.key_ring import Keys
from tests.harness.keys import KEY
from tests.harness.pages import ROOT
from web.app import create_app

EXAMPLES = ROOT / "web" / "http" / "examples.json"

WITHOUT = {"funding.read_rejects", 
    "balances.link_identity",  # There are no identities yet.
    "docs.index", "docs.page", "docs.start", "docs.viewer", "openapi.document", "metrics.read",
    "balances.read_lineage",  # No balance tracks it.
    "funding.retry",  # It answers like funding.run.
    "funding.approve", "funding.refuse",  # They answer like funding.pause.
    "history.take",  # It needs a broker.
    "webhooks.delete",  # It answers nothing.
    "api-keys.revoke",  # It answers without a body.
}  # fmt: skip
"""Endpoints without an example."""


@pytest.fixture
def keys(database_url: str, app: Flask) -> Iterator[Keys]:
    """The keys of a service that has a master key, beside the one that has none."""
    with_key = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY})
    yield Keys(with_key)
    close(with_key)


@pytest.fixture
def recorded(app: Flask, keys: Keys) -> dict[str, Any]:
    """The first good JSON answer of each endpoint, by its name, from now on."""
    answers: dict[str, Any] = {}

    def record(response: Response) -> Response:
        if response.status_code < 300 and response.mimetype == "application/json" and request.endpoint:
            answers.setdefault(request.endpoint, response.get_json())
        return response

    app.after_request(record)
    keys.app.after_request(record)
    return answers


def test_the_document_shows_answers_as_the_service_gives_them(
    api: Api, ledger: Ledger, keys: Keys, recorded: dict[str, Any], pytestconfig: pytest.Config
) -> None:
    play(api, ledger)
    play_keys(keys)
    app = api.app
    routes = {rule.endpoint for rule in app.url_map.iter_rules()}
    assert routes - WITHOUT - recorded.keys() == set(), "the scenario does not call these"
    found = {name: shortened(answer) for name, answer in sorted(recorded.items()) if name not in WITHOUT}
    shapes = {name: shape(answer) for name, answer in found.items()}
    shown = json.loads(EXAMPLES.read_text())
    if pytestconfig.getoption("--update-docs") and {name: shape(answer) for name, answer in shown.items()} != shapes:
        EXAMPLES.write_text(json.dumps(found, indent=1) + "\n")
        shown = found
    assert {name: shape(answer) for name, answer in shown.items()} == shapes


def test_the_answers_that_the_document_shows_are_as_it_describes_them(client: FlaskClient) -> None:
    document = client.get("/openapi.json").get_json()
    shown = 0
    for operations in document["paths"].values():
        for operation in operations.values():
            for response in operation["responses"].values():
                content = response.get("content", {}).get("application/json", {})
                if "example" in content:
                    schema = {**content["schema"], "components": document["components"]}
                    jsonschema_rs.validate(schema, content["example"])
                    shown += 1
    assert shown == len(json.loads(EXAMPLES.read_text()))


def play(api: Api, ledger: Ledger) -> None:
    """Call every endpoint once with something that it can answer."""

    def call(method: str, path: str, body: Any = None) -> Any:
        response = api.client.open(path, method=method, json=body)
        assert response.status_code < 300, (method, path, response.get_json())
        ledger.drain()
        return response.get_json()

    def post(reference: str, **more: Any) -> Any:
        body = {
            "amount": 12.5, "precision": 100, "currency": "USD", "reference": reference, "source": "@FundingPool",
            "destination": "@Shop", "description": "Order 1", "allow_overdraft": True,
        }  # fmt: skip
        return call("POST", "/transactions", body | more)

    for path in ("/health", "/health/live", "/health/ready", "/queues", "/parts", "/verify"):
        call("GET", path)
    home = call("POST", "/ledgers", {"name": "Customers", "meta_data": {"region": "EU"}})["ledger_id"]
    call("GET", f"/ledgers/{home}")
    call("PUT", f"/ledgers/{home}", {"name": "Customers"})
    balance = call("POST", "/balances", {"ledger_id": home, "currency": "USD"})["balance_id"]
    condition = {"field": "available_balance", "operator": "<", "value": 100.5, "precision": 100}
    watched = {"balance_id": balance, "condition": condition, "description": "The pool runs low"}
    monitor = call("POST", "/balance-monitors", watched)["monitor_id"]
    call("GET", f"/balance-monitors/{monitor}")
    call("GET", "/balance-monitors?limit=1")
    call("GET", f"/balance-monitors/balances/{balance}")
    call("PUT", f"/balance-monitors/{monitor}", {**watched, "hysteresis": 10})
    call("GET", f"/balance-monitors/{monitor}/events")
    call("DELETE", f"/balance-monitors/{monitor}")
    api.app.extensions["pacioli"].keyring = keyring_of("a secret of the example 123456789")
    person = {"identity_type": "individual", "first_name": "Ada", "email_address": "ada@example.com"}
    identity = call("POST", "/identities", person)["identity_id"]
    call("GET", f"/identities/{identity}")
    call("GET", "/identities?limit=1")
    call("POST", "/identities/filter", {"filters": [], "limit": 1})
    call("PUT", f"/identities/{identity}", {"city": "London"})
    call("PUT", f"/balances/{balance}/identity", {"identity_id": identity})
    call("POST", f"/identities/{identity}/tokenize/FirstName")
    call("POST", f"/identities/{identity}/tokenize", {"fields": ["EmailAddress"]})
    call("GET", f"/identities/{identity}/tokenized-fields")
    call("GET", f"/identities/{identity}/detokenize/FirstName")
    call("POST", f"/identities/{identity}/detokenize", {"fields": ["EmailAddress"]})
    call("POST", f"/identities/{identity}/erase")
    call("PUT", f"/balances/{balance}/identity", {"identity_id": None})
    call("DELETE", f"/identities/{identity}")
    paid = post("order-1", destination=balance)["transaction_id"]
    call("GET", f"/transactions/{paid}")
    call("GET", "/transactions/reference/order-1")
    call("GET", f"/transactions/{paid}/lineage")
    call("GET", f"/transactions/{paid}/receipt")
    call("GET", f"/balances/{balance}/statement/receipt?limit=1")
    call("POST", f"/refund-transaction/{paid}", {"amount": 2.5})
    call("POST", f"/{paid}/metadata", {"meta_data": {"order": 1}})
    one = {
        "amount": 5, "precision": 100, "currency": "USD", "reference": "batch-1", "source": "@FundingPool",
        "destination": balance, "description": "Tip", "allow_overdraft": True,
    }  # fmt: skip
    call("POST", "/transactions/bulk", {"transactions": [one]})
    holds = [post(f"hold-{n}", inflight=True)["transaction_id"] for n in range(3)]
    call("PUT", f"/transactions/inflight/{holds[0]}", {"status": "commit", "amount": 5})
    call("POST", "/transactions/inflight/bulk/commit", {"transactions": [{"transaction_id": holds[1]}]})
    call("POST", "/transactions/inflight/bulk/void", {"transaction_ids": [holds[2]]})
    later = post("later-1", scheduled_for="2099-01-01T08:00:00Z")["transaction_id"]
    call("DELETE", f"/transactions/{later}")
    call("POST", "/transactions/recover")
    call("GET", "/events?limit=1&types=transaction.inflight")
    api.app.extensions["pacioli"].webhooks = Book(safe=Safe(b"a pepper"), operator=Operator())
    webhook = call("POST", "/webhooks", {"url": "https://hooks.invalid/ledger", "events": ["transaction.*"]})[
        "webhook_id"
    ]
    call("GET", "/webhooks")
    call("GET", f"/webhooks/{webhook}")
    call("PUT", f"/webhooks/{webhook}", {"description": "the warehouse"})
    call("GET", f"/webhooks/{webhook}/deliveries")
    call("POST", f"/webhooks/{webhook}/replay", {"from": "0.0"})
    call("POST", f"/webhooks/{webhook}/rotate")
    call("POST", f"/webhooks/{webhook}/test")
    call("DELETE", f"/webhooks/{webhook}")
    told = {
        "name": "posted", "url": "https://hooks.invalid/posted", "type": "POST_TRANSACTION", "active": True,
        "timeout": 30, "retry_count": 3,
    }  # fmt: skip
    hook = call("POST", "/hooks", told)["id"]
    call("GET", "/hooks")
    call("GET", f"/hooks/{hook}")
    call("PUT", f"/hooks/{hook}", {**told, "active": False})
    call("DELETE", f"/hooks/{hook}")
    call("GET", "/audit?limit=1&action=ledger.created")
    call(
        "POST",
        "/audit/filter",
        {"filters": [{"field": "action", "operator": "eq", "value": "ledger.created"}], "limit": 1},
    )
    for name in ("transactions", "balances", "ledgers"):
        call("GET", f"/{name}?limit=1")
        call("POST", f"/{name}/filter", {"filters": [], "limit": 1})
    call("PUT", f"/balances/{balance}/limits", {"floor": -50000, "frozen": "debits", "reason": "court order 7"})
    call("GET", f"/balances/{balance}/limits")
    call("PUT", f"/balances/{balance}/limits", {"floor": -50000})
    call("GET", f"/balances/{balance}")
    call("GET", "/balances/indicator/@Shop/currency/USD")
    call("GET", f"/balances/{balance}/entries")
    call("GET", f"/balances/{balance}/statement?from=2026-01-01T00:00:00Z")
    call("GET", "/books")
    call("GET", "/currencies")
    call("PUT", "/currencies/JPY", {"precision": 1})
    rollups.add_new(ledger.engine)
    call("GET", "/flows")
    call("GET", f"/flows/{home}")
    call("GET", "/activity?from=2026-01-01T00:00:00Z&to=2026-01-01T00:01:00Z")
    call("GET", f"/balances/{balance}/at?timestamp=2099-01-01T00:00:00Z")
    recipients = [{"destination": balance, "amount": 25}, {"destination": "@Bonus", "precise_amount": 2500}]
    terms = {"source": "@FundingPool", "currency": "USD", "precision": 100, "allow_overdraft": True}
    job = call("POST", "/funding-jobs", {"name": "Welcome", "reference": "welcome", "recipients": recipients, **terms})
    runs.advance(ledger.engine, for_s=60)
    ledger.drain()
    path = f"/funding-jobs/{job['job_id']}"
    call("GET", "/funding-jobs")
    call("GET", "/funding-jobs/reference/welcome")
    call("GET", path)
    call("GET", f"{path}/runs")
    run = call("GET", f"{path}/runs/{job['run']['run_id']}")["run_id"]
    call("GET", f"{path}/runs/{run}/rows")
    again = {"name": "Again", "cron": "0 8 * * *", "recipients": recipients, **terms}
    daily = call("POST", "/funding-jobs", again)["job_id"]
    call("POST", f"/funding-jobs/{daily}/pause")
    call("POST", f"/funding-jobs/{daily}/resume")
    call("POST", f"/funding-jobs/{daily}/run", {"reference": "extra"})
    call("POST", f"/funding-jobs/{daily}/cancel")


def play_keys(keys: Keys) -> None:
    """Call the endpoints of keys."""
    key = keys.make("transactions:post", "balances:read", reach={"indicators": ["@Till"], "largest_amount": 500})
    ok(keys.master.ask(f"POST /api-keys/{key.key_id}/rotate", json={"overlap_s": 600}), 201)
    assert keys.list()


def shortened(answer: Any) -> Any:
    """A list of alike things with its first two. A secret key is cut."""
    if isinstance(answer, dict):
        return {
            name: f"{value[:12]}..." if name == "key" and value else shortened(value) for name, value in answer.items()
        }
    return [shortened(value) for value in answer[:2]] if isinstance(answer, list) else answer


def shape(answer: Any) -> Any:
    """Fields and types, without the values that differ from one time to the next."""
    if isinstance(answer, dict):
        return {name: shape(value) for name, value in answer.items()}
    if isinstance(answer, list):
        return [shape(value) for value in answer]
    return type(answer).__name__
