"""Firings of monitors reach their ``call_back_url``, and nothing else does."""

from typing import Any

import pytest
from sqlalchemy import Engine, text

from core.base.db import begin, reading
from core.webhooks.callbacks import remove_unused
from tests.harness.api import Api, ok
from tests.harness.processes import wait_until
from tests.harness.receiver import receiving
from tests.integration.webhooks.conftest import Deliver

ABOVE = {"field": "balance", "operator": ">", "value": 1, "precision": 100}


def monitor_of(api: Api, balance: str, url: str, **fields: Any) -> Any:
    asked = {"balance_id": balance, "condition": ABOVE, "call_back_url": url, **fields}
    return ok(api.client.post("/balance-monitors", json=asked), 201)


def endpoints(engine: Engine) -> list[str]:
    with reading(engine) as conn:
        return list(conn.execute(text("SELECT url FROM webhooks WHERE kind = 'callback' ORDER BY id")).scalars())


def test_a_firing_is_sent_to_the_url_of_its_monitor_alone(api: Api, engine: Engine, deliver: Deliver) -> None:
    balance = api.new_balance()
    api.done(destination=balance, precise_amount=500)
    with receiving() as ours, receiving() as others:
        first = monitor_of(api, balance, ours.url)  # It is true already, and fires at once.
        second = monitor_of(api, balance, ours.url, mode="level", fire_now=False)
        monitor_of(api, balance, others.url, condition={**ABOVE, "value": 100})
        assert sorted(endpoints(engine)) == sorted([ours.url, others.url])
        api.done(destination=balance, precise_amount=1)
        deliver()
        got = ours.wait_for(2)
        assert {each.event for each in got} == {"balance.monitor"}
        told = {each.data["monitor_id"]: each for each in got}
        assert told.keys() == {first["monitor_id"], second["monitor_id"]}
        assert told[first["monitor_id"]].data["crossed"]["reason"] == "already true"
        crossing = told[second["monitor_id"]]
        assert (crossing.data["crossed"]["to"], crossing.data["balance"]["balance"]) == (501, 501)
        assert {"x-blnk-signature", "x-blnk-timestamp", "webhook-id"} <= crossing.headers.keys()
        path = f"/balance-monitors/{second['monitor_id']}/events"
        wait_until(lambda: "delivery" in api.get(path)[0])
        (firing,) = api.get(path)
        assert firing["event_id"] == crossing.event_id
        assert firing["delivery"] == {"status": "DELIVERED", "attempts": 1, "answer": 200, "error": None}
        assert others.wait_for(0) == []
        assert api.get("/webhooks") == []


def test_an_endpoint_goes_with_the_last_monitor_of_its_url(api: Api, engine: Engine) -> None:
    balance = api.new_balance()
    one, two = (monitor_of(api, balance, "http://127.0.0.1:9/x")["monitor_id"] for _ in range(2))
    for monitor, left in ((one, ["http://127.0.0.1:9/x"]), (two, [])):
        ok(api.client.delete(f"/balance-monitors/{monitor}"), 200)
        with begin(engine) as conn:
            remove_unused(conn)
        assert endpoints(engine) == left


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "ftp://example.com", "http://a:b@example.com/"])
def test_a_url_that_webhooks_may_not_go_to_is_refused(api: Api, engine: Engine, url: str) -> None:
    asked = {"balance_id": api.new_balance(), "condition": ABOVE, "call_back_url": url}
    body = ok(api.client.post("/balance-monitors", json=asked), 400)
    assert body["error"].startswith("call_back_url: ")
    assert endpoints(engine) == []
