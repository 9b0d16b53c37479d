"""The application does what its OpenAPI document says, whatever a client makes of the document."""

import copy
import itertools
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from types import SimpleNamespace
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import assume, given
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy import Engine

from core.funding import runs
from core.funding.progress import Progress
from core.keys.secret import is_well_formed
from tests.harness.api import close
from tests.harness.key_ring import later
from tests.harness.keys import HEADERS, KEY
from tests.harness.saved import MadeOnce
from tests.harness.searching import search
from web.accept.doorbell import Doorbell
from web.app import create_app
from web.http import operations, parameters
from web.http.operations import JSON

AS_DESCRIBED = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 20
"""The number of well-formed, and of malformed, requests for each operation."""

PERSON = "idt_01928ee1-7e5a-7000-8000-000000000000"
"""The ID of an identity that is there."""

GOOD_BODIES: dict[str, dict[str, Any]] = {
    "refunds.refund": {"precise_amount": 1},
    "funding.retry": {"only": "rejected"},
    "balances.link_identity": {"identity_id": PERSON},
    "identities.update": {"city": "London"},
    "webhooks.update": {"description": "the warehouse"},
    "webhooks.replay": {"from": "0.0"},
    "identities.tokenize": {"fields": ["LastName"]},
    "identities.detokenize": {"fields": []},
}
"""Bodies of operations whose example in the document is about what is not there here."""

GOOD_QUERIES = {"api-keys.read_all": {"owner": "shop"}}
"""The parameters of a query beside those that are required of everybody."""

ONE_BY_ONE = {"/transactions/inflight/bulk/commit", "/transactions/inflight/bulk/void"}
"""Paths where a bad item fails by itself, in an answer 200 that says so."""

TOKENIZATION_SECRET = "3b6f1c0e9d2a47c58e0f71a2b3c4d5e6"

_numbers = itertools.count(1)


_made = MadeOnce()


@pytest.fixture
def app(database_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """The application in this process: nothing is decided but by skip_queue, and no wait is long."""
    _made.restore(engine)
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    monkeypatch.setattr(Doorbell, "wake", lambda self, task: None)
    monkeypatch.setattr(Doorbell, "send", lambda self, task, *arguments: None)
    monkeypatch.setattr(parameters, "MAX_WAIT_S", 0.01)
    settings = {"PACIOLI_TOKENIZATION_SECRET": TOKENIZATION_SECRET, "PACIOLI_APPROVE_ABOVE": "USD:3"}
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY, **settings})
    inner = app.wsgi_app

    def known(environ: dict[str, Any], start: Any) -> Any:
        """Say an address, and the master key in place of one that Schemathesis makes up. It leaves the key out too."""
        given = environ.get("HTTP_X_BLNK_KEY")
        is_generated = "schemathesis" in environ.get("HTTP_USER_AGENT", "")
        if not is_well_formed(given or "") and not (is_generated and given is None):
            environ = {**environ, "HTTP_X_BLNK_KEY": KEY}
        return inner({**environ, "REMOTE_ADDR": "127.0.0.1"}, start)

    app.wsgi_app = known  # type: ignore[method-assign]
    _ROUTES.wsgi_app = known  # type: ignore[method-assign]
    yield app
    close(app)


@pytest.fixture
def there(app: Flask) -> dict[str, str]:
    """A value for each path parameter, by its name, as data made from the document alone would find nothing.

    An operation that needs a transaction in another state than the others do has an entry by its own name.
    """
    return _made.ids(app.extensions["pacioli"].engine, lambda: _there(app))


