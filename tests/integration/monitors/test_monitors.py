"""``/balance-monitors`` over HTTP: what it takes, what it refuses, and when a monitor fires."""

import json
from typing import Any

import pytest

from core.base.db import reading_within
from core.events import feed
from core.events.answers import START
from core.events.types import types_of
from tests.harness.api import Api, ok, refused

CONDITION = {"field": "balance", "operator": "<", "value": 0, "precision": 100}


def made(api: Api, balance_id: str, status: int = 201, **fields: Any) -> Any:
    condition = CONDITION | fields.pop("condition", {})
    asked = {"balance_id": balance_id, "condition": {k: v for k, v in condition.items() if v is not None}, **fields}
    return ok(api.client.post("/balance-monitors", json=asked), status)


def firings(api: Api, monitor: dict[str, Any]) -> list[tuple[int | None, int]]:
    """Values before and after, the earliest first."""
    found = api.get(f"/balance-monitors/{monitor['monitor_id']}/events")
    return [(each["crossed"]["from"], each["crossed"]["to"]) for each in reversed(found)]


@pytest.fixture
def usd(api: Api) -> str:
    """A balance of 5.00 USD."""
    balance = api.new_balance()
    api.done(destination=balance, precise_amount=500)
    return balance


@pytest.mark.smoke
def test_a_dip_inside_one_batch_fires_at_the_posting_that_makes_it(api: Api, usd: str) -> None:
    monitor = made(api, usd)
    assert monitor["state"]["triggered"] is False
    dip = {"source": usd, "destination": "@Shop", "precise_amount": 800}
    back = {"source": "@World", "destination": usd, "precise_amount": 800}
    ok(api.bulk(dip, back, dip, back), 201)
    api.drain()
    assert firings(api, monitor) == [(500, -300), (500, -300)]
    (latest, _) = api.get(f"/balance-monitors/{monitor['monitor_id']}/events")
    posted = api.transaction(latest["crossed"]["transaction_id"])
    assert (posted["source"], posted["sequence"]) == (usd, latest["crossed"]["sequence"])
    state = api.get(f"/balance-monitors/{monitor['monitor_id']}")["state"]
    assert (state["triggered"], state["fired"], state["version"]) == (False, 2, 6)
    assert api.get(f"/balances/{usd}")["version"] == 6


def test_a_firing_is_an_event_that_tells_the_monitor_the_balance_and_the_posting(api: Api, usd: str) -> None:
    monitor = made(api, usd, description="low", meta_data={"team": "treasury"})
    already = made(api, usd, condition={"operator": ">"})
    posted = api.done(source=usd, destination="@Shop", precise_amount=10**20 + 500)
    with reading_within(api.app.extensions["pacioli"].engine, 10.0) as conn:
        page = feed.read(conn, START, limit=100, types=types_of(["balance.monitor"]))
    first, second = page.events
    assert first.id == api.get(f"/balance-monitors/{already['monitor_id']}/events")[0]["event_id"]
    assert second.id == api.get(f"/balance-monitors/{monitor['monitor_id']}/events")[0]["event_id"]
    data = json.loads(bytes(second.data))
    assert f'"to":-{10**20}' in bytes(second.data).decode()
    crossed = data.pop("crossed")
    assert crossed.pop("at")
    assert crossed == {
        "from": 500,
        "to": -(10**20),
        "sequence": posted["sequence"],
        "transaction_id": posted["transaction_id"],
        "reason": "crossed",
    }
    assert second.sequence == posted["sequence"]
    balance = data.pop("balance")
    assert (balance["balance"], balance["balance_id"], balance["version"]) == (-(10**20), usd, 3)
    assert data == api.get(f"/balance-monitors/{monitor['monitor_id']}")


def test_two_balances_of_one_posting_have_monitors_that_fire_at_it(api: Api, usd: str) -> None:
    other = api.new_balance()
    monitors = [made(api, usd), made(api, usd), made(api, other, condition={"operator": ">"})]
    posted = api.done(source=usd, destination=other, precise_amount=600)
    found = [api.get(f"/balance-monitors/{each['monitor_id']}/events")[0]["crossed"] for each in monitors]
    assert [each["sequence"] for each in found] == [posted["sequence"]] * 3


def test_a_commit_that_decides_at_once_fires_too(api: Api, usd: str) -> None:
    monitor = made(api, usd)
    api.done(source=usd, destination="@Shop", precise_amount=600)
    assert firings(api, monitor) == [(500, -100)]


