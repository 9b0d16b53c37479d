"""The hourly task writes checkpoints, and over HTTP the verifier goes on from them."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine
from structlog.testing import capture_logs

from core.base.db import reading
from core.verification import checkpoint_store
from core.verification.verify import verify_all
from tests.harness.api import close
from tests.harness.factories import Ledger
from tests.harness.history import KEY, checkpoint, tamper
from web.app import create_app


@pytest.fixture
def task(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The task as a function, and a list of the messages that it sends to itself."""
    from worker import tasks, ticking

    sent: list[str] = []
    monkeypatch.setattr(tasks, "engine", lambda: engine)
    monkeypatch.setattr(tasks, "notary", lambda: nullcontext(engine))
    monkeypatch.setattr(ticking, "engine", lambda: engine)
    monkeypatch.setattr(tasks, "chain_key", lambda: KEY)
    monkeypatch.setattr(tasks, "VERIFIED", 3)
    monkeypatch.setattr(tasks, "send", lambda app, task: sent.append(task))
    return tasks.verify, sent


def test_the_task_writes_checkpoints_in_steps_and_only_if_something_happened(chained: Ledger, task: Any) -> None:
    verify, sent = task
    verify()
    assert len(sent) == 1
    verify()
    verify()
    assert len(sent) == 1
    with reading(chained.engine) as conn:
        rows = checkpoint_store.newest(conn, 10)
    assert [json.loads(row.heads)["sequence"] for row in rows] == [8, 5]
    assert verify_all(chained.engine, key=KEY).problems == []


def test_the_task_says_what_is_wrong_and_writes_nothing(chained: Ledger, task: Any) -> None:
    verify, sent = task
    tamper(chained, "UPDATE log SET description = 'x' WHERE seq = 2")
    with capture_logs() as logs:
        verify()
    assert [(log["event"], log["log_level"]) for log in logs] == [("the ledger is damaged", "error")]
    assert "seq 2, queue 4, digest" in logs[0]["problems"][0]
    assert sent == []
    with reading(chained.engine) as conn:
        assert checkpoint_store.newest(conn, 10) == []


@pytest.fixture
def client(database_url: str, chained: Ledger) -> Iterator[FlaskClient]:
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_CHAIN_KEY": KEY.hex()})
    yield app.test_client()
    close(app)


def test_over_http_it_goes_on_from_the_checkpoint(client: FlaskClient, chained: Ledger) -> None:
    answer = client.get("/verify")
    body = answer.get_json()
    assert answer.status_code == 200
    assert (body["ok"], body["from_sequence"], body["to_sequence"], body["transactions"]) == (True, 1, 8, 8)
    assert (body["problems"], body["checkpoint"], body["signed"], body["complete"]) == ([], None, False, True)
    assert (body["rejected"], body["undecided"], body["holds"]) == (1, 0, None)
    made = checkpoint(chained)
    chained.post()
    chained.drain()
    body = client.get("/verify?full=false").get_json()
    assert (body["ok"], body["from_sequence"], body["to_sequence"], body["transactions"]) == (True, 9, 9, 1)
    assert (body["checkpoint"]["id"], body["checkpoint"]["sequence"], body["signed"]) == (made.id, 8, True)
    tamper(chained, "UPDATE log SET description = 'x' WHERE seq = 9")
    answer = client.get("/verify")
    assert answer.status_code == 200
    body = answer.get_json()
    assert not body["ok"]
    assert body["problems"][0].keys() == {"table", "key", "what", "expected", "found"}
    assert (body["problems"][0]["key"], body["problems"][0]["what"]) == ("seq 9, queue 2", "digest")


def test_over_http_it_says_how_far_it_came(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.verification.VERIFIED", 3)
    body = client.get("/verify").get_json()
    assert (body["ok"], body["complete"], body["to_sequence"]) == (True, False, 5)
    assert body["note"].startswith("stopped after sequence 5; run `pacioli verify --since-checkpoint`")


def test_over_http_the_whole_is_refused_and_so_is_a_second_at_the_same_time(client: FlaskClient) -> None:
    answer = client.get("/verify?full=true")
    assert answer.status_code == 400
    assert "full: is too much for a request; run `pacioli verify`" in answer.get_json()["error"]
    assert "full: must be true or false" in client.get("/verify?full=yes").get_json()["error"]
    from web import verification

    with verification._busy:
        answer = client.get("/verify")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert client.get("/verify").status_code == 200


def test_a_key_that_is_none_stops_the_web_server(database_url: str) -> None:
    with pytest.raises(SystemExit, match="PACIOLI_CHAIN_KEY must be at least 64 hexadecimal digits"):
        create_app({"DATABASE_URL": database_url, "PACIOLI_CHAIN_KEY": "secret"})