def _there(app: Flask) -> dict[str, str]:
    client = app.test_client()
    job = _job_with_a_rejected_row(app)
    keys = [_new_key(app, owner) for owner in ("shop", "rotated", "revoked")]
    large = [
        client.post("/funding-jobs", json=_large_job(), headers={"X-Blnk-Key": keys[0]["key"]}).get_json()
        for _ in range(2)
    ]
    large = [client.get(f"/funding-jobs/{each['job_id']}").get_json() for each in large]
    person = {"first_name": "Ada", "last_name": "L."}
    people = [client.post("/identities", json=person).get_json()["identity_id"] for _ in range(4)]
    client.post("/identities", json={**person, "identity_id": PERSON})
    client.post(f"/identities/{people[0]}/tokenize/FirstName")
    told = {"url": "https://hooks.invalid/", "type": "POST_TRANSACTION"}
    hooks = [client.post("/hooks", json=told).get_json()["id"] for _ in range(2)]
    webhooks = [client.post("/webhooks", json={"url": told["url"]}).get_json()["webhook_id"] for _ in range(2)]
    body = {"precise_amount": 5, "precision": 100, "currency": "USD", "description": "d"}
    paid = {**body, "source": "@World", "destination": "@A", "allow_overdraft": True, "skip_queue": True}
    short = {**body, "source": "@B", "destination": "@A"}
    transactions = [
        client.post("/transactions", json=asked).get_json()
        for asked in (
            {**paid, "reference": "paid", "meta_data": {"a": 1.5}},
            {**paid, "reference": "held", "inflight": True},
            {**short, "reference": "short", "skip_queue": True},
            {**short, "reference": "queued", "effective_date": "2020-01-01T00:00:00Z", "overdraft_limit": 0.5},
            {**short, "reference": "scheduled", "scheduled_for": "2999-01-01T00:00:00Z"},
        )
    ]
    balance = client.get("/balances").get_json()[0]["balance_id"]
    condition = {"field": "balance", "operator": "<", "value": 0}
    monitors = [
        client.post("/balance-monitors", json={"balance_id": balance, "condition": condition}).get_json()["monitor_id"]
        for _ in range(2)
    ]
    return {
        "monitor_id": monitors[0],
        "monitors.delete": monitors[1],
        "monitors.create.body": json.dumps({"balance_id": balance, "condition": condition}),
        "monitors.update.body": json.dumps({"balance_id": balance, "condition": condition}),
        "job_id": job["job_id"],
        "run_id": job["run"]["run_id"],
        "funding.read_reference": job["reference"],
        "funding.cancel": client.post("/funding-jobs", json=_good_job()).get_json()["job_id"],
        "funding.approve": large[0]["job_id"],
        "funding.approve.body": json.dumps({"digest": large[0]["approval"]["digest"]}),
        "funding.refuse": large[1]["job_id"],
        "key_id": keys[1]["api_key_id"],
        "api-keys.revoke": keys[2]["api_key_id"],
        "hook_id": hooks[0],
        "hooks.delete": hooks[1],
        "webhook_id": webhooks[0],
        "webhooks.delete": webhooks[1],
        "identity_id": PERSON,
        "field": "FirstName",
        "identities.detokenize_field.identity_id": people[0],
        "identities.detokenize.identity_id": people[0],
        "identities.delete": people[1],
        "identities.erase": people[2],
        "identities.tokenize_field.identity_id": people[3],
        "transaction_id": transactions[1]["transaction_id"],
        "refunds.refund": transactions[0]["transaction_id"],
        "transactions.cancel": transactions[4]["transaction_id"],
        "reference": "short",
        "balance_id": transactions[0]["source"],
        "indicator": "@A",
        "currency": "USD",
        "ledger_id": "general_ledger_id",
        "node_id": "general_ledger_id",
        "entity_id": transactions[0]["transaction_id"],
    }


def _routes() -> Flask:
    """The application with its routes alone: nothing is connected and no thread is started."""
    with pytest.MonkeyPatch.context() as patch:
        bare = SimpleNamespace(
            engine=None,
            secret_key=None,
            allowed_hosts=frozenset(),
            trusted_proxies=(),
            rate=None,
            ring=None,
            access_log=False,
        )
        patch.setattr("web.app.start", lambda environ: bare)
        return create_app({})


