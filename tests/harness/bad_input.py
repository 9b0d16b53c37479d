"""Sends bad input and checks the answer."""

import itertools
import json
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from core.base.db import driver, reading
from core.funding.requests import RunRequest
from core.ledger.rules.requests import (
    BulkCommitRequest,
    BulkRequest,
    BulkSettlement,
    BulkVoidRequest,
    RefundRequest,
    SettleRequest,
    TransactionRequest,
)
from tests.harness.junk import Target, good_job, good_transaction
from web.http.errors import STATUS
from web.service import Service

_references = itertools.count(1)


def encode(fields: dict[str, Any]) -> dict[str, bytes]:
    return {name: json.dumps(value).encode() for name, value in fields.items()}


def object_of(fields: dict[str, bytes]) -> bytes:
    """Write an object whose values are JSON already, or are meant to be no JSON."""
    return b"{" + b", ".join(json.dumps(name).encode() + b": " + value for name, value in fields.items()) + b"}"


def post(client: FlaskClient, fields: dict[str, Any]) -> TestResponse:
    return client.post("/transactions", json={"reference": f"good {next(_references)}", **fields})


def status_of(app: Flask, fields: dict[str, Any]) -> int:
    return post(app.test_client(), fields).status_code


def prepare(client: FlaskClient, target: Target) -> tuple[str, dict[str, bytes]]:
    """Return the path, and a body that is good once. A new hold is made if the body names one."""
    fields = encode(target.good)
    if target.struct is TransactionRequest:
        fields["reference"] = f'"good {next(_references)}"'.encode()
    if target.struct is BulkRequest:
        fields = encode({"transactions": [{**good_transaction(), "reference": f"good {next(_references)}"}]})
    if target.struct in (SettleRequest, BulkCommitRequest, BulkSettlement, BulkVoidRequest):
        hold = new_transaction(client, inflight=True)
        item = {"transaction_id": hold}
        if target.struct is not SettleRequest:
            items = {"transactions": [item], "transaction_ids": [hold]}
            fields = encode(item if target.struct is BulkSettlement else {target.required: items[target.required]})
        return target.path.format(hold=hold), fields
    if target.struct is RunRequest:
        return target.path.format(
            job=client.post("/funding-jobs", json={**good_job(), "again": True}).get_json()["job_id"]
        ), fields
    return target.path.format(
        applied=new_transaction(client)
    ) if target.struct is RefundRequest else target.path, fields


def new_transaction(client: FlaskClient, **fields: Any) -> str:
    """The id of a transaction that is applied, or held, for 10,000.00."""
    done = post(client, {**good_transaction(), "precise_amount": 10**6, "skip_queue": True, **fields})
    assert done.status_code == 201
    transaction_id: str = done.get_json()["transaction_id"]
    return transaction_id


def send(client: FlaskClient, target: Target, path: str, body: bytes) -> TestResponse:
    data = target.around[0] + body + target.around[1]
    return client.open(path, method=target.method, data=data, content_type="application/json")


def assert_refused(response: TestResponse, field: str) -> None:
    """Check that the answer is an error of the usual shape, and names the field if the body could be read."""
    assert 400 <= response.status_code < 500, response.text[:500]
    detail = response.get_json()["error_detail"]
    message = detail["message"]
    assert STATUS[detail["code"]] == response.status_code
    assert response.get_json()["error"] == message
    unreadable = message.startswith("Invalid input: ") and (detail.get("details") or {}).get("reason")
    unreadable = unreadable or message == "Invalid input: body: a number is out of range"
    unknown = detail["code"] == "BAL_NOT_FOUND" and message.startswith("Balance with ID '")
    unknown = unknown or message == "Ledger not found" or message.startswith("Invalid filter: balance: ")
    assert field.partition("_")[0] in message or unreadable or unknown, message[:500]
    if response.status_code == 400 and not unreadable and not unknown:
        listed = [
            (detail["details"]["field"], ""),
            *((each["field"], each["message"]) for each in detail["details"]["problems"]),
        ]
        assert any(field.partition("_")[0] in " ".join(each) for each in listed), detail


def counts(service: Service) -> dict[str, int]:
    """Count what a write would change. The rows of the history need no count: the log has no gaps, and drains move cursors."""
    with reading(service.engine) as conn:
        row = driver(conn).execute(_COUNTS).fetchone()
    assert row is not None
    return dict(zip(_COUNTED, row, strict=True))


_TABLES = ("balances", "ledgers", "currencies", "holds", "refunds", "scheduled", "due")
_TABLES += ("funding_jobs", "funding_rows", "funding_runs")
_COUNTED = {table: f"SELECT count(*) FROM {table}" for table in _TABLES} | {
    "log": "SELECT max(seq) FROM log",
    "outcomes": "SELECT max(seq) FROM outcomes",
    "cursors": "SELECT sum(cursor) FROM queues",
    "versions": "SELECT sum(version) FROM balances",
    "names": "SELECT sum(hashtext(name)) FROM ledgers",
}
_COUNTS = f"SELECT {', '.join(f'({count})' for count in _COUNTED.values())}".encode()


def assert_still_works(client: FlaskClient) -> None:
    response = post(client, {**good_transaction(), "skip_queue": True})
    assert response.status_code == 201
    assert response.get_json()["status"] == "APPLIED"
