"""The money map shows what GET /flows answers, as a picture and as a table, and leads on to balances and transactions."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
from flask import Flask

from core.flows.rollups import add_new
from tests.harness.keys import HEADERS
from tests.integration.web.dashboard.conftest import Browser
from web.dashboard.pages import map as pages

HOSTILE = "@<script>alert(1)</script>'\"&\u05e9\u05dc\u05d5\u05dd{{7*7}}"


@pytest.fixture
def moved(browser: Browser, locked: Flask) -> Any:
    """Posts money from one name to another, and adds it to the sums."""

    def post(*flows: tuple[str, str, str], **more: Any) -> None:
        items = [
            {
                "amount": amount, "precision": 100, "currency": "USD", "source": source, "destination": destination,
                "description": "d", "allow_overdraft": True, "reference": f"{source}{destination}{number}{more}", **more,
            }
            for number, (source, destination, amount) in enumerate(flows)
        ]  # fmt: skip
        body = {"transactions": items, "skip_queue": True}
        response = browser.client.post("/transactions/bulk", json=body, headers=HEADERS)
        assert response.status_code == 201, response.text
        add_new(locked.extensions["pacioli"].engine)

    return post


def _pictures(text: str) -> list[ElementTree.Element]:
    """Return the pictures of a page, which must be well-formed."""
    return [ElementTree.fromstring(found) for found in re.findall(r"<svg class=\"sankey.*?</svg>", text, re.DOTALL)]


def test_money_is_shown_as_ribbons_and_as_a_table(browser: Browser, moved: Any) -> None:
    moved(("@World", "@Pool", "100"), ("@Pool", "@Shop", "60.50"), ("@Shop", "@Pool", "1"))
    text = browser.get("/dashboard/map")
    wide, narrow = _pictures(text)
    for picture in (wide, narrow):
        assert len(list(picture.iter("path"))) == 3
        assert picture[0].tag == "title" and "The largest: @World to @Pool 100.00" in str(picture[1].text)
    assert text.count("<tr>") == 4 and "60.50" in text
    assert "@World to @Pool: 100.00 USD" in text
    assert " style=" not in text and "<script>" not in text


def test_currencies_are_never_added(browser: Browser, moved: Any) -> None:
    moved(("@World", "@Pool", "100"), ("@World", "@Shop", "5"))
    moved(("@World", "@Pool", "7"), currency="EUR")
    first = browser.get("/dashboard/map")
    assert "Where USD moved" in first and "7.00" not in first
    assert "Where EUR moved" in browser.get("/dashboard/map?currency=EUR")


def test_the_rest_is_gathered(browser: Browser, moved: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    moved(*(("@World", f"@Shop{number}", str(number + 1)) for number in range(20)))
    text = browser.get("/dashboard/map?nodes=12")
    assert "9 smaller nodes are gathered" in text and "all others" in text and "@Shop0<" not in text
    monkeypatch.setattr(pages, "RIBBONS", 3)
    text = browser.get("/dashboard/map?nodes=50")
    assert "17 more flows, together 153.00 USD" in text and len(list(_pictures(text)[0].iter("path"))) == 3


def test_hostile_names_stay_names(browser: Browser, moved: Any) -> None:
    moved(("@World", HOSTILE, "1"), (HOSTILE, "@" + "x" * 200, "1"))
    text = browser.get("/dashboard/map")
    assert "<script>alert" not in text and "&lt;script&gt;alert(1)" in text and len(_pictures(text)) == 2
    link = re.search(r'href="(/dashboard/map/bln_[^"?]*)', text)
    assert link is not None and "<script>alert" not in browser.get(link[1])


def test_a_node_leads_to_its_balance_and_its_transactions(browser: Browser, moved: Any) -> None:
    moved(("@World", "@Pool", "100"), ("@Pool", "@Shop", "60.50"), ("@Shop", "@Pool", "1"))
    row = browser.client.get("/balances/indicator/@Pool/currency/USD", headers=HEADERS).json
    text = browser.get(f"/dashboard/map/{row['balance_id']}")
    assert "101.00" in text and "60.50" in text and "40.50" in text
    assert f"/dashboard/balances/{row['balance_id']}" in text
    assert f"/dashboard/transactions?balance={row['balance_id']}" in text
    assert {box.text for box in _pictures(text)[0].iter("text")} >= {"@World", "@Pool", "@Shop"}


def test_a_ledger_shows_the_balances_that_are_behind_it(browser: Browser, moved: Any) -> None:
    ledger = browser.client.post("/ledgers", json={"name": "Wallets"}, headers=HEADERS).json["ledger_id"]
    body = {"ledger_id": ledger, "currency": "USD"}
    ids = [browser.client.post("/balances", json=body, headers=HEADERS).json["balance_id"] for _ in range(2)]
    moved(("@World", ids[0], "9"), (ids[0], ids[1], "4"))
    assert "Wallets" in browser.get("/dashboard/map")
    text = browser.get(f"/dashboard/map/{ledger}")
    assert all(f"/dashboard/balances/{id}" in text for id in ids) and "within it" in text


QUERIES = ["", "period=hour", "period=month", "currency=XXX", "nodes=7", "period=own", "period=x"]


@pytest.mark.parametrize("query", QUERIES)
def test_a_new_ledger_invites_to_move_money(browser: Browser, query: str) -> None:
    text = browser.get(f"/dashboard/map?{query}")
    assert "moved in this time" in text and "pacioli demo" in text and "/dashboard/funding/new" in text


def test_a_time_in_which_nothing_moved_says_where_to_look(browser: Browser, moved: Any) -> None:
    moved(("@World", "@Pool", "100"))
    assert "the last month" in browser.get("/dashboard/map?currency=XXX")
    assert "Choose a time of your own" in browser.get("/dashboard/map?currency=XXX&period=month")


def test_a_time_of_ones_own_is_chosen(browser: Browser, moved: Any) -> None:
    moved(("@World", "@Pool", "100"))
    ahead = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M")
    assert "Where USD moved" in browser.get(f"/dashboard/map?period=own&from=2026-01-01T00:00&to={ahead}")
    assert "Where USD moved" in browser.get("/dashboard/map?period=own&from=2026-01-01T00:00&to=")
    assert "No money moved" in browser.get("/dashboard/map?period=own&from=2025-01-01T00:00&to=2025-02-01T00:00")


@pytest.mark.parametrize(
    "times", ["from=tomorrow&to=", "from=2026-02-01T00:00&to=2026-01-01T00:00", "from=2026-01-01T00:00&to=%F0"]
)
def test_a_time_that_is_none_is_refused_in_words(browser: Browser, times: str) -> None:
    text = browser.get(f"/dashboard/map?period=own&{times}")
    assert 'class="fault"' in text or 'role="alert"' in text


def test_what_is_no_node_is_not_there(browser: Browser) -> None:
    assert "It is not there" in browser.get("/dashboard/map/bln_nothing", 404)
    assert "It is not there" in browser.get("/dashboard/map/a%2Fb", 404)


def test_sums_that_are_behind_say_so(
    browser: Browser, locked: Flask, moved: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved(("@World", "@Pool", "100"))
    assert "What was accepted up to" not in browser.get("/dashboard/map")
    waits = {"amount": 1, "precision": 100, "currency": "USD", "source": "@World", "destination": "@Shop",
             "description": "d", "allow_overdraft": True, "reference": "waits"}  # fmt: skip
    assert browser.client.post("/transactions", json=waits, headers=HEADERS).status_code == 201
    monkeypatch.setattr(pages, "LATE_S", -1)
    assert "What was accepted up to" in browser.get("/dashboard/map")


def test_the_map_needs_the_right_to_read_balances(browser: Browser, locked: Flask) -> None:
    other = Browser(locked)
    other.sign_in(browser.stored_key("queues:read"))
    assert "This key may not do that" in other.get("/dashboard/map", 403)
    assert "/dashboard/map" not in other.get("/dashboard")


def test_a_map_that_is_open_renews_the_picture_alone(browser: Browser, moved: Any) -> None:
    moved(("@World", "@Pool", "100"))
    text = browser.client.get("/dashboard/map", headers={"HX-Request": "true", "HX-Target": "map"}).text
    assert 'id="map"' in text and "<nav" not in text
