"""``GET /events`` as a client reads it."""

import threading
import time
from typing import Any

import pytest
from flask import Flask

from core.base.db import begin
from core.ledger import ledgers
from core.ledger.rules.requests import LedgerRequest
from tests.harness.api import Api, ok
from tests.harness.factories import Ledger
from web.service import Service


def test_a_page_has_its_events_where_to_go_on_and_what_holds_the_feed(api: Api, ledger: Ledger) -> None:
    done = api.done(precise_amount=2**80)
    waiting = ok(api.post(), 201)
    page = api.get("/events", types="transaction.*")
    (event,) = page["events"]
    assert event["data"] == api.transaction(done["transaction_id"])
    assert event["data"]["precise_amount"] == 2**80
    assert (event["type"], event["sequence"], event["position"]) == ("transaction.applied", 1, "1.1")
    assert page["next"] == "1.1"
    assert page["more"] is False
    assert page["held"] == {
        "queue": api.transaction(waiting["transaction_id"])["queue"]["number"],
        "sequence": 2,
        "since": waiting["created_at"],
    }
    ledger.drain()
    after = api.get("/events", after=page["next"], types="transaction.*")
    assert [each["data"]["transaction_id"] for each in after["events"]] == [waiting["transaction_id"]]
    assert after["held"] is None


def test_a_page_has_as_many_events_as_asked_and_pages_cover_all(api: Api) -> None:
    for _ in range(5):
        api.done()
    whole = api.get("/events")["events"]
    found, after = [], "0.0"
    while page := api.get("/events", after=after, limit=2):
        found += page["events"]
        assert len(page["events"]) <= 2
        after = page["next"]
        if not page["more"]:
            break
    assert found == whole
    assert len(whole) == 5 + 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("after", "x"), ("after", "1"), ("after", "1.-1"), ("after", "1.1.1"), ("after", "9" * 30 + ".1"),
        ("after", "١.١"), ("after", "END"), ("types", "transaction.done"), ("types", "Transaction.*"), ("types", "x*"),
        ("limit", "0"), ("limit", "x"), ("wait", "soon"), ("after", "1.1\n"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_refused_by_its_name(api: Api, name: str, value: str) -> None:
    answer = ok(api.client.get("/events", query_string={name: value}), 400)
    assert name in answer["error"]
    assert answer["error_detail"]["code"].startswith("GEN_")


def test_end_is_where_the_feed_ends_now(api: Api) -> None:
    api.done()
    end = api.get("/events", after="end")
    assert (end["events"], end["more"]) == ([], False)
    api.done()
    assert [each["type"] for each in api.get("/events", after=end["next"])["events"]] == ["transaction.applied"]


def test_a_request_that_waits_is_answered_by_the_next_event(api: Api, app: Flask, ledger: Ledger) -> None:
    api.done()
    end = api.get("/events", after="end")["next"]
    waiting = service_of(app).waiting
    pages: list[Any] = []

    def wait(**query: str) -> None:
        pages.append(ok(app.test_client().get("/events", query_string={"after": end, "wait": "30s", **query}), 200))

    for tell in (lambda: api.done(), lambda: create_ledger(ledger)):
        thread = threading.Thread(target=wait)
        thread.start()
        while not waiting._readers:
            time.sleep(0.01)
        tell()
        thread.join(20)
        assert not thread.is_alive()
        (event,) = pages[-1]["events"]
        end = pages[-1]["next"]
    assert event["type"] == "ledger.created"


def test_a_request_that_finds_no_place_to_wait_is_answered_at_once(api: Api, app: Flask) -> None:
    waiting = service_of(app).waiting
    for _ in range(waiting._capacity):
        waiting._places.acquire()
    started = time.monotonic()
    assert api.get("/events", wait="60s")["events"] == []
    assert time.monotonic() - started < 30


def create_ledger(ledger: Ledger) -> None:
    with begin(ledger.engine) as conn:
        ledgers.create(conn, LedgerRequest(name="one"))


def service_of(app: Flask) -> Service:
    found: Service = app.extensions["pacioli"]
    return found
