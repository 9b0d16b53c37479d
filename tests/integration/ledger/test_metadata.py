"""Metadata that is added later."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from core.base.db import begin, reading
from core.ledger import drain
from core.ledger import metadata as annotations
from core.ledger.store import waiting as waiting_store


def _post(client: FlaskClient, reference: str, **fields: Any) -> dict[str, Any]:
    """Post one cent from @World to @A, decided at once, or as the fields say."""
    body = {
        "precise_amount": 1,
        "precision": 100,
        "currency": "USD",
        "reference": reference,
        "source": "@World",
        "destination": "@A",
        "description": "a test",
        "allow_overdraft": True,
        "skip_queue": True,
    } | fields
    posted: dict[str, Any] = _ok(
        client.post("/transactions", json={k: v for k, v in body.items() if v is not None}), 201
    )
    return posted


def _ok(response: TestResponse, status: int = 200) -> Any:
    assert response.status_code == status, response.text
    return response.get_json()


def _add(client: FlaskClient, entity_id: str, **members: Any) -> dict[str, Any]:
    """Return the merged metadata, which the answer has under both names."""
    body = _ok(client.post(f"/{entity_id}/metadata", json={"meta_data": members}))
    assert body.keys() == {"meta_data", "metadata"} and body["meta_data"] == body["metadata"]
    merged: dict[str, Any] = body["meta_data"]
    return merged


def _meta_data(client: FlaskClient, transaction_id: str) -> Any:
    return _ok(client.get(f"/transactions/{transaction_id}")).get("meta_data")


@pytest.fixture
def things(client: FlaskClient) -> dict[str, str]:
    """One of each resource that takes metadata, with {"a": 1, "b": 2}, and the address to read it from."""
    given = {"meta_data": {"a": 1, "b": 2}}
    ledger = _ok(client.post("/ledgers", json={"name": "L", **given}), 201)["ledger_id"]
    asked = {"ledger_id": ledger, "currency": "USD", **given}
    balance = _ok(client.post("/balances", json=asked), 201)["balance_id"]
    transaction = _post(client, "r", **given)["transaction_id"]
    return {
        ledger: f"/ledgers/{ledger}",
        balance: f"/balances/{balance}",
        transaction: f"/transactions/{transaction}",
    }


def test_members_are_added_and_new_ones_win(client: FlaskClient, things: dict[str, str]) -> None:
    for entity_id, path in things.items():
        assert _add(client, entity_id, b={"c": [1.5, None]}, d="ü") == {"a": 1, "b": {"c": [1.5, None]}, "d": "ü"}
        assert _add(client, entity_id, b=3) == {"a": 1, "b": 3, "d": "ü"}
        assert _add(client, entity_id) == {"a": 1, "b": 3, "d": "ü"}
        assert _ok(client.get(path))["meta_data"] == {"a": 1, "b": 3, "d": "ü"}


def test_what_has_none_yet_may_get_some(client: FlaskClient) -> None:
    transaction = _post(client, "r")
    for entity_id in ("general_ledger_id", transaction["source"], transaction["transaction_id"]):
        assert _add(client, entity_id, x=1) == {"x": 1}


def test_big_numbers_are_kept(client: FlaskClient) -> None:
    transaction_id = _post(client, "r")["transaction_id"]
    number = "123456789012345678901234567890.123456789012345678901234567890"
    body = f'{{"meta_data": {{"n": {number}}}}}'
    response = client.post(f"/{transaction_id}/metadata", data=body, content_type="application/json")
    assert number in response.text
    assert number in client.get(f"/transactions/{transaction_id}").text


def test_many_at_once_lose_nothing(app: Flask, things: dict[str, str]) -> None:
    # More threads would wait for a connection longer than a request may, on a busy machine.
    threads, times = 6, 12
    ready = threading.Barrier(threads)

    def add(number: int) -> None:
        client = app.test_client()
        ready.wait()
        for time in range(times):
            for entity_id in things:
                _add(client, entity_id, **{f"k{number}_{time}": number})

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(add, number) for number in range(threads)]:
            done.result()
    expected = {f"k{number}_{time}": number for number in range(threads) for time in range(times)} | {"a": 1, "b": 2}
    for path in things.values():
        assert _ok(app.test_client().get(path))["meta_data"] == expected


def test_the_hash_and_the_log_stay_as_they_are(app: Flask, client: FlaskClient) -> None:
    before = _post(client, "r", meta_data={"a": 1})
    engine = app.extensions["pacioli"].engine
    rows = text("SELECT log::text, outcomes::text FROM log JOIN outcomes USING (seq)")
    with reading(engine) as conn:
        log = conn.execute(rows).all()
    _add(client, before["transaction_id"], a=2)
    after = _ok(client.get(f"/transactions/{before['transaction_id']}"))
    assert before["hash"] and after["hash"] == before["hash"]
    assert (before["meta_data"], after["meta_data"]) == ({"a": 1}, {"a": 2})
    with reading(engine) as conn:
        assert conn.execute(rows).all() == log


HALVES = [{"identifier": "@A", "distribution": "50%"}, {"identifier": "@B", "distribution": "left"}]


def test_legs_and_settlements_get_what_their_transaction_gets(client: FlaskClient) -> None:
    split = _post(
        client, "r", destination=None, destinations=HALVES, inflight=True, precise_amount=10, meta_data={"a": 1}
    )
    asked = {"status": "commit", "skip_queue": True}
    _ok(client.put(f"/transactions/inflight/{split['transaction_id']}", json=asked))
    alone = _post(client, "alone")["transaction_id"]
    assert _add(client, split["transaction_id"], x=1) == {"a": 1, "x": 1}
    rows = {row["transaction_id"]: row for row in _ok(client.get("/transactions?limit=1000"))}
    assert len(rows) == 6
    assert rows.pop(alone).get("meta_data") is None
    assert all(row["meta_data"] == {"a": 1, "x": 1} for row in rows.values())
    # Metadata of one of them does not show at the others.
    leg = rows[split["transaction_id"]]["destinations"]
    assert leg
    only = _ok(client.get("/transactions/reference/r_1"))["transaction_id"]
    _add(client, only, y=2)
    assert _meta_data(client, only) == {"a": 1, "x": 1, "y": 2}
    assert _meta_data(client, split["transaction_id"]) == {"a": 1, "x": 1}


def test_a_batch_passes_it_on_to_its_transactions_and_their_legs(client: FlaskClient) -> None:
    base = {"precision": 100, "currency": "USD", "source": "@World", "description": "d", "allow_overdraft": True}
    bulk = [
        {**base, "precise_amount": 1, "reference": "one", "destination": "@A", "meta_data": {"a": 1}},
        {**base, "precise_amount": 9, "reference": "split", "destinations": HALVES},
        {
            **base,
            "precise_amount": 9,
            "reference": "later",
            "destinations": HALVES,
            "scheduled_for": "2999-01-01T00:00:00Z",
        },
    ]
    batch = _ok(client.post("/transactions/bulk", json={"transactions": bulk}), 201)["batch_id"]
    assert _add(client, batch, x=1) == {"x": 1}, "of a batch, what was added, as in Blnk"
    found = {
        reference: _ok(client.get(f"/transactions/reference/{reference}")).get("meta_data")
        for reference in ("one", "split", "split_1", "split_2", "later")
    }
    assert found == {"one": {"a": 1, "x": 1}, **{name: {"x": 1} for name in ("split", "split_1", "split_2", "later")}}


def test_what_was_added_to_a_scheduled_split_is_there_once_it_is_accepted(app: Flask, client: FlaskClient) -> None:
    from datetime import UTC, datetime

    from core.ledger.due import accept_due

    split = _post(client, "r", skip_queue=None, destination=None, destinations=HALVES, precise_amount=9,
                  scheduled_for="2999-01-01T00:00:00Z")  # fmt: skip
    assert split["status"] == "SCHEDULED"
    assert _add(client, split["transaction_id"], x=1) == {"x": 1}
    accept_due(app.extensions["pacioli"].engine, datetime(2999, 1, 2, tzinfo=UTC))
    for reference in ("r", "r_1", "r_2"):
        row = _ok(client.get(f"/transactions/reference/{reference}"))
        assert (row["status"], row["meta_data"]) == ("QUEUED", {"x": 1})


def test_an_id_that_is_none_is_refused(client: FlaskClient) -> None:
    for entity_id in ("acc_1", "rec_1", "ledgers", "transactions", "@World", "LDG_1", "%00", "general_ledger_id2"):
        response = client.post(f"/{entity_id}/metadata", json={"meta_data": {"a": 1}})
        if "%00" in entity_id:
            assert response.status_code == 404
        else:
            assert _ok(response, 400)["error_detail"]["code"] == "META_INVALID_ENTITY_ID", entity_id


def test_what_is_not_there_is_not_found(client: FlaskClient) -> None:
    nil = "00000000-0000-0000-0000-000000000000"
    for entity_id in (
        *(f"{prefix}_{nil}" for prefix in ("ldg", "bln", "txn", "bulk")),
        "txn_x",
        "bln_",
        "bulk_",
        "ldg_'",
    ):
        body = _ok(client.post(f"/{entity_id}/metadata", json={"meta_data": {"a": 1}}), 404)
        assert body["error_detail"]["code"] == "META_ENTITY_NOT_FOUND"
        assert entity_id in body["error"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{}", "GEN_MALFORMED_REQUEST"),
        ('{"meta_data": null}', "GEN_MALFORMED_REQUEST"),
        ('{"meta_data": []}', "GEN_VALIDATION_ERROR"),
        ('{"meta_data": "x"}', "GEN_VALIDATION_ERROR"),
        ('{"meta_data": {"a": "\\u0000"}}', "GEN_VALIDATION_ERROR"),
        ('{"meta_data": {"a": 1e999999}}', "GEN_VALIDATION_ERROR"),
        ('{"metadata": {"a": 1}}', "GEN_VALIDATION_ERROR"),
    ],
)
def test_metadata_that_is_none_is_refused(client: FlaskClient, things: dict[str, str], body: str, code: str) -> None:
    for entity_id, path in things.items():
        response = client.post(f"/{entity_id}/metadata", data=body, content_type="application/json")
        detail = _ok(response, 400)["error_detail"]
        assert detail["code"] == code
        assert "meta_data" in detail["message"]
        assert _ok(client.get(path))["meta_data"] == {"a": 1, "b": 2}


def test_more_than_64_kib_does_not_come_together(client: FlaskClient, things: dict[str, str]) -> None:
    for entity_id, path in things.items():
        _add(client, entity_id, x="x" * 40_000)
        more = {"meta_data": {"y": "y" * 40_000}}
        detail = _ok(client.post(f"/{entity_id}/metadata", json=more), 400)["error_detail"]
        assert "at most 65536" in detail["message"] and detail["message"].startswith("meta_data")
        assert "y" not in _ok(client.get(path))["meta_data"]
        _add(client, entity_id, x="")
        assert _add(client, entity_id, **more["meta_data"])["y"]


def test_a_batch_takes_only_so_much_at_once(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotations, "MAX_WRITTEN", 100)
    batch = [
        {"precise_amount": 1, "precision": 100, "currency": "USD", "reference": f"r{n}", "source": "@World",
         "destination": "@A", "description": "d", "allow_overdraft": True}
        for n in range(10)
    ]  # fmt: skip
    batch_id = _ok(client.post("/transactions/bulk", json={"transactions": batch}), 201)["batch_id"]
    assert _add(client, batch_id, x=1)
    body = _ok(client.post(f"/{batch_id}/metadata", json={"meta_data": {"longer": "than that"}}), 400)
    assert "10 transactions" in body["error"]


def test_nothing_is_lost_or_deadlocked_when_a_batch_and_its_transactions_are_annotated_at_once(app: Flask) -> None:
    client = app.test_client()
    batch = [
        {"precise_amount": 1, "precision": 100, "currency": "USD", "reference": f"r{n}", "source": "@World",
         "destination": "@A", "description": "d", "allow_overdraft": True}
        for n in range(20)
    ]  # fmt: skip
    batch_id = _ok(client.post("/transactions/bulk", json={"transactions": batch}), 201)["batch_id"]
    ids = [row["transaction_id"] for row in _ok(client.get("/transactions"))]

    def add(number: int) -> None:
        one = app.test_client()
        _add(one, batch_id if number % 2 else ids[number], **{f"k{number}": 1})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(16)))
    for number, transaction_id in enumerate(ids):
        own = {f"k{number}"} if number < 16 and number % 2 == 0 else set()
        assert set(_meta_data(client, transaction_id)) == {f"k{n}" for n in range(1, 16, 2)} | own


def test_a_settlement_in_the_making_does_not_wait_for_metadata(app: Flask, client: FlaskClient) -> None:
    """Adding metadata to a transaction locks no balance and no queue. Only what is accepted meanwhile waits for the commit."""
    transaction_id = _post(client, "r")["transaction_id"]
    engine = app.extensions["pacioli"].engine
    _post(client, "r2", skip_queue=False)
    with begin(engine) as conn:
        annotations.add_metadata(conn, transaction_id, json.dumps({"x": 1}))
        for queue in range(8):
            drain.drain(engine, queue)
        with reading(engine) as other:
            assert waiting_store.with_work(other) == []
