"""Denied requests are in the audit log, and a flood of them is a few small rows."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine

from core.base.db import begin, reading
from core.journal import audit_store, denials
from core.journal.denials import Denials, Denied
from tests.harness.api import close
from tests.harness.keys import KEY
from tests.harness.processes import wait_until
from web.app import create_app


@pytest.fixture
def client(database_url: str) -> Iterator[FlaskClient]:
    app: Flask = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY})
    yield app.test_client()
    close(app)


def _rows(engine: Engine) -> list[dict[str, Any]]:
    with reading(engine) as conn:
        rows = audit_store.read_range(conn, after=0, limit=100)
    return [json.loads(row.details) for row in rows if row.action == "requests.denied"]


def test_the_first_is_recorded_at_once_and_the_others_together(
    client: FlaskClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.denied.EVERY_S", 2.0)
    assert client.get("/transactions/txn_1").status_code == 401
    wait_until(lambda: len(_rows(engine)) == 1)
    assert _rows(engine) == [
        {
            "total": 1,
            "requests": [
                {
                    "status": 401,
                    "actor": "",
                    "route": "GET /transactions/<transaction_id>",
                    "address": "127.0.0.1",
                    "count": 1,
                }
            ],
            "others": 0,
        }
    ]
    for _ in range(50):
        client.get("/balances")
    wait_until(lambda: sum(row["total"] for row in _rows(engine)) == 51)
    assert [row["total"] for row in _rows(engine)] == [1, 50]


def test_a_flood_is_a_row_of_a_few_kinds(engine: Engine) -> None:
    ours = Denials()
    for number in range(10_000):
        ours.add(Denied(401, "", "GET /transactions", f"10.0.{number % 250}.{number % 7}"))
    with begin(engine) as conn:
        ours.record(conn)
    (row,) = _rows(engine)
    assert (row["total"], len(row["requests"])) == (10_000, denials.KINDS)
    assert row["others"] == 10_000 - sum(each["count"] for each in row["requests"])
    assert len(json.dumps(row)) < 4_096
    with begin(engine) as conn:
        ours.record(conn)
    assert len(_rows(engine)) == 1


def test_what_could_not_be_recorded_is_counted_again() -> None:
    ours, one = Denials(), Denied(403, "api_key_1", "POST /transactions", "10.0.0.1")

    class Away:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError

    ours.add(one, 3)
    with pytest.raises(RuntimeError):
        ours.record(Away())  # type: ignore[arg-type]
    ours.restore()
    assert ours._counts == {one: 3}
    assert ours.waiting.is_set()
