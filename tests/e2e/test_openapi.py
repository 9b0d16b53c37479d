"""The application does what its OpenAPI document says, whatever a client makes of the document."""

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, assume, given, settings
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

from core.funding import runs
from web.accept.doorbell import Doorbell
from web.app import create_app
from web.http import parameters

AS_DESCRIBED = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 40
"""For each operation, well-formed and again malformed."""


ONE_BY_ONE = {"/transactions/inflight/bulk/commit", "/transactions/inflight/bulk/void"}
"""Where a bad item fails by itself, in an answer 200 that says so."""

_numbers = itertools.count(1)


@pytest.fixture
def app(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """The application in this process: nothing is decided but by skip_queue, and no wait is long."""
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    monkeypatch.setattr(Doorbell, "wake", lambda self, task: None)
    monkeypatch.setattr(Doorbell, "send", lambda self, task, *arguments: None)
    monkeypatch.setattr(parameters, "MAX_WAIT_S", 0.01)
    app = create_app({"DATABASE_URL": database_url})
    yield app
    app.extensions["pacioli"].engine.dispose()


@pytest.fixture
def there(app: Flask) -> dict[str, str]:
    """What path parameters may name, for data made from the document alone would find nothing: one in each state.

    By name; or by operation, where that needs a transaction in another state than the others do.
    """
    client = app.test_client()
    job = _job_with_a_rejected_row(app)
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
    return {
        "job_id": job["job_id"],
        "run_id": job["run"]["run_id"],
        "funding.read_reference": job["reference"],
        "funding.cancel": client.post("/funding-jobs", json=_good_job()).get_json()["job_id"],
        "transaction_id": transactions[1]["transaction_id"],
        "refunds.refund": transactions[0]["transaction_id"],
        "transactions.cancel": transactions[4]["transaction_id"],
        "reference": "short",
        "balance_id": transactions[0]["source"],
        "indicator": "@A",
        "currency": "USD",
        "ledger_id": "general_ledger_id",
        "entity_id": transactions[0]["transaction_id"],
    }


@pytest.mark.parametrize("mode", GenerationMode)
def test_answers_are_as_described(
    app: Flask, there: dict[str, str], subtests: pytest.Subtests, mode: GenerationMode
) -> None:
    document = schemathesis.openapi.from_wsgi("/openapi.json", app)
    operations: list[Any] = [result.ok() for result in document.get_all_operations()]  # type: ignore[union-attr]
    assert len(operations) > 15
    for operation in operations:
        checks = list(AS_DESCRIBED)
        if mode is GenerationMode.NEGATIVE:
            if not operation.body:
                continue  # Any text is an id, and lists take Blnk's defaults for a limit that is none.
            if operation.path not in ONE_BY_ONE:
                checks.append(negative_data_rejection)
        with subtests.test(operation.label):
            seen = _run(operation, mode, checks, there)
            good = {200, 201} & set(map(int, operation.definition.raw["responses"]))
            # Without any, there is nothing yet that it could succeed with.
            if good and (mode is GenerationMode.POSITIVE or operation.path not in ONE_BY_ONE):
                assert (mode is GenerationMode.NEGATIVE) != bool(seen & good), "only one kind of answer was looked at"


def _run(operation: Any, mode: GenerationMode, checks: list[Any], there: dict[str, str]) -> set[int]:
    """The statuses that were answered."""
    seen = set()

    @settings(
        max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(mode), data=st.data())
    def run(case: "Case[Any]", data: st.DataObject) -> None:
        are_known, is_acceptable = data.draw(st.tuples(st.booleans(), st.booleans()))
        if case.path_parameters and are_known:
            own = there.get(operation.definition.raw["operationId"])
            case.path_parameters = {name: own or there[name] for name in case.path_parameters}
        if mode is GenerationMode.POSITIVE and is_acceptable:
            _make_acceptable(case.body)
        body = case.meta.components.get(ParameterLocation.BODY) if case.meta is not None else None
        if mode is GenerationMode.NEGATIVE and body is not None and body.mode is mode:
            assume(not _is_good(operation, case))
        status = case.call_and_validate(checks=checks).status_code
        # A good body comes in this mode too, with a query that is wrong.
        if mode is GenerationMode.POSITIVE or (body is not None and body.mode is mode):
            seen.add(status)

    run()
    return seen


_LEFT_OUT = (
    *("sources", "destinations", "amount", "precision", "overdraft_limit", "status", "dry_run", "scheduled_for"),
    *("inflight_expiry_date", "inflight_commit_date", "meta_data"),
)


def _is_good(operation: Any, case: "Case[Any]") -> bool:
    """Whether a body that was to be wrong came out right: a null made a number, where either may be."""
    if case.media_type != "application/json" or isinstance(case.body, bytes):
        return False
    document = operation.schema.raw_schema
    schema = document["paths"][operation.path][operation.method]["requestBody"]["content"][case.media_type]["schema"]
    return jsonschema_rs.is_valid({**schema, "components": document["components"]}, case.body)


def _job() -> dict[str, Any]:
    """A job without recipients."""
    return {"name": f"made {next(_numbers)}", "source": "@World", "currency": "USD", "allow_overdraft": True}


def _good_job() -> dict[str, Any]:
    return {**_job(), "recipients": [{"destination": "@A", "amount": "0.05"}]}


def _job_with_a_rejected_row(app: Flask) -> dict[str, Any]:
    """What its run was to spend is gone before the first row is posted, so there is something to retry."""
    client, engine = app.test_client(), app.extensions["pacioli"].engine
    fund = {"precise_amount": 5, "precision": 100, "currency": "USD", "description": "d", "skip_queue": True}
    spend = {**fund, "source": "@Pool", "destination": "@World", "reference": "spent"}
    fund |= {"source": "@World", "destination": "@Pool", "reference": "funded", "allow_overdraft": True}
    assert client.post("/transactions", json=fund).status_code == 201
    asked = {**_good_job(), "source": "@Pool", "allow_overdraft": False}
    job: dict[str, Any] = client.post("/funding-jobs", json=asked).get_json()
    run = f"/funding-jobs/{job['job_id']}/runs/{job['run']['run_id']}"
    progress = runs.Progress()
    while client.get(run).get_json()["started_at"] is None:
        assert runs.step(engine, datetime.now(UTC), progress)
    assert client.post("/transactions", json=spend).status_code == 201
    while runs.advance(engine).more:
        pass
    assert client.get(run).get_json()["rows_rejected"] == 1
    return job


def _make_acceptable(body: Any) -> None:
    """Names that exist, and one amount, so that more than the refusals is looked at."""
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
