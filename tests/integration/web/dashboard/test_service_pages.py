"""The overview, the queues and the health of the ledger show what is, what moves and what is amiss."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import fields, replace

from core.upkeep.heartbeats import Child, Heartbeat, State
from core.upkeep.ticks import Tick
from tests.harness.keys import HEADERS
from tests.integration.web.dashboard.conftest import Browser
from web.dashboard.pages import health, overview, queues
from web.health import Checks, Part
from web.probing.checks import Probe
from web.probing.facts import Facts
from web.probing.prober import Prober, Severity, Trouble


def _post(browser: Browser, reference: str, **body: Any) -> None:
    asked = {
        "amount": 10, "precision": 100, "currency": "USD", "source": "@World", "destination": "@Shop",
        "description": "d", "allow_overdraft": True, "reference": reference, **body,
    }  # fmt: skip
    response = browser.client.post("/transactions", json=asked, headers=HEADERS)
    assert response.status_code == 201, response.text


def test_an_empty_ledger_tells_a_newcomer_what_to_do(browser: Browser) -> None:
    text = browser.get("/dashboard")
    assert "No money has moved yet" in text and "pacioli demo" in text and "/dashboard/funding/new" in text


def test_the_overview_says_whether_the_books_balance(browser: Browser) -> None:
    _post(browser, "r1", skip_queue=True)
    _post(browser, "r2", skip_queue=True, currency="EUR", amount="2.50")
    text = browser.get("/dashboard")
    assert text.count("to the unit") == 2 and "No money has moved" not in text
    assert text.index(">EUR<") < text.index("@Shop") and "−2.50" in text


def test_what_waits_is_counted(browser: Browser) -> None:
    for number in range(3):
        _post(browser, f"r{number}")
    assert re.search(r"In line</a></h2>\s*<p class=\"figure \">3</p>", browser.get("/dashboard"))
    text = browser.get("/dashboard/queues")
    assert "3 transactions wait in 8 queues" in text and text.count('class="bar"') == 8


def test_nothing_in_line_needs_no_picture(browser: Browser) -> None:
    text = browser.get("/dashboard/queues")
    assert "Nothing waits." in text and "<svg" not in text and "pacioli demo" in text


def test_what_moves_is_drawn_by_queue(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"depth": 0, "oldest_age_s": None, "cursor": 9, "last_drained_at": None, "decided": 9}
    rows = [{"number": number, "rate_per_s": Decimal("2.5") * number, **row} for number in range(4)]
    monkeypatch.setattr(queues, "ask", lambda *asked: _Answer(rows))
    text = browser.get("/dashboard/queues")
    assert "15 are decided a second, the most in queue 3: 7.5" in text and "What waits, by queue" not in text


def test_a_full_count_says_that_there_may_be_more(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "COUNTED", 2)
    for number in range(3):
        _post(browser, f"r{number}")
    assert "3+" in browser.get("/dashboard/queues")


def test_without_workers_it_says_how_to_start_one(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    _know(monkeypatch, None)
    assert "No worker" not in browser.get("/dashboard/queues")
    _know(monkeypatch, Facts(heartbeats=[], ticks=[], oldest_age_s=None, verified=None))
    assert "No worker has been heard of" in browser.get("/dashboard/queues")


def test_who_drains_which_queue_is_shown(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = Child(pid=2, silent_s=0.0, answers=True, task="pacioli.drain", queue=7, busy_s=12.0)
    state = State(pid=1, up_s=60.0, children=[busy])
    beat = Heartbeat(name="worker@here:1", part="worker", host="here", age_s=1.0, clock_off_s=0.0, state=state)
    _know(monkeypatch, Facts(heartbeats=[beat], ticks=[], oldest_age_s=None, verified=None))
    assert "<code>pacioli.drain</code> of queue 7 for 12 s" in browser.get("/dashboard/queues")
    (process,) = browser.client.get("/parts", headers=HEADERS).json["processes"]
    assert process["children"][0]["queue"] == 7


@pytest.mark.parametrize("path", ["/dashboard", "/dashboard/health"])
def test_what_is_wrong_is_said_in_words(browser: Browser, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    since = datetime.now(UTC) - timedelta(minutes=90)
    trouble = Trouble(
        part="broker", severity=Severity.DEGRADED, what="<b>it</b> is away", advice="see its log", since=since
    )
    monkeypatch.setattr(Prober, "troubles", lambda self: [trouble])
    text = browser.get(path)
    assert "&lt;b&gt;it&lt;/b&gt; is away.</bdi> See its log." in text
    assert "degraded for 1.5 h" in text and "All is well" not in text


@pytest.mark.parametrize("path", ["/dashboard", "/dashboard/health"])
def test_a_service_that_is_down_has_pages_that_say_so(
    browser: Browser, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    trouble = Trouble(part="database", severity=Severity.DOWN, what="it is read-only", advice="free the disk")
    trouble = replace(trouble, since=datetime.now(UTC))
    monkeypatch.setattr(Prober, "troubles", lambda self: [trouble])
    assert "It is read-only. Free the disk." in re.sub(r"</?bdi>", "", browser.get(path))


def test_a_live_part_looks_up_itself_alone(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    _post(browser, "r1", skip_queue=True)
    asked: list[str] = []
    ask = overview.ask
    monkeypatch.setattr(overview, "ask", lambda method, path, *rest: asked.append(path) or ask(method, path, *rest))
    shown = {}
    for part in ("now", "runs", "books"):
        asked.clear()
        shown[part] = browser.client.get("/dashboard", headers={"HX-Request": "true", "HX-Target": part}).text
        assert f'id="{part}"' in shown[part] and "<nav" not in shown[part]
        assert ("/books" in asked) == (part == "books") and ("/queues" in asked) == (part == "now"), asked
    assert 'id="books"' not in shown["now"]


@pytest.mark.parametrize("part", ["queues", "health"])
def test_a_page_that_is_open_is_renewed_without_its_frame(browser: Browser, part: str) -> None:
    text = browser.client.get(f"/dashboard/{part}", headers={"HX-Request": "true", "HX-Target": part}).text
    assert f'id="{part}"' in text and "<nav" not in text


def test_a_run_that_goes_on_is_shown_with_its_progress(browser: Browser) -> None:
    job = {
        "name": "<i>Pay", "source": "@Pool", "currency": "USD", "precision": 100, "allow_overdraft": True,
        "recipients": [{"destination": "@Ada", "amount": "1"}, {"destination": "@Ben", "amount": "2"}],
    }  # fmt: skip
    made = browser.client.post("/funding-jobs", json=job, headers=HEADERS)
    assert made.status_code == 201, made.text
    text = browser.get("/dashboard")
    assert "Funding that goes on" in text and "&lt;i&gt;Pay" in text and "of 2" in text


def test_every_check_and_every_tick_is_explained() -> None:
    checks = {each.name for each in fields(Checks) if each.type == Part}
    assert set(health.CHECKS) == checks
    assert set(health.TICKS) == set(Tick)


def test_a_process_that_is_long_gone_is_only_counted(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    beats = [_beat("web@here:1", 2.0), _beat("web@here:2", 20.0), _beat("web@here:3", 9000.0)]
    _know(monkeypatch, Facts(heartbeats=beats, ticks=[], oldest_age_s=None, verified=None))
    text = browser.get("/dashboard/health")
    assert "web@here:1" in text and "web@here:2" in text and "web@here:3" not in text
    assert "1 more has not been heard of" in text


def _know(monkeypatch: pytest.MonkeyPatch, facts: Facts | None) -> None:
    """Let the service know these facts, whatever it finds out meanwhile."""
    monkeypatch.setattr(Probe, "facts", property(lambda self: facts, lambda self, found: None), raising=False)


def _beat(name: str, age_s: float) -> Heartbeat:
    return Heartbeat(name=name, part="web", host="here", age_s=age_s, clock_off_s=0.0, state=None)


def test_verifying_shows_what_was_read_and_every_fault(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    _post(browser, "r1", skip_queue=True)
    assert "The ledger is sound" in browser.post("/dashboard/health/verify", 200).text
    monkeypatch.setattr("web.dashboard.pages.health.ask", lambda *asked: _Unsound())
    text = browser.post("/dashboard/health/verify", 200).text
    assert "The ledger was altered" in text and "log 7" in text and "&lt;b&gt;12" in text and "of 240" in text


class _Answer:
    """An answer of the API."""

    def __init__(self, json: Any) -> None:
        self.json = json


class _Unsound:
    """The answer about a ledger in which a row was altered."""

    @property
    def json(self) -> Any:
        return {
            "ok": False, "transactions": 9, "from_sequence": 1, "to_sequence": 9, "balances": 2, "currencies": 1,
            "undecided": 0, "checkpoint": None, "sealed": None, "problem_count": 240, "warnings": [],
            "problems": [{"table": "log", "key": "7", "what": "amount", "expected": "10", "found": "<b>12"}],
        }  # fmt: skip
