"""A search of the log for a request or a transaction finds its whole way, from the request to the outcome."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Engine, text
from structlog.contextvars import get_contextvars
from structlog.testing import capture_logs

from core.base import logs
from core.base.db import reading
from core.doors.notes import Notes
from core.ledger import due, trail
from tests.harness.api import Api, ok
from tests.harness.factories import identified
from web import app as web_app
from web import transactions
from web.accept.doorbell import Doorbell
from web.service import Service


def kept(app: Flask) -> dict[str, str]:
    """The request of each transaction, as the table has it."""
    service: Service = app.extensions["pacioli"]
    with reading(service.engine) as conn:
        return {f"txn_{id}": request for id, request in conn.execute(text("SELECT id, request_id FROM log"))}


def test_a_transaction_is_followed_from_its_request_to_its_outcome(app: Flask, api: Api) -> None:
    api.client.environ_base["HTTP_X_REQUEST_ID"] = "order-66"
    with capture_logs() as lines:
        posted = ok(api.post(), 201)["transaction_id"]
        refused = ok(api.post(source="@A", destination="@B", precise_amount=9, allow_overdraft=None), 201)
        api.drain()
    assert kept(app) == {posted: "order-66", refused["transaction_id"]: "order-66"}
    assert get_contextvars() == {}
    for transaction in (posted, refused["transaction_id"]):
        accepted, decided = (line for line in lines if transaction in line.get("transactions", ()))
        assert (accepted["event"], decided["event"]) == ("accepted", "decided")
        assert accepted["requests"] == decided["requests"] == ["order-66"]
        assert set(accepted["queues"]) <= set(decided["queues"])
        assert decided["batch"].startswith("drain_")
    reasons: dict[str, str] = {}
    for line in lines:
        reasons |= line.get("rejected", {})
    assert reasons == {refused["transaction_id"]: "INSUFFICIENT_FUNDS"}


def test_a_large_batch_has_lines_that_a_pipe_takes_whole(api: Api) -> None:
    api.client.environ_base["HTTP_X_REQUEST_ID"] = "r" * 36
    most = trail.ROOM // 44  # The bytes of an ID.
    size = 2 * most + 1
    with capture_logs() as lines:
        ok(api.bulk(*({} for _ in range(size))), 201)
        api.drain()
    for event in ("accepted", "decided"):
        found = [line for line in lines if line["event"] == event]
        assert [len(line["transactions"]) for line in found] == [most, most, 1]
        assert len({each for line in found for each in line["transactions"]}) == size
        assert all(len(str(line)) < 4096 for line in found)


def test_rejections_with_long_requests_have_lines_that_a_pipe_takes_whole(api: Api) -> None:
    poor = {"source": "@Poor", "destination": "@B", "allow_overdraft": None}
    ok(api.post(source="@World", destination="@Poor", precise_amount=1), 201)
    api.drain()
    with capture_logs() as lines:
        for number in range(45):
            api.client.environ_base["HTTP_X_REQUEST_ID"] = f"{number:0>128}"
            ok(api.post(**poor, precise_amount=9), 201)
        ok(api.bulk(*({**poor, "precise_amount": 9} for _ in range(45))), 201)
        api.drain()
    decided = [line for line in lines if line["event"] == "decided"]
    assert len({id for line in decided for id in line["rejected"]}) == 90
    assert max(len(json.dumps(line)) for line in lines) < 3_900  # The renderer adds a time, a level and a process.


def test_a_repeated_request_was_accepted_once(app: Flask, api: Api) -> None:
    api.client.environ_base["HTTP_X_REQUEST_ID"] = "first"
    posted = ok(api.post(reference="again"), 201)["transaction_id"]
    api.client.environ_base["HTTP_X_REQUEST_ID"] = "second"
    with capture_logs() as lines:
        ok(api.post(reference="again"), 200)
    (line,) = lines
    assert (line["event"], line["requests"], line["transactions"]) == ("accepted before", ["second"], [posted])
    assert kept(app) == {posted: "first"}


def test_what_is_due_was_brought_by_the_tick(app: Flask, api: Api) -> None:
    posted = ok(api.post(scheduled_for=str((datetime.now(UTC) + timedelta(days=1)).isoformat())), 201)
    with capture_logs() as lines:
        due.accept_due(app.extensions["pacioli"].engine, datetime.now(UTC) + timedelta(days=2))
    assert [(line["requests"], line["transactions"]) for line in lines] == [(["tick due"], [posted["transaction_id"]])]
    assert kept(app) == {posted["transaction_id"]: "tick due"}


def test_a_slow_request_has_a_line_unless_it_asked_to_wait(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(find: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: (time.sleep(0.02), find(*arguments))[1]

    monkeypatch.setattr(web_app, "SLOW_S", 0.01)
    for name in ("find", "find_reference"):
        monkeypatch.setattr(transactions.lookup, name, slow(getattr(transactions.lookup, name)))
    with capture_logs() as lines:
        api.client.get("/transactions/reference/r_1")
        api.client.get("/transactions/txn_1?wait=1s")
    (line,) = [line for line in lines if line["event"] == "a request was slow"]  # Threads of the service log as well.
    assert line.pop("took_ms") >= 20
    assert line == {
        "event": "a request was slow",
        "log_level": "warning",
        "method": "GET",
        "path": "/transactions/reference/r_1",
        "address": "127.0.0.1",
        "status": "404",
    }


def test_the_doorbell_says_who_rang(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    identity = identified(engine)
    bell = Doorbell(identity, Notes(None, identity))
    broker = SimpleNamespace(send_task=lambda *args, **options: sent.append((args, options["headers"])))
    monkeypatch.setattr(bell, "_celery", lambda: broker)
    web_app.bind_contextvars(**{logs.REQUEST_ID: "order-66"})
    try:
        bell.ring([3])
        bell.send("a task")
    finally:
        web_app.clear_contextvars()
    deadline = time.monotonic() + 10
    while len(sent) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(sent, key=str) == [
        (("a task", ()), {"request_id": "order-66"}),
        (("pacioli.drain", (3,)), {"request_id": "order-66"}),
    ]
