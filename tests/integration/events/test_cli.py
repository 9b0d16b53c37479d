"""``pacioli events``, and the client's method."""

import asyncio
import json

import httpx
from flask import Flask
from pacioli_client import AsyncClient, Client

from tests.harness.api import Api
from tests.harness.cli import HERE, Nearby, Run, ok
from tests.harness.cli import failed as fails


def test_events_are_printed_for_people_and_for_programs(api: Api, run: Run) -> None:
    done = api.done(precise_amount=2**70)
    waiting = api.post().get_json()
    shown = ok(run("events", "--types", "transaction.*,balance.created"))
    assert "transaction.applied" in shown
    assert done["transaction_id"] in shown
    assert f"the feed ends before sequence {waiting['sequence']}, which waits in queue" in shown
    lines = [json.loads(line) for line in ok(run("events", "--json")).splitlines()]
    assert lines == api.get("/events")["events"]
    assert lines[-1]["data"]["precise_amount"] == 2**70
    (last,) = ok(run("events", "--json", "--after", lines[-2]["position"])).splitlines()
    assert json.loads(last) == lines[-1]
    assert ok(run("events", "--after", "end", "--types", "ledger.*")).startswith("no event that matches")


def test_following_ends_after_as_many_events_as_asked(api: Api, run: Run) -> None:
    api.done()
    first, _ = ok(run("events", "--follow", "--limit", "2")).splitlines()
    assert "balance.created" in first
    assert len(ok(run("events", "-f", "--limit", "3", "--json")).splitlines()) == 3


def test_a_wrong_type_is_refused_with_the_types_that_there_are(api: Api, run: Run) -> None:
    fails(run("events", "--types", "transaction.done"), 2, "transaction.applied")


def test_both_clients_read_a_page(api: Api, app: Flask) -> None:
    api.done()
    with Client(HERE, transport=Nearby(app)) as client:
        page = client.events.page(types=["transaction.*"])
        (event,) = page.events
        assert event.data["status"] == "APPLIED"
        rest = client.events.page(page.next, limit=5, wait_s=0.01)
        assert (rest.events, rest.more, rest.held) == ([], False, None)

    def answer(request: httpx.Request) -> httpx.Response:
        found = app.test_client().get(request.url.path, query_string=request.url.query.decode())
        return httpx.Response(found.status_code, content=found.get_data())

    async def read() -> str:
        async with AsyncClient(HERE, transport=httpx.MockTransport(answer)) as found:
            return (await found.events.page("end")).next

    assert asyncio.run(read()) == page.next