_ROUTES = _routes()
OPERATIONS = sorted({rule.endpoint for rule in _ROUTES.url_map.iter_rules()} - {"openapi.document"})
"""Schemathesis leaves out the document itself."""
TAKE_A_BODY = [name for name in OPERATIONS if operations.of_view(_ROUTES.view_functions[name]).body is not None]


@cache
def _operations() -> dict[str, Any]:
    """Return all operations of the document by their names, for the tests of this process.

    The document of one application is that of all. Schemathesis takes values from the code of the views, so it gets an
    application that has them, and hands each request to that of the test that runs.
    """
    document = schemathesis.openapi.from_wsgi("/openapi.json", _ROUTES)
    found = [result.ok() for result in document.get_all_operations()]
    named = [(operation.definition.raw["operationId"], operation) for operation in found]  # type: ignore[union-attr]
    assert len(dict(named)) == len(named)
    return dict(named)


def test_every_operation_is_looked_at(app: Flask) -> None:
    assert _operations().keys() == set(OPERATIONS)
    assert len(TAKE_A_BODY) > 10


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_is_well_formed_is_answered_as_described(app: Flask, there: dict[str, str], name: str) -> None:
    operation = _operations()[name]
    good = _good_statuses(operation)
    # An operation without a good answer has nothing yet that it could succeed with.
    if good:
        assert _acceptable_case(operation, there).call_and_validate(checks=AS_DESCRIBED).status_code in good

    @search(EXAMPLES)
    @given(case=operation.as_strategy(GenerationMode.POSITIVE), are_known=st.booleans(), is_acceptable=st.booleans())
    def run(case: "Case[Any]", are_known: bool, is_acceptable: bool) -> None:
        if are_known:
            case.path_parameters = _known(operation, there)
        if is_acceptable:
            _make_acceptable(case.body)
        case.call_and_validate(checks=AS_DESCRIBED)

    run()


# An operation without a body takes any text for an id, and Blnk's default for a limit that is none.
@pytest.mark.parametrize("name", TAKE_A_BODY)
def test_what_is_malformed_is_refused_as_described(app: Flask, there: dict[str, str], name: str) -> None:
    operation = _operations()[name]
    refuses = operation.path not in ONE_BY_ONE
    checks = [*AS_DESCRIBED, negative_data_rejection] if refuses else AS_DESCRIBED

    @search(EXAMPLES)
    @given(case=operation.as_strategy(GenerationMode.NEGATIVE), are_known=st.booleans())
    def run(case: "Case[Any]", are_known: bool) -> None:
        if are_known:
            case.path_parameters = _known(operation, there)
        body = case.meta.components.get(ParameterLocation.BODY) if case.meta is not None else None
        # A good body comes in this mode too, with a query that is wrong.
        has_bad_body = body is not None and body.mode is GenerationMode.NEGATIVE
        assume(not (has_bad_body and _is_good(operation, case)))
        status = case.call_and_validate(checks=checks).status_code
        assert not (refuses and has_bad_body and status in _good_statuses(operation))

    run()


def _good_statuses(operation: Any) -> set[int]:
    return {200, 201, 204} & set(map(int, operation.definition.raw["responses"]))


def _known(operation: Any, there: dict[str, str]) -> dict[str, str]:
    """Return path parameters that name something that is there."""
    name = operation.definition.raw["operationId"]
    own = there.get(name)
    return {
        each.name: there.get(f"{name}.{each.name}") or own or there[each.name] for each in operation.path_parameters
    }


def _acceptable_case(operation: Any, there: dict[str, str]) -> "Case[Any]":
    """Return a request that must succeed: the example of the document, about something that is there."""
    raw = operation.definition.raw
    query = {
        each["name"]: each["example"] for each in raw["parameters"] if each.get("required") and each["in"] == "query"
    }
    query |= GOOD_QUERIES.get(raw["operationId"], {})
    if "requestBody" not in raw:
        return operation.Case(  # type: ignore[no-any-return]
            path_parameters=_known(operation, there), query=query, headers=HEADERS
        )
    name = raw["operationId"]
    example = raw["requestBody"]["content"][JSON]["example"]
    body = json.loads(there.get(f"{name}.body", "null")) or GOOD_BODIES.get(name) or copy.deepcopy(example)
    _make_acceptable(body)
    return operation.Case(  # type: ignore[no-any-return]
        path_parameters=_known(operation, there), query=query, body=body, media_type=JSON, headers=HEADERS
    )


