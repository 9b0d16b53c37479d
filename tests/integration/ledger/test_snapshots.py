"""Snapshots of balances: which task takes them, and when."""

import json

import pytest
from celery import Celery
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, text

import celeryconfig
from core.base.db import connect, reading
from core.ledger import history
from tests.harness.cli import Run, ok
from tests.harness.dated import refusal_of
from tests.harness.factories import Ledger, transaction
from web.service import Service
from worker import tasks, ticking


def test_a_request_for_snapshots_goes_to_the_workers(app: Flask, client: FlaskClient) -> None:
    service: Service = app.extensions["pacioli"]
    celery: Celery = service.doorbell._celery()
    celery.conf.broker_url, celery.conf.broker_transport_options = "memory://", {}
    answer = {"message": "Snapshotting in progress. should be completed shortly"}
    for query, size in (("", history.BATCH), ("?batch_size=7", 7)):
        response = client.post(f"/balances-snapshots{query}")
        assert (response.status_code, response.get_json()) == (200, answer)
        assert service.identity.names is not None
        with celery.connection_for_read() as connection:
            message = connection.default_channel.basic_get(service.identity.names.maintenance, no_ack=True)
        assert message is not None
        assert message.headers["task"] == celeryconfig.SNAPSHOT == tasks.snapshot.name
        assert json.loads(message.body)[0] == [size]


@pytest.mark.parametrize("bad", ["0", "-1", "ten", "1.5", "10001", "99999999999999", ""])
def test_a_batch_size_that_is_none_is_refused(client: FlaskClient, bad: str) -> None:
    code, message = refusal_of(client, "POST", f"/balances-snapshots?batch_size={bad}", 400)
    assert code == "GEN_VALIDATION_ERROR"
    assert message == "batch_size: invalid batch_size value: must be a whole number from 1 to 10000."


def test_a_broker_that_is_away_is_503(app: Flask, client: FlaskClient) -> None:
    app.extensions["pacioli"].doorbell._celery().conf.broker_url = "redis://127.0.0.1:1/0"
    code, message = refusal_of(client, "POST", "/balances-snapshots", 503)
    assert (code, message) == ("GEN_UNAVAILABLE", "the broker is not available right now; try again")


def _balances_with_snapshots(engine: Engine) -> int:
    with reading(engine) as conn:
        count: int = conn.execute(text("SELECT count(DISTINCT balance) FROM snapshots")).scalar_one()
    return count


def test_a_worker_takes_them_and_leaves_what_takes_long_to_another_task(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.bulk(*(transaction(destination=f"@{number}") for number in range(5)))
    ledger.drain()
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(tasks, "engine", lambda: ledger.engine)
    monkeypatch.setattr(ticking, "engine", lambda: ledger.engine)
    monkeypatch.setattr(tasks, "send", lambda app, task, *args: sent.append(args))
    monkeypatch.setattr(tasks, "SNAPSHOT_FOR_S", 0)
    tasks.snapshot(2)
    assert _balances_with_snapshots(ledger.engine) == 2
    while sent:
        tasks.snapshot(*sent.pop())
    assert _balances_with_snapshots(ledger.engine) == 6


def test_a_worker_without_a_database_leaves_them_to_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    away = connect("postgresql://nobody@127.0.0.1:1/nothing")
    monkeypatch.setattr(tasks, "engine", lambda: away)
    tasks.snapshot()
    away.dispose()


def test_an_operator_asks_for_them(app: Flask, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(app.extensions["pacioli"].doorbell, "send", lambda *message: asked.append(message))
    assert ok(run("snapshot", "--batch-size", "7")) == "a worker takes the snapshots now\n"
    assert "in progress" in json.loads(ok(run("snapshot", "--json")))["message"]
    assert asked == [(celeryconfig.SNAPSHOT, 7), (celeryconfig.SNAPSHOT, history.BATCH)]
