"""Activity shows what GET /activity answers, as bars and as a table, and leads on to shorter steps."""

import html
import re
from datetime import timedelta

import pytest
from flask import Flask

from core.flows.rollups import add_new
from tests.harness.keys import HEADERS
from tests.integration.web.dashboard.conftest import Browser
from web.dashboard.pages.activity import step_for

POSTED = {
    "precision": 100, "currency": "USD", "destination": "@Shop", "description": "d", "skip_queue": True, "amount": 1,
}  # fmt: skip


@pytest.fixture
def busy(browser: Browser, locked: Flask) -> Browser:
    """A ledger in which three transactions were applied, one holds money, and one was rejected."""
    for number in range(5):
        body = POSTED | {"reference": f"r{number}", "source": "@Poor" if number == 4 else "@World"}
        body |= {"allow_overdraft": number < 4, "inflight": number == 3}
        browser.client.post("/transactions", json=body, headers=HEADERS)
    add_new(locked.extensions["pacioli"].engine)
    return browser


def test_what_was_done_is_shown_as_bars_and_in_figures(busy: Browser) -> None:
    text = busy.get("/dashboard/activity")
    assert "5 accepted, 3 of them applied and 1 rejected, by hour" in text
    assert re.search(r'class="part applied" d="M[\d.,]+h', text) and re.search(r'class="part rejected" d="M', text)
    assert 'class="part voids" d=""' in text and text.count("<tr>") == 2
    assert "3 applied, 1 held, 1 rejected" in text and " style=" not in text


def test_a_bar_leads_to_the_minutes_of_its_hour(busy: Browser) -> None:
    link = re.search(r'<a href="(\?period=own[^"]*)" aria-label', busy.get("/dashboard/activity"))
    assert link is not None
    closer = busy.get(f"/dashboard/activity{html.unescape(link[1])}")
    assert "by minute" in closer and "5 accepted" in closer and closer.count("<rect") == 60


@pytest.mark.parametrize(
    ("length", "step"),
    [
        (timedelta(hours=1), "minute"),
        (timedelta(hours=4), "hour"),
        (timedelta(days=30), "day"),
        (timedelta(days=4000), "day"),
    ],
)
def test_a_longer_time_has_longer_steps(length: timedelta, step: str) -> None:
    assert step_for(length) == step


@pytest.mark.parametrize("period", ["hour", "day", "week", "month", "year"])
def test_every_period_is_shown(busy: Browser, period: str) -> None:
    assert "5 accepted" in busy.get(f"/dashboard/activity?period={period}")


@pytest.mark.parametrize(
    "query", ["period=hour", "period=year", "period=own&from=2026-01-01T00:00&to=2026-01-02T00:00"]
)
def test_a_new_ledger_invites_to_post(browser: Browser, query: str) -> None:
    text = browser.get(f"/dashboard/activity?{query}")
    assert "Nothing was accepted in this time" in text and "pacioli demo" in text


def test_a_time_without_transactions_says_where_to_look(busy: Browser) -> None:
    assert "the last year" in busy.get("/dashboard/activity?period=own&from=2025-01-01T00:00&to=2025-01-02T00:00")


@pytest.mark.parametrize(
    "times", ["from=x", "from=1990-01-01T00:00&to=9990-01-01T00:00", "from=2026-02-01T00:00&to=2026-01-01T00:00"]
)
def test_a_time_that_is_none_is_refused_in_words(browser: Browser, times: str) -> None:
    text = browser.get(f"/dashboard/activity?period=own&{times}")
    assert ('class="fault"' if times == "from=x" else 'role="alert"') in text


def test_it_needs_the_right_to_read_transactions(browser: Browser, locked: Flask) -> None:
    other = Browser(locked)
    other.sign_in(browser.stored_key("balances:read"))
    assert "This key may not do that" in other.get("/dashboard/activity", 403)