def test_destinations_and_holds_are_watched(api: Api, usd: str) -> None:
    credit = made(api, usd, condition={"field": "credit_balance", "operator": ">=", "value": 6})
    held = made(api, usd, condition={"field": "inflight_debit_balance", "operator": ">", "value": 0})
    available = made(api, usd, condition={"field": "available_balance", "operator": "<=", "value": 2.5})
    hold = api.done(source=usd, destination="@Shop", precise_amount=250, inflight=True)["transaction_id"]
    assert firings(api, held) == [(0, 250)]
    assert firings(api, available) == [(500, 250)]
    ok(api.settle(hold, "commit", skip_queue=True, precise_amount=100), 200)
    ok(api.settle(hold, "void", skip_queue=True), 200)
    assert api.get(f"/balance-monitors/{held['monitor_id']}")["state"]["triggered"] is False
    api.done(destination=usd, precise_amount=100)
    assert firings(api, credit) == [(500, 600)]


@pytest.mark.parametrize(
    ("condition", "precise"),
    [
        ({"value": 0}, 0),
        ({"value": -2.5}, -250),
        ({"value": 0.29}, 29),
        ({"value": 0, "precision": None}, 0),
        ({"value": 100000}, 10000000),
        ({"value": None, "precise_value": "123456789012345678901234567890"}, 123456789012345678901234567890),
        ({"value": 1.5, "precise_value": 150}, 150),
    ],
)
def test_thresholds_are_exact(api: Api, usd: str, condition: dict[str, Any], precise: int) -> None:
    monitor = made(api, usd, condition=condition)
    assert monitor["condition"]["precise_value"] == precise
    assert monitor["condition"]["precision"] == 100
    assert api.get(f"/balance-monitors/{monitor['monitor_id']}") == monitor


def test_whole_numbers_go_out_as_integers(api: Api, usd: str) -> None:
    monitor = made(api, usd, condition={"value": 100.0})
    text = api.client.get(f"/balance-monitors/{monitor['monitor_id']}").text
    assert '"value":100,' in text and '"precision":100,' in text and '"min_interval":0,' in text


@pytest.mark.parametrize("operator", ["=", "=="])
def test_equal_works_under_both_names(api: Api, usd: str, operator: str) -> None:
    monitor = made(api, usd, condition={"operator": operator, "value": 0})
    assert monitor["condition"]["operator"] == "="
    api.done(source=usd, destination="@Shop", precise_amount=500)
    assert firings(api, monitor) == [(500, 0)]


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({"condition": {"value": 0.005}}, "GEN_VALIDATION_ERROR", "condition.value: is not a whole number of minor"),
        ({"condition": {"precision": 1000}}, "TXN_PRECISION_MISMATCH", "is 1000, but USD has precision 100"),
        ({"condition": {"precision": 0}}, "GEN_VALIDATION_ERROR", "condition.precision: must be a whole number"),
        ({"condition": {"value": None}}, "GEN_VALIDATION_ERROR", "condition.value: cannot be blank"),
        ({"condition": {"field": None}}, "GEN_VALIDATION_ERROR", "condition.field: cannot be blank"),
        ({"condition": {"field": "wealth"}}, "GEN_VALIDATION_ERROR", "condition.field: must be one of balance,"),
        ({"condition": {"field": "queued_debit_balance"}}, "GEN_VALIDATION_ERROR", "is not known at a posting"),
        ({"condition": {"operator": "<>"}}, "GEN_VALIDATION_ERROR", "condition.operator: must be one of >,"),
        ({"condition": {"precise_value": 5}}, "GEN_VALIDATION_ERROR", "is 5, but value times precision is 0"),
        ({"condition": {"value": "1e5000"}}, "GEN_VALIDATION_ERROR", "condition.value: has more than 1000 digits"),
        ({"mode": "both"}, "GEN_VALIDATION_ERROR", "mode: must be edge or level"),
        ({"hysteresis": -1}, "GEN_VALIDATION_ERROR", "hysteresis: must be zero or more"),
        ({"hysteresis": 0.001}, "GEN_VALIDATION_ERROR", "hysteresis: is not a whole number of minor units"),
        ({"hysteresis": "NaN"}, "GEN_MALFORMED_REQUEST", "hysteresis: must be a number"),
        ({"min_interval": "Infinity"}, "GEN_MALFORMED_REQUEST", "min_interval: must be a number"),
        ({"condition": {"precision": "sNaN"}}, "GEN_MALFORMED_REQUEST", "condition.precision: must be a number"),
        ({"min_interval": -1}, "GEN_VALIDATION_ERROR", "min_interval: must be from 0"),
        ({"call_back_url": "ftp://x"}, "GEN_VALIDATION_ERROR", "call_back_url: must begin with https:// or http://"),
        ({"call_back_url": "http://a:b@x"}, "GEN_VALIDATION_ERROR", "call_back_url: must have no user and password"),
        ({"meta_data": []}, "GEN_VALIDATION_ERROR", "meta_data: must be an object"),
        ({"balance_id": ""}, "GEN_VALIDATION_ERROR", "balance_id: cannot be blank"),
        ({"wrong": 1}, "GEN_VALIDATION_ERROR", "wrong"),
        ({"once": "yes"}, "GEN_MALFORMED_REQUEST", "once"),
    ],
)
def test_a_bad_request_is_refused_with_the_field(
    api: Api, usd: str, fields: dict[str, Any], code: str, said: str
) -> None:
    body = made(api, fields.pop("balance_id", usd), 400, **fields)
    assert body["error_detail"]["code"] == code
    assert said in body["error"]
    assert body["errors"]


