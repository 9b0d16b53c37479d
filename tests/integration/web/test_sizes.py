"""No request makes a text that is larger than the limits, nor does the database take one. Larger ones of old go on."""

import json
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError
from werkzeug.test import TestResponse

from core.base.db import begin
from core.base.tables.transactions import log
from tests.harness.api import Api, ok
from tests.integration.funding.test_funding_http import job, upload

LONG, NAME, META_DATA = "x" * 4_097, "x" * 256, {"a": "x" * 65_529}
"""Each is one byte or character over its limit."""

LIMITS = {"description": "has 4097 bytes; at most 4096", "meta_data": "has 65537 bytes; at most 65536",
          "name": "has 256 characters; at most 255"}  # fmt: skip


def _send(api: Api, method: str, path: str, body: dict[str, Any]) -> TestResponse:
    data = json.dumps(body, separators=(",", ":"))
    return api.client.open(path, method=method, data=data, content_type="application/json")


def _transaction(**fields: Any) -> dict[str, Any]:
    return {"precise_amount": 1, "precision": 100, "currency": "USD", "reference": "large", "source": "@World",
            "destination": "@A", "description": "d", "allow_overdraft": True} | fields  # fmt: skip


@pytest.mark.parametrize(("field", "value"), [("description", LONG), ("meta_data", META_DATA)])
def test_no_transaction_has_a_larger_text(api: Api, field: str, value: Any) -> None:
    done = api.done()["transaction_id"]
    large = {field: value}
    legs = {"source": None, "sources": [{"identifier": "@World", "distribution": "left"}]}
    later = {"scheduled_for": "2099-01-01T00:00:00Z"}
    for method, path, body in [
        ("POST", "/transactions", _transaction(**large)),
        ("POST", "/transactions", _transaction(**large, dry_run=True)),
        ("POST", "/transactions", _transaction(**large, **later)),
        ("POST", "/transactions", {k: v for k, v in _transaction(**large, **legs).items() if v is not None}),
        ("POST", "/transactions/bulk", {"transactions": [_transaction(reference="other"), _transaction(**large)]}),
        ("POST", f"/refund-transaction/{done}", large),
    ]:
        message = _message(_send(api, method, path, body))
        assert field in message and LIMITS[field] in message, (path, message)


def test_nothing_else_has_a_larger_text(api: Api) -> None:
    ledger = ok(api.client.post("/ledgers", json={"name": "L"}), 201)["ledger_id"]
    balance = api.new_balance()
    for method, path, body, field in [
        ("POST", "/ledgers", {"name": NAME}, "name"),
        ("PUT", f"/ledgers/{ledger}", {"name": NAME}, "name"),
        ("POST", "/ledgers", {"name": "M", "meta_data": META_DATA}, "meta_data"),
        ("POST", "/balances", {"ledger_id": ledger, "currency": "USD", "meta_data": META_DATA}, "meta_data"),
        ("POST", f"/{ledger}/metadata", {"meta_data": META_DATA}, "meta_data"),
        ("POST", f"/{balance}/metadata", {"meta_data": META_DATA}, "meta_data"),
        ("POST", "/funding-jobs", job(name=NAME), "name"),
        ("POST", "/funding-jobs", job(description=LONG), "description"),
        ("POST", "/funding-jobs", job(recipients=[{"destination": "@A", "amount": 1, "description": LONG}]), "description"),
        ("POST", "/funding-jobs", job(recipients=[{"destination": "@A", "amount": 1, "meta_data": META_DATA}]), "meta_data"),
    ]:  # fmt: skip
        message = _message(_send(api, method, path, body))
        assert field in message and LIMITS[field] in message, (path, message)
    message = _message(upload(api, f"destination,amount,description\n@A,1,{LONG}\n".encode()))
    assert "row 2, description" in message and LIMITS["description"] in message


def test_an_unused_field_of_a_leg_has_a_limit_too(api: Api) -> None:
    for field in ("narration", "transaction_id"):
        legs = [{"identifier": "@World", "distribution": "left", field: NAME}]
        response = _send(api, "POST", "/transactions", {**_transaction(sources=legs), "source": ""})
        assert f"sources[0].{field}: {LIMITS['name']}" in _message(response)


