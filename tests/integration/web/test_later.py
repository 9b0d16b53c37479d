"""Answers that another thread makes than the one that began the request, over a real server."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any, NamedTuple

import pytest
from flask import Flask, Response
from sqlalchemy import Connection

from core.base.errors import TransientError
from core.ledger import append
from core.ledger.append import Submission
from tests.harness.api import Api
from tests.harness.gateway import Door, serving
from tests.harness.processes import wait_until
from web import gateway
from web.accept import committer as committing
from web.http import later, wire
from web.http.later import Later, Work
from web.service import Service

WITHIN_S = 30.0
TOGETHER = 12
UNKNOWN = "txn_01928ee1-7e5a-7000-8000-000000000000"


class Found(NamedTuple):
    """An answer. ``headers`` are without those that differ from one to the next."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture
def door(app: Flask) -> Iterator[Door]:
    with serving(app) as door:
        yield door


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(TOGETHER) as pool:
        yield pool


def ask(door: Door, method: str, path: str, body: Any = None, **headers: str) -> Found:
    connection = HTTPConnection("127.0.0.1", door.port, timeout=WITHIN_S)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        return Found(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def item(reference: str, **fields: Any) -> dict[str, Any]:
    terms = {"amount": 1, "precision": 100, "currency": "USD", "description": "d", "allow_overdraft": True}
    return {**terms, "reference": reference, "source": "@World", "destination": "@A", **fields}


def test_each_request_gets_its_own_answer(door: Door, app: Flask, pool: ThreadPoolExecutor) -> None:
    def submit_and_read(number: int) -> None:
        for each in range(4):
            reference = f"r-{number}-{each}"
            created = ask(door, "POST", "/transactions", item(reference, skip_queue=each % 2 == 0))
            assert (created.status, created.json["reference"]) == (201, reference)
            id = created.json["transaction_id"]
            read = ask(door, "GET", f"/transactions/{id}", **{"X-Request-Id": reference})
            assert (read.json["reference"], read.headers["x-request-id"]) == (reference, reference)
            assert ask(door, "GET", UNKNOWN.replace("txn", "/transactions/txn")).status == 404
            assert ask(door, "POST", "/transactions", item(reference, amount=2)).status == 409

    list(pool.map(submit_and_read, range(TOGETHER), timeout=WITHIN_S * 4))
    service: Service = app.extensions["pacioli"]
    assert service.transactions.reads < service.transactions.rows
    places = app.extensions["places"]
    wait_until(lambda: places._free.qsize() == 64)
    assert not door.gateway.working


def test_an_answer_is_the_same_as_without_a_second_thread(door: Door, api: Api) -> None:
    """Each request is made twice: over the server, and by a client that offers no other thread."""
    done = api.done()["transaction_id"]
    balance = api.new_balance()
    for method, path, body in (
        ("GET", f"/transactions/{done}", None),
        ("GET", f"/transactions/{UNKNOWN}", None),
        ("GET", "/transactions/none", None),
        ("GET", f"/balances/{balance}", None),
        ("GET", "/balances/none", None),
        ("POST", "/transactions", item("twice")),
        ("POST", "/transactions", item("twice")),
        ("POST", "/transactions", item("poor", source="@Poor", allow_overdraft=False, skip_queue=True)),
        ("POST", "/transactions", item("now", skip_queue=True)),
        ("POST", "/transactions", item("later", scheduled_for="2999-01-01T00:00:00Z")),
        ("POST", "/transactions", item("wrong", amount=-1)),
    ):
        there = ask(door, method, path, body)
        if body is not None and path == "/transactions" and there.status != 200:
            body = {**body, "reference": body["reference"] + "2"}
        here = api.client.open(path, method=method, json=body)
        assert there.status == here.status_code, path
        assert {*there.headers} - {"date", "server"} == {name.lower() for name, _ in here.headers}, path
        if body is None:
            assert there.body == here.data, path
        else:
            assert there.json.keys() == here.get_json().keys(), path
    waiting = api.post().get_json()["transaction_id"]
    assert ask(door, "GET", f"/transactions/{waiting}").json["queue"]["position"] >= 1


def test_a_request_with_an_idempotency_key_is_answered_once(door: Door) -> None:
    first = ask(door, "POST", "/transactions", item("a"), **{"Idempotency-Key": "k"})
    again = ask(door, "POST", "/transactions", item("a"), **{"Idempotency-Key": "k"})
    assert (first.status, again.status, first.body) == (201, 201, again.body)
    assert again.headers["idempotent-replayed"] == "true"


def test_a_commit_that_fails_is_answered(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(conn: Connection, submissions: list[Submission]) -> None:
        raise TransientError("away")

    monkeypatch.setattr(append, "append", fail)
    answer = ask(door, "POST", "/transactions", item("a"))
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


def test_an_answer_that_does_not_come_is_given_up(door: Door, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "PATIENCE_S", 0.3)
    go_on = threading.Event()
    really = append.append

    def hang(conn: Connection, submissions: list[Submission]) -> None:
        assert go_on.wait(WITHIN_S)
        really(conn, submissions)

    monkeypatch.setattr(append, "append", hang)
    taken = ask(door, "POST", "/transactions", item("taken"))
    withdrawn = ask(door, "POST", "/transactions", item("withdrawn"))
    go_on.set()
    assert (taken.status, withdrawn.status) == (503, 503)
    assert "not known whether" in taken.json["error"] and "nothing of it" in withdrawn.json["error"]
    service: Service = app.extensions["pacioli"]
    wait_until(lambda: service.committer.rows == 1 and not service.committer.waiting)
    assert ask(door, "GET", "/transactions/reference/taken").status == 200
    assert ask(door, "GET", "/transactions/reference/withdrawn").status == 404
    assert app.extensions["places"]._free.qsize() == 64
    assert committing.PATIENCE_S > 1


def test_a_failure_of_any_part_is_answered(door: Door, app: Flask) -> None:
    answered: list[str] = []

    def offer(work: Work) -> Response:
        assert later.is_offered(wire.environ())
        return Later(work)

    def fail() -> Any:
        raise RuntimeError("a bug")

    def at_once(ended: Any) -> Any:
        ended()
        ended()  # Only the first time counts.
        return later.overdue

    def note() -> None:
        answered.append("quick")

    def not_begun(ended: Any) -> Any:
        raise TransientError("away")

    works = {
        "begin": Work(not_begun, lambda: wire.answer({}), fail),
        "quick": Work(at_once, fail, fail),
        "slow": Work(at_once, note, fail),
        "whole": Work(at_once, lambda: wire.answer({"a": 1}), fail),
        "slowly": Work(at_once, lambda: None, lambda: wire.answer({"a": 2}, 201)),
    }
    app._got_first_request = False
    app.add_url_rule("/later/<name>", view_func=lambda name: offer(works[name]))
    app._table = None  # type: ignore[attr-defined]
    found = {name: ask(door, "GET", f"/later/{name}") for name in works}
    assert {name: answer.status for name, answer in found.items()} == {
        "begin": 503,
        "quick": 500,
        "slow": 500,
        "whole": 200,
        "slowly": 201,
    }
    assert found["whole"].json == {"a": 1} and found["slowly"].json == {"a": 2}
    assert all(answer.headers["x-content-type-options"] == "nosniff" for answer in found.values())
    assert answered == ["quick"]
