"""Backpressure: a POST that appends is refused before the line is too long, and a quiet queue goes on."""

import threading
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from core.base.db import begin
from core.base.errors import TransientError
from core.ledger.pressure import Limits
from tests.harness.api import Api, ok, refused
from tests.harness.factories import Ledger, name_in
from tests.harness.processes import wait_until
from web.accept import pressure
from web.accept.pressure import Gauge
from web.service import Service

WITHIN_S = 30


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pressure, "LOOK_EVERY_S", 0.01)


@pytest.fixture
def service(app: Flask) -> Service:
    found: Service = app.extensions["pacioli"]
    return found


@pytest.fixture
def gauge(service: Service) -> Gauge:
    assert service.committer.gauge is not None
    return service.committer.gauge


@pytest.fixture
def book(service: Service) -> Ledger:
    return Ledger(service.engine, service.directory)


def test_a_deep_line_refuses_new_transactions_until_it_is_decided(api: Api, gauge: Gauge, book: Ledger) -> None:
    gauge.limits = Limits(5, 3600.0)
    source = name_in(book, 0)
    for _ in range(5):
        ok(api.post(source=source), 201)
    wait_until(lambda: bool(gauge.pressure.closed))
    for fields in ({}, {"skip_queue": True}, {"inflight": True}):
        response = api.post(source=source, **fields)
        detail = refused(response, 503, "QUEUE_BACKPRESSURE")
        assert "5 transactions wait to be decided, and 5 are the limit" in detail["message"]
        assert detail["details"]["queue"] == 0
        assert int(response.headers["Retry-After"]) > 0
    bulk = {"transactions": [_item(source), _item(name_in(book, 1))]}
    refused(api.client.post("/transactions/bulk", json=bulk), 503, "QUEUE_BACKPRESSURE")
    assert gauge.refused == 4
    assert len(api.get("/transactions")) == 5

    api.drain()
    wait_until(lambda: not gauge.pressure.closed)
    ok(api.post(source=source), 201)


def test_a_quiet_queue_goes_on_beside_a_busy_one(api: Api, gauge: Gauge, book: Ledger) -> None:
    gauge.limits = Limits(16, 3600.0)
    busy, quiet = name_in(book, 0), name_in(book, 1)
    for _ in range(16):
        ok(api.post(source=busy), 201)
    wait_until(lambda: bool(gauge.pressure.closed))
    refused(api.post(source=busy), 503, "QUEUE_BACKPRESSURE")
    ok(api.post(source=quiet), 201)


def test_an_old_line_closes_its_own_queue_alone(api: Api, gauge: Gauge, book: Ledger) -> None:
    old, other = name_in(book, 0), name_in(book, 1)
    ok(api.post(source=old), 201)
    _age(book, hours=2)
    wait_until(lambda: gauge.pressure.closed == {0})
    detail = refused(api.post(source=old), 503, "QUEUE_BACKPRESSURE")
    assert "has waited for longer than 3600 seconds" in detail["message"]
    ok(api.post(source=other), 201)


def test_commits_and_voids_are_taken_until_there_is_twice_as_much(api: Api, gauge: Gauge, book: Ledger) -> None:
    source = name_in(book, 0)
    held = [ok(api.post(source=source, inflight=True), 201)["transaction_id"] for _ in range(4)]
    api.drain()
    for _ in range(4):
        ok(api.post(source=source), 201)
    gauge.limits = Limits(4, 3600.0)
    wait_until(lambda: bool(gauge.pressure.closed))
    refused(api.post(source=source), 503, "QUEUE_BACKPRESSURE")
    for hold, status in zip(held, ("commit", "void", "commit", "void"), strict=True):
        wait_until(lambda: not gauge.pressure.is_full)
        ok(api.client.put(f"/transactions/inflight/{hold}", json={"status": status}), 200)
    wait_until(lambda: gauge.pressure.is_full)
    assert gauge.pressure.waiting == 8


def test_a_scheduled_transaction_is_taken_because_it_waits_elsewhere(api: Api, gauge: Gauge, book: Ledger) -> None:
    gauge.limits = Limits(1, 3600.0)
    source = name_in(book, 0)
    ok(api.post(source=source), 201)
    wait_until(lambda: bool(gauge.pressure.closed))
    ok(api.post(source=source, scheduled_for="2099-01-01T00:00:00+00:00"), 201)


def test_a_refund_is_refused_as_well(api: Api, gauge: Gauge, book: Ledger) -> None:
    source = name_in(book, 0)
    paid = api.done(source="@World", destination=source)
    gauge.limits = Limits(1, 3600.0)
    ok(api.post(source=source), 201)
    wait_until(lambda: bool(gauge.pressure.closed))
    refused(api.client.post(f"/refund-transaction/{paid['transaction_id']}"), 503, "QUEUE_BACKPRESSURE")


def test_nothing_is_counted_while_the_line_is_surely_short(api: Api, gauge: Gauge, book: Ledger) -> None:
    for _ in range(3):
        ok(api.post(source=name_in(book, 0)), 201)
    wait_until(lambda: gauge.pressure.oldest_age_s > 0)
    assert gauge.pressure.waiting == 0


def test_bulks_that_wait_in_memory_are_bounded(
    api: Api, gauge: Gauge, book: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pressure, "MAX_ROWS_IN_MEMORY", 250)
    bulk = {"transactions": [_item("@World", f"b-{number}") for number in range(150)]}
    gauge.rows_in_memory = 150  # Another bulk waits.
    detail = refused(api.client.post("/transactions/bulk", json=bulk), 503, "QUEUE_BACKPRESSURE")
    assert detail["details"]["rows_in_memory"] == 150
    gauge.rows_in_memory = 0
    ok(api.client.post("/transactions/bulk", json=bulk), 201)
    assert gauge.rows_in_memory == 0


def test_the_gauge_outlives_a_database_that_is_away(
    api: Api, gauge: Gauge, book: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Semaphore(0)

    def away(*_: Any) -> None:
        looked.release()
        raise TransientError("away")

    with monkeypatch.context() as patch:
        patch.setattr(pressure.pressure, "look", away)
        assert all(looked.acquire(timeout=WITHIN_S) for _ in range(3))
    gauge.limits = Limits(1, 3600.0)
    ok(api.post(source=name_in(book, 0)), 201)
    wait_until(lambda: bool(gauge.pressure.closed))
    assert (gauge.loop.starts, gauge.loop.failures) == (1, 0)


def _item(source: str, reference: str | None = None) -> dict[str, Any]:
    return {
        "precise_amount": 1, "precision": 100, "currency": "USD", "reference": reference or f"item-{source}",
        "source": source, "destination": "@A", "description": "d", "allow_overdraft": True,
    }  # fmt: skip


def _age(book: Ledger, *, hours: int) -> None:
    """Make what waits look older. The log refuses changes otherwise."""
    with begin(book.engine) as conn:
        conn.execute(text("SET LOCAL session_replication_role = replica"))
        conn.execute(
            text("UPDATE log SET accepted_at = accepted_at - make_interval(hours => :hours)"), {"hours": hours}
        )