def test_metadata_that_postgres_writes_much_larger_is_refused(api: Api) -> None:
    """JSON of 7 kB that is a megabyte in the database, for it writes numbers in full."""
    body = '{"name": "L", "meta_data": {"a": [' + ",".join(["1e900"] * 1_200) + "]}}"
    response = api.client.post("/ledgers", data=body, content_type="application/json")
    assert "meta_data" in _message(response)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledgers SET name = repeat('x', 256)",
        "UPDATE ledgers SET meta_data = jsonb_build_object('a', repeat('x', 140000))",
        "INSERT INTO ledgers (ledger_id, name) VALUES ('l', repeat('x', 256))",
        "INSERT INTO balances (balance_id, ledger, indicator, currency) SELECT gen_random_uuid(), ledger, "
        "'@' || repeat('x', 255), currency FROM balances LIMIT 1",
        "UPDATE balances SET meta_data = jsonb_build_object('a', repeat('x', 140000))",
        "INSERT INTO annotations VALUES (gen_random_uuid(), jsonb_build_object('a', repeat('x', 140000)))",
        "INSERT INTO funding_rows VALUES (gen_random_uuid(), 1, 1, 1, repeat('x', 4097))",
        "INSERT INTO log SELECT (jsonb_populate_record(log, jsonb_build_object('seq', seq + 1, 'id', gen_random_uuid(), "
        "'reference', 'r', 'description', repeat('x', 4097)))).* FROM log",
        "INSERT INTO log SELECT (jsonb_populate_record(log, jsonb_build_object('seq', seq + 1, 'id', gen_random_uuid(), "
        "'reference', 'r', 'meta_data', jsonb_build_object('a', repeat('x', 65536))))).* FROM log",
    ],
)
def test_the_database_refuses_a_larger_text_too(api: Api, app: Flask, statement: str) -> None:
    api.done()
    with pytest.raises(IntegrityError, match=r"texts_fit|is too large"), begin(_engine(app)) as conn:
        conn.execute(text(statement))


def test_rows_with_larger_texts_from_before_go_on(api: Api, app: Flask) -> None:
    """They are read, refunded, paid from and settled. Only a new text has to fit."""
    with begin(_engine(app)) as conn:
        conn.execute(text("ALTER TABLE log DROP CONSTRAINT log_texts_fit"))
        conn.execute(text("SET LOCAL session_replication_role = replica"))
        conn.execute(text("UPDATE ledgers SET meta_data = jsonb_build_object('a', repeat('x', 200000))"))
    done = _old(api, app)
    hold = _old(api, app, inflight=True)
    assert ok(api.client.put("/ledgers/general_ledger_id", json={"name": "Renamed"}), 200)["name"] == "Renamed"
    assert (
        len(ok(api.client.post(f"/refund-transaction/{done}", json={"skip_queue": True}), 201)["description"]) == 50_000
    )
    assert ok(api.settle(hold, "commit", skip_queue=True), 200)["status"] == "APPLIED"
    assert api.done(reference="paid", source="@A", destination="@B")["status"] == "APPLIED"
    assert len(api.transaction(done)["description"]) == 50_000


def _old(api: Api, app: Flask, **fields: Any) -> str:
    """Post a transaction, and give its row the large text of another time, under the check as it is now."""
    posted: str = api.done(**fields)["transaction_id"]
    with begin(_engine(app)) as conn:
        conn.execute(text("SET LOCAL session_replication_role = replica"))
        conn.execute(text("ALTER TABLE log DROP CONSTRAINT IF EXISTS log_texts_fit"))
        conn.execute(
            text("UPDATE log SET description = repeat('x', 50000) WHERE id = CAST(substr(:id, 5) AS uuid)"),
            {"id": posted},
        )
        conn.execute(text(f"ALTER TABLE log ADD CONSTRAINT log_texts_fit CHECK ({_check()}) NOT VALID"))
    return posted


def _check() -> str:
    return next(str(each.sqltext) for each in log.constraints if each.name == "log_texts_fit")


def _message(response: TestResponse) -> str:
    message: str = ok(response, 400)["error_detail"]["message"]
    return message


def _engine(app: Flask) -> Engine:
    engine: Engine = app.extensions["pacioli"].engine
    return engine