def test_an_unknown_balance_or_monitor_is_not_found(api: Api) -> None:
    unknown = "mon_01928ee1-7e5a-7000-8000-000000000000"
    text = f"Monitor with ID '{unknown}' not found"
    body = made(api, "bln_01928ee1-7e5a-7000-8000-000000000000", 404)
    assert body["error_detail"]["code"] == "BAL_NOT_FOUND"
    for call in (api.client.get, api.client.delete):
        refused(call(f"/balance-monitors/{unknown}"), 404, "BAL_MONITOR_NOT_FOUND", text)
    asked = {"balance_id": "bln_x", "condition": CONDITION}
    refused(api.client.put(f"/balance-monitors/{unknown}", json=asked), 404, "BAL_MONITOR_NOT_FOUND", text)
    refused(api.client.get(f"/balance-monitors/{unknown}/events"), 404, "BAL_MONITOR_NOT_FOUND", text)
    assert api.get("/balance-monitors/balances/bln_unknown") == []


def test_lists_have_the_newest_first_and_pages(api: Api, usd: str) -> None:
    assert api.get("/balance-monitors") == []
    ids = [made(api, usd, description=f"m{number}")["monitor_id"] for number in range(3)][::-1]
    other = made(api, api.new_balance())["monitor_id"]
    listed = [each["monitor_id"] for each in api.get("/balance-monitors")]
    assert listed == [other, *ids]
    assert [each["monitor_id"] for each in api.get("/balance-monitors", limit=1, offset=1)] == ids[:1]
    assert [each["monitor_id"] for each in api.get("/balance-monitors", after=ids[0])] == ids[1:]
    assert [each["monitor_id"] for each in api.get(f"/balance-monitors/balances/{usd}")] == ids
    assert [each["monitor_id"] for each in api.get("/balance-monitors", balance_id_eq=usd, limit=2)] == ids[:2]
    assert api.get("/balance-monitors", include_count="true")["total_count"] == 4


def test_firings_have_pages(api: Api, usd: str) -> None:
    monitor = made(api, usd, mode="level", condition={"operator": ">"})
    path = f"/balance-monitors/{monitor['monitor_id']}/events"
    for _ in range(3):
        api.done(destination=usd)
    assert [each["crossed"]["to"] for each in api.get(path)] == [503, 502, 501, 500]
    first = api.client.get(path, query_string={"limit": 2})
    last = first.get_json()[-1]["event_id"]
    assert f"after={last}" in first.headers["Link"]
    rest = api.get(path, after=last)
    assert [each["crossed"]["reason"] for each in rest] == ["crossed", "already true"]
    refused(api.client.get(path, query_string={"after": "x"}), 400, "GEN_VALIDATION_ERROR")


def test_a_condition_that_is_true_already_fires_at_once_unless_told_not_to(api: Api, usd: str) -> None:
    loud = made(api, usd, condition={"operator": ">"})
    quiet = made(api, usd, condition={"operator": ">"}, fire_now=False)
    resting = made(api, usd, condition={"operator": ">"}, active=False)
    assert firings(api, loud) == [(None, 500)]
    assert loud["state"]["triggered"] and loud["state"]["fired"] == 1
    assert firings(api, quiet) == firings(api, resting) == []
    api.done(destination=usd)
    assert [firings(api, each) for each in (loud, quiet, resting)] == [[(None, 500)], [], []]