AS_BLNK = ("limit", "offset", "page")
"""Numbers that Blnk's lists replace by their default when they cannot be read, which its clients rely on."""


def test_a_wrong_value_of_a_parameter_is_refused_by_its_name(app: Flask, there: dict[str, str]) -> None:
    client, document = app.test_client(), app.test_client().get("/openapi.json").get_json()
    checked = set()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            names = {**there, **({"id": there[name]} if (name := operation["operationId"]) in there else {})}
            for one in (each for each in operation["parameters"] if each["in"] == "query"):
                schema = one["schema"].get("items", one["schema"])
                is_text = not schema.keys() & {"enum", "format", "pattern"} and schema["type"] == "string"
                if is_text or "contentMediaType" in schema or one["name"] in AS_BLNK:
                    continue
                at = re.sub("{([^}]*)}", lambda part, names=names: names.get("id", names.get(part[1], "x")), path)
                for wrong in ("no_such", "true,false"):
                    query = {one["name"]: wrong} | ({"owner": "shop"} if path == "/api-keys" else {})
                    answer = client.open(at, method=method.upper(), query_string=query)
                    assert answer.status_code == 400, (method, at, query, answer.text)
                    if method in ("get", "delete"):  # A body may be wrong too, and is read first.
                        assert one["name"] in answer.get_json()["error_detail"]["message"], (method, at, answer.text)
                checked.add(one["name"])
    assert {"include", "with_queued", "wait", "from", "status", "step", "sort_by", "basis"} <= checked


_WRONG_PLACES = {
    "after": ("nonsense", "x_1", "-1", "1e3", "bln_nonsense", "0x10"),
    "limit": ("0", "-1", "1.5", "x"),
    "offset": ("-1", "1.5", "x"),
}
_REPLACED = ("/transactions", "/identities")
"""Lists whose limit and offset Blnk replaces when they cannot be read, which its clients rely on."""


@pytest.mark.parametrize("name", _WRONG_PLACES)
def test_no_list_takes_a_wrong_place_for_its_end(app: Flask, there: dict[str, str], name: str) -> None:
    client, tried = app.test_client(), 0
    for path, at in _reads_that_take(client, there, {name}):
        if name != "after" and path in _REPLACED:
            continue
        for wrong in _WRONG_PLACES[name]:
            answer = client.get(at, query_string=_owned(path) | {name: wrong})
            assert answer.status_code == 400, (at, wrong, answer.text)
            detail = answer.get_json()["error_detail"]
            assert name in detail["message"], (at, wrong, answer.text)
            assert "must be" in f"{detail['message']}{detail.get('details')}", (at, wrong, answer.text)
        tried += 1
    assert tried >= (5 if name == "offset" else 14)


