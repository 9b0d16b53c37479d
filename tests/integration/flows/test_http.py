"""``/flows`` and ``/activity``: shapes, sums, bounds, bad input, and what a bound key sees."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from core.base.db import begin, reading
from core.flows import rollup_store, rollups
from core.flows.rollup_store import Lag
from core.upkeep.heartbeats import Heartbeat
from tests.harness.api import Api, close, ok, refused
from tests.harness.bounds import Two
from tests.harness.factories import Ledger, name_in
from tests.harness.key_ring import Keys
from tests.harness.keys import KEY
from web.app import create_app
from web.probing.facts import FLOWS_LATE_S, Facts, judge


def add(api: Api) -> None:
    """Do what the tick does."""
    rollups.add_new(api.app.extensions["pacioli"].engine)


def named(answer: dict[str, Any]) -> list[tuple[str, str, str, int, int]]:
    names = {node["id"]: node["name"] for node in answer["nodes"]}
    return [
        (each["currency"], names[each["source"]], names[each["destination"]], each["precise_amount"], each["count"])
        for each in answer["flows"]
    ]


@pytest.fixture
def shop(api: Api) -> str:
    """A ledger with two customers, who were funded, paid each other, and bought. Returns its ID."""
    ledger = ok(api.client.post("/ledgers", json={"name": "Customers"}), 201)["ledger_id"]
    ada, bob = (
        ok(api.client.post("/balances", json={"ledger_id": ledger, "currency": "USD"}), 201)["balance_id"]
        for _ in range(2)
    )
    api.done(source="@World", destination=ada, precise_amount=1000)
    api.done(source="@World", destination=bob, precise_amount=500)
    api.done(source=ada, destination=bob, precise_amount=200, allow_overdraft=None)
    paid = api.done(source=bob, destination="@Sales", precise_amount=300, allow_overdraft=None)
    ok(
        api.client.post(
            f"/refund-transaction/{paid['transaction_id']}", json={"precise_amount": 100, "skip_queue": True}
        ),
        201,
    )
    api.done(source="@World", destination="@Sales", precise_amount=7, currency="EUR", precision=100)
    hold = api.done(source=ada, destination="@Sales", precise_amount=50, inflight=True, allow_overdraft=None)
    api.settle(hold["transaction_id"], "commit", precise_amount=20, skip_queue=True)
    api.settle(hold["transaction_id"], "void", skip_queue=True)
    assert (
        api.post(
            source=ada, destination="@Sales", precise_amount=9999, skip_queue=True, allow_overdraft=None
        ).status_code
        == 400
    )
    add(api)
    return ledger


@pytest.mark.smoke
def test_flows_are_between_names_and_ledgers(api: Api, shop: str) -> None:
    found = api.get("/flows")
    assert named(found) == [
        ("EUR", "@World", "@Sales", 7, 1),
        ("USD", "@World", "Customers", 1500, 2),
        ("USD", "Customers", "@Sales", 320, 2),
        ("USD", "Customers", "Customers", 200, 1),
        ("USD", "@Sales", "Customers", 100, 1),
    ]
    assert found["others"] == []
    kinds = {node["name"]: (node["kind"], node["ledger_id"]) for node in found["nodes"]}
    assert kinds["Customers"] == ("ledger", shop) and kinds["@World"] == ("balance", "general_ledger_id")
    assert {node["id"] for node in found["nodes"] if node["kind"] == "ledger"} == {shop}
    usd = found["flows"][1]
    assert (usd["precision"], usd["amount"]) == (100, 15)
    times = [datetime.fromisoformat(found[name]) for name in ("from", "to", "complete_to")]
    assert times[1] - times[0] == timedelta(days=1) and times[0].second == times[1].second == 0
    assert times[1] - timedelta(minutes=1) < times[2] <= times[1]


def test_a_currency_or_a_node_is_asked_for(api: Api, shop: str) -> None:
    assert named(api.get("/flows", currency="EUR")) == [("EUR", "@World", "@Sales", 7, 1)]
    assert api.get("/flows", currency="XXX")["flows"] == []
    world = api.balance("@World")["balance_id"]
    assert named(api.get("/flows", node=world)) == [("USD", "@World", "Customers", 1500, 2)]
    assert {each[1:3] for each in named(api.get("/flows", node=shop))} == {
        ("@World", "Customers"),
        ("Customers", "@Sales"),
        ("Customers", "Customers"),
        ("@Sales", "Customers"),
    }


def test_small_nodes_are_gathered_and_the_sums_stay_whole(api: Api) -> None:
    for number in range(1, 8):
        api.done(source="@World", destination=f"@N{number}", precise_amount=number * 10)
        api.done(source=f"@N{number}", destination="@N7", precise_amount=number) if number < 7 else None
    add(api)
    whole, some = api.get("/flows"), api.get("/flows", limit=3)
    assert [(node["name"], node["kind"]) for node in some["nodes"] if node["kind"] == "others"] == [
        ("others", "others")
    ]
    assert some["others"] == [{"currency": "USD", "nodes": 5}] and len(some["nodes"]) == 4
    assert named(some) == [
        ("USD", "@World", "others", 150, 5),
        ("USD", "@World", "@N7", 70, 1),
        ("USD", "@World", "@N6", 60, 1),
        ("USD", "others", "@N7", 15, 5),
        ("USD", "@N6", "@N7", 6, 1),
    ]
    for answer in (whole, some):
        assert sum(each["precise_amount"] for each in answer["flows"]) == 280 + 21
    # The node that is asked for is shown, however small it is.
    small = api.balance("@N1")["balance_id"]
    assert {each[1:3] for each in named(api.get("/flows", node=small, limit=1))} == {
        ("others", "@N1"),
        ("@N1", "others"),
    }


def test_a_ledger_has_its_balances_and_a_name_its_counterparties(api: Api, shop: str) -> None:
    found = api.get(f"/flows/{shop}")
    assert found["node"] == {"id": shop, "kind": "ledger", "name": "Customers", "ledger_id": shop}
    assert [
        (each["name"], each["currency"], each["precise_amount_in"], each["count_in"], each["precise_amount_out"])
        for each in found["counterparties"]
    ] == [("@World", "USD", 1500, 2, 0), ("@Sales", "USD", 100, 1, 320), ("Customers", "USD", 200, 1, 200)]
    sides = {each["id"]: (each["precise_amount_in"], each["precise_amount_out"]) for each in found["balances"]}
    assert sorted(sides.values()) == [(800, 300), (1000, 220)]
    for id, (came, went) in sides.items():
        balance = api.get(f"/balances/{id}")
        assert (balance["credit_balance"], balance["debit_balance"]) == (came, went)
    assert not found["truncated"] and found["balances_from"] == found["from"]
    assert api.get(f"/flows/{shop}", limit=1)["truncated"]
    sales = api.get(f"/flows/{api.balance('@Sales')['balance_id']}")
    assert sales["balances"] == []
    assert [(each["name"], each["amount_in"], each["amount_out"]) for each in sales["counterparties"]] == [
        ("Customers", 3.2, 1)
    ]


def test_only_the_latest_transactions_are_looked_at_for_balances(
    api: Api, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.flows.reading.LOOKED_AT", 6)
    found = api.get(f"/flows/{shop}")
    assert found["truncated"] and found["balances_from"] > found["from"]
    assert sum(each["count_in"] for each in found["balances"]) == 1  # The refund. What was before is not looked at.
    assert len(found["counterparties"]) == 3


def test_activity_is_dense_and_counts_by_what_was_decided(api: Api, shop: str) -> None:
    found = api.get("/activity")
    assert found["step"] == "minute" and len(found["minutes"]) == 60
    total: Counter[str] = Counter()
    for minute in found["minutes"]:
        total.update({name: minute[name] for name in ("accepted", "applied", "inflight", "rejected")})
    assert total == {"accepted": 10, "applied": 7, "inflight": 1, "rejected": 1}  # And one void.
    at = [datetime.fromisoformat(minute["at"]) for minute in found["minutes"]]
    assert {later - one for one, later in pairwise(at)} == {timedelta(minutes=1)}
    assert at[0].isoformat() == datetime.fromisoformat(found["from"]).isoformat()
    days = api.get("/activity", step="day", **{"from": "2026-01-01T05:00:00Z", "to": "2026-01-03T05:00:00Z"})
    assert (days["from"], days["to"]) == ("2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z")
    assert [minute["applied"] for minute in days["minutes"]] == [0, 0, 0]


@pytest.mark.parametrize(
    ("hours", "step", "points"), [(1, "minute", 60), (24, "minute", 1440), (26, "hour", 26), (24 * 100, "day", 100)]
)
def test_a_long_time_has_longer_steps(api: Api, hours: int, step: str, points: int) -> None:
    end = datetime(2026, 3, 1, tzinfo=UTC)
    found = api.get("/activity", **{"from": (end - timedelta(hours=hours)).isoformat(), "to": end.isoformat()})
    assert (found["step"], len(found["minutes"])) == (step, points)


def spread(api: Api) -> None:
    """Let each transaction be accepted an hour and a minute after the one before it, from 22:30 on."""
    with begin(api.app.extensions["pacioli"].engine) as conn:
        conn.execute(text("SET LOCAL session_replication_role = replica"))
        conn.execute(
            text("UPDATE log SET accepted_at = '2026-01-30T22:30:00Z'::timestamptz + seq * interval '61 minutes'")
        )


def test_any_time_adds_up_what_was_accepted_within_it(api: Api) -> None:
    for number in range(60):
        api.done(precise_amount=number + 1)
    spread(api)
    add(api)
    start = datetime(2026, 1, 30, 22, 30, tzinfo=UTC)
    at = [start + timedelta(minutes=61 * (number + 1)) for number in range(60)]
    for first, end in (
        (at[0], at[-1]),
        (at[3], at[3] + timedelta(minutes=1)),
        (at[5] + timedelta(minutes=1), at[30] + timedelta(minutes=1)),
        (at[0].replace(hour=0, minute=0), at[40].replace(hour=0, minute=0)),
        (datetime(1970, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, tzinfo=UTC)),
        (at[2] + timedelta(seconds=30), at[20] + timedelta(seconds=30)),  # Rounded outwards.
    ):
        found = api.get("/flows", **{"from": first.isoformat(), "to": end.isoformat()})
        lower, upper = (datetime.fromisoformat(found[name]) for name in ("from", "to"))
        wanted = [number + 1 for number, each in enumerate(at) if lower <= each < upper]
        assert [(each[3], each[4]) for each in named(found)] == [(sum(wanted), len(wanted))]
        assert lower <= first and end <= upper


def test_what_is_not_decided_holds_the_sums_up_and_the_answers_say_so(api: Api, ledger: Ledger) -> None:
    ledger.post(source=name_in(ledger, 1))
    waiting = ledger.post(source=name_in(ledger, 0))
    ledger.post(source=name_in(ledger, 1))
    ledger.drain(1)
    add(api)
    found = api.get("/flows")
    assert [each[4] for each in named(found)] == [1]
    assert found["complete_to"] == api.get("/activity")["complete_to"]
    assert datetime.fromisoformat(found["complete_to"]) == waiting.accepted_at
    ledger.drain()
    add(api)
    assert [each[4] for each in named(api.get("/flows"))] == [1, 1, 1]
    assert api.get("/flows")["complete_to"] > found["complete_to"]


BAD = "must be a time such as 2026-04-22T15:28:03Z"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("from=yesterday", f"from: {BAD}"),
        ("to=2026-02-30T00:00:00Z", f"to: {BAD}"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from: must be before to"),
        ("from=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", "from: must be before to"),
        ("from=0001-01-01T00:00:00Z", "from: must be within the years 1970 to 9998"),
        ("to=9999-12-31T23:59:59Z", "to: must be within the years 1970 to 9998"),
        ("to=0001-01-01T00:00:00Z", "to: must be within the years 1970 to 9998"),
    ],
)
def test_wrong_times_are_refused(api: Api, shop: str, query: str, message: str) -> None:
    for path in ("/flows", f"/flows/{shop}", "/activity"):
        refused(api.client.get(f"{path}?{query}"), 400, "GEN_VALIDATION_ERROR", f"{message}.")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/flows?limit=0", "invalid limit value"),
        ("/flows?limit=x", "invalid limit value"),
        ("/activity?step=week", "step: must be minute, hour or day."),
        (
            "/activity?step=minute&from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z",
            "step: this time has 44,640 steps of a minute, and 5,000 are allowed: take a longer step.",
        ),
        ("/activity?from=1970-01-01T00:00:00Z", "step: the time is too long."),
    ],
)
def test_other_wrong_values_are_refused(api: Api, path: str, message: str) -> None:
    refused(api.client.get(path), 400, "GEN_VALIDATION_ERROR", message)


def test_an_unknown_node_is_not_found(api: Api) -> None:
    balance = api.new_balance()  # It has no name, and so it is within the node of its ledger.
    for node in ("x", "others", "bln_00000000-0000-0000-0000-000000000000", "ldg_x", balance, "@World"):
        for path in (f"/flows/{node}", f"/flows?node={node}"):
            refused(api.client.get(path), 404, "GEN_NOT_FOUND")


def test_an_empty_ledger_has_no_flows(api: Api) -> None:
    found = api.get("/flows")
    assert (found["nodes"], found["flows"], found["others"]) == ([], [], [])
    assert api.get("/flows/general_ledger_id")["counterparties"] == []


@pytest.fixture
def two(database_url: str) -> Iterator[Two]:
    app: Flask = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY})
    yield Two(Keys(app))
    close(app)


def test_a_bound_key_sees_the_flows_whose_both_ends_it_reaches(two: Two) -> None:
    rollups.add_new(two.keys.app.extensions["pacioli"].engine)
    every, own = (ok(holder.ask("GET /flows"), 200) for holder in (two.master, two.holder))
    (tills,) = (node["id"] for node in every["nodes"] if node["name"] == "@Tills")
    reached = {two.ledgers[0], tills}
    assert {(each["source"], each["destination"]) for each in own["flows"]} == {
        (each["source"], each["destination"])
        for each in every["flows"]
        if {each["source"], each["destination"]} <= reached
    }
    assert 0 < len(own["flows"]) < len(every["flows"])
    assert {node["id"] for node in own["nodes"]} <= reached


def test_health_says_when_nobody_adds_to_the_sums(api: Api, ledger: Ledger) -> None:
    def lag() -> Lag:
        with reading(ledger.engine) as conn:
            return rollup_store.lag(conn)

    def troubles(found: Lag, part: str = "worker") -> list[str]:
        beat = Heartbeat("w", part, "h", 1.0, 0.0, None)
        facts = Facts(heartbeats=[beat], ticks=[], oldest_age_s=None, verified=None, flows=found)
        return [each.what for each in judge(facts, known_for_s=1.0) if each.part == "flows"]

    assert lag() == Lag(0, 0.0, None)
    api.done()
    assert (lag().rows, lag().age_s > 0) == (1, True)
    found = Lag(rows=1_000, age_s=5_000.0, ended_s=FLOWS_LATE_S + 1)
    assert troubles(found) == [
        f"the sums of flows and activity are 1,000 transactions behind, and were not added to for {FLOWS_LATE_S + 1} s"
    ]
    assert troubles(found._replace(ended_s=2.0)) == troubles(found._replace(rows=0)) == troubles(found, "web") == []
    add(api)
    assert lag().rows == 0


def test_metrics_say_how_far_behind_the_sums_are(api: Api) -> None:
    api.done()
    text = api.client.get("/metrics").text
    assert "pacioli_flows_behind 1.0" in text and "pacioli_flows_behind_seconds " in text