def test_an_update_replaces_all_of_a_monitor(api: Api, usd: str) -> None:
    monitor = made(
        api,
        usd,
        description="low",
        call_back_url="https://example.com/x",
        meta_data={"a": 1.50},
        once=True,
        hysteresis=1,
    )
    assert monitor["call_back_url"] == "https://example.com/x"
    path = f"/balance-monitors/{monitor['monitor_id']}"
    asked = {"balance_id": usd, "condition": {"field": "debit_balance", "operator": ">", "value": 1.5}}
    updated = ok(api.client.put(path, json=asked), 200)
    assert updated.pop("message") == "BalanceMonitor updated successfully"
    assert updated == api.get(path)
    assert updated["condition"] == {
        "value": 1.5,
        "precision": 100,
        "precise_value": 150,
        "field": "debit_balance",
        "operator": ">",
    }
    assert "description" not in updated and "call_back_url" not in updated
    assert (updated["meta_data"], updated["once"], updated["hysteresis"]) == (None, False, 0)
    api.done(source=usd, destination="@Shop", precise_amount=600)
    assert firings(api, monitor) == [(0, 600)]
    read = api.get(path)
    assert ok(api.client.put(path, json=read), 200)["condition"] == read["condition"], "what was read can be sent back"
    assert firings(api, monitor) == [(0, 600)], "nothing changed, so nothing fires"


def test_an_update_moves_a_monitor_to_another_balance(api: Api, usd: str) -> None:
    other = api.new_balance()
    monitor = made(api, usd)
    path = f"/balance-monitors/{monitor['monitor_id']}"
    ok(api.client.put(path, json={"balance_id": other, "condition": CONDITION}), 200)
    api.done(source=usd, destination="@Shop", precise_amount=600)
    assert firings(api, monitor) == []
    api.done(source=other, destination="@Shop", precise_amount=1)
    assert firings(api, monitor) == [(0, -1)]
    assert api.get(f"/balance-monitors/balances/{usd}") == []


def test_a_deleted_monitor_stops_and_another_one_of_the_balance_goes_on(api: Api, usd: str) -> None:
    first, second = made(api, usd), made(api, usd)
    gone = ok(api.client.delete(f"/balance-monitors/{first['monitor_id']}"), 200)
    assert gone == {"message": "BalanceMonitor deleted successfully"}
    refused(api.client.get(f"/balance-monitors/{first['monitor_id']}"), 404, "BAL_MONITOR_NOT_FOUND")
    api.done(source=usd, destination="@Shop", precise_amount=600)
    assert firings(api, second) == [(500, -100)]
    ok(api.client.delete(f"/balance-monitors/{second['monitor_id']}"), 200)
    api.done(destination=usd, precise_amount=600)
    third = made(api, usd, condition={"operator": ">", "value": 0})
    assert firings(api, third) == [(None, 500)]


def test_once_sets_a_monitor_to_rest_and_an_update_wakes_it(api: Api, usd: str) -> None:
    monitor = made(api, usd, once=True)
    dip = {"source": usd, "destination": "@Shop", "precise_amount": 600}
    back = {"source": "@World", "destination": usd, "precise_amount": 600}
    ok(api.bulk(dip, back, dip, back), 201)
    api.drain()
    assert firings(api, monitor) == [(500, -100)]
    path = f"/balance-monitors/{monitor['monitor_id']}"
    assert api.get(path)["active"] is False
    ok(api.client.put(path, json={"condition": CONDITION, "once": True, "active": True}), 200)
    api.done(**dip)
    assert firings(api, monitor) == [(500, -100)] * 2


def test_a_monitor_keeps_quiet_within_its_interval(api: Api, usd: str) -> None:
    monitor = made(api, usd, min_interval=3600)
    dip = {"source": usd, "destination": "@Shop", "precise_amount": 600}
    back = {"source": "@World", "destination": usd, "precise_amount": 600}
    ok(api.bulk(dip, back, dip, back), 201)
    api.drain()
    assert firings(api, monitor) == [(500, -100)]


def test_metadata_is_merged_into_a_monitor(api: Api, usd: str) -> None:
    assert made(api, usd, meta_data={"a": 1.5})["meta_data"] == {"a": 1.5}
    monitor = made(api, usd, meta_data={"a": 1})["monitor_id"]
    merged = ok(api.client.post(f"/{monitor}/metadata", json={"meta_data": {"b": 2}}), 200)
    assert merged["metadata"] == {"a": 1, "b": 2}
    assert api.get(f"/balance-monitors/{monitor}")["meta_data"] == {"a": 1, "b": 2}
    unknown = "mon_01928ee1-7e5a-7000-8000-000000000000"
    refused(api.client.post(f"/{unknown}/metadata", json={"meta_data": {}}), 404, "META_ENTITY_NOT_FOUND")


def test_amounts_are_read_from_their_text(api: Api, usd: str) -> None:
    asked = {"balance_id": usd, "condition": CONDITION | {"value": "VALUE"}}
    body = json.dumps(asked).replace('"VALUE"', "12345678901234567890.12")
    made = ok(api.client.post("/balance-monitors", data=body, content_type="application/json"), 201)
    assert made["condition"]["precise_value"] == 1234567890123456789012