def test_no_read_takes_a_period_that_ends_before_it_begins(app: Flask, there: dict[str, str]) -> None:
    client, tried = app.test_client(), 0
    for path, at in _reads_that_take(client, there, {"from", "to"}):
        reversed_times = {"from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}
        answer = client.get(at, query_string=_owned(path) | reversed_times)
        assert answer.status_code == 400, (at, answer.text)
        assert "before" in answer.get_json()["error_detail"]["message"], (at, answer.text)
        tried += 1
    assert tried >= 6


def _reads_that_take(client: FlaskClient, there: dict[str, str], names: set[str]) -> Iterator[tuple[str, str]]:
    """Yield the path of each GET that takes these parameters, and an address of something that is there."""
    for path, methods in client.get("/openapi.json").get_json()["paths"].items():
        operation = methods.get("get")
        if operation is not None and names <= {each["name"] for each in operation["parameters"]}:
            known = {**there, **({"id": there[id]} if (id := operation["operationId"]) in there else {})}
            yield path, re.sub("{([^}]*)}", lambda part, known=known: known.get("id", known.get(part[1], "x")), path)


def _owned(path: str) -> dict[str, str]:
    return {"owner": "shop"} if path == "/api-keys" else {}


_LEFT_OUT = (
    *("sources", "destinations", "amount", "precision", "overdraft_limit", "status", "dry_run", "scheduled_for"),
    *("inflight_expiry_date", "inflight_commit_date", "meta_data"),
)


def _is_good(operation: Any, case: "Case[Any]") -> bool:
    """Return whether a body that was to be wrong came out right, such as a null made a number where either may be."""
    if case.media_type != "application/json" or isinstance(case.body, bytes):
        return False
    document = operation.schema.raw_schema
    schema = document["paths"][operation.path][operation.method]["requestBody"]["content"][case.media_type]["schema"]
    return jsonschema_rs.is_valid({**schema, "components": document["components"]}, case.body)


def _job() -> dict[str, Any]:
    """A job without recipients."""
    return {"name": f"made {next(_numbers)}", "source": "@World", "currency": "USD", "allow_overdraft": True}


def _large_job() -> dict[str, Any]:
    """A job that waits for an approval."""
    return {**_job(), "again": True, "recipients": [{"destination": "@A", "amount": "5"}]}


def _new_key(app: Flask, owner: str) -> dict[str, Any]:
    asked = {"name": owner, "owner": owner, "scopes": ["*:*"], "expires_at": later(days=90)}
    response = app.test_client().post("/api-keys", json=asked)
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.get_json()
    return made


def _good_job() -> dict[str, Any]:
    return {**_job(), "again": True, "recipients": [{"destination": "@A", "amount": "0.05"}]}


def _job_with_a_rejected_row(app: Flask) -> dict[str, Any]:
    """Create a job whose money is gone before its first row is posted, so that a retry has something to do."""
    client, engine = app.test_client(), app.extensions["pacioli"].engine
    fund = {"precise_amount": 5, "precision": 100, "currency": "USD", "description": "d", "skip_queue": True}
    spend = {**fund, "source": "@Pool", "destination": "@World", "reference": "spent"}
    fund |= {"source": "@World", "destination": "@Pool", "reference": "funded", "allow_overdraft": True}
    assert client.post("/transactions", json=fund).status_code == 201
    asked = {**_good_job(), "source": "@Pool", "allow_overdraft": False}
    job: dict[str, Any] = client.post("/funding-jobs", json=asked).get_json()
    run = f"/funding-jobs/{job['job_id']}/runs/{job['run']['run_id']}"
    progress = Progress()
    while client.get(run).get_json()["started_at"] is None:
        assert runs.step(engine, datetime.now(UTC), progress)
    assert client.post("/transactions", json=spend).status_code == 201
    while runs.advance(engine).more:
        pass
    assert client.get(run).get_json()["rows_rejected"] == 1
    return job


def _make_acceptable(body: Any) -> None:
    """Put names that exist and a small amount into a body, so that it succeeds more often than not."""
    if not isinstance(body, dict):
        return
    if "job" in body:
        body |= {"job": json.dumps(_job()), "recipients": b"destination,amount\n@A,1\n"}
        return
    if "name" in body and "source" in body:
        body.clear()
        body |= _good_job()
        return
    body.pop("dry_run", None)
    for item in body.get("transactions", [body]):
        if "source" in item or "sources" in item:
            for name in _LEFT_OUT:
                item.pop(name, None)
            item |= {"source": "@World", "destination": "@A", "currency": "USD", "precise_amount": 1, "precision": 100}
            item |= {"reference": f"made {next(_numbers)}", "description": "d"}
            item["allow_overdraft"] = not item.get("inflight")
        elif "ledger_id" in item:
            item |= {"ledger_id": "general_ledger_id", "currency": "EUR"}
        elif "status" in item:
            item |= {"status": "commit", "precise_amount": 1}
