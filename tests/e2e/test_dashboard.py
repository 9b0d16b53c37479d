"""The dashboard in a real browser, over the whole service: what a person does in the first minutes."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.harness.keys import HEADERS, KEY
from tests.harness.pages import ROOT
from tests.harness.programs import needs_program
from web.dashboard.nav import PAGES

PHONE = {"width": 390, "height": 800}
HOSTILE = "<img src=x onerror=document.title='taken'> \u05e9\u05dc\u05d5\u05dd"
SLOW_MS = 60_000
"""Nothing here is about speed, and the machine may be busy."""
OWN_STYLES = "Try it"
"""The page whose contents are Scalar's, which answers for its own colours."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = needs_program("chromium")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


Open = Callable[..., Page]


@pytest.fixture
def signed_in(chromium: Browser, service: str) -> Iterator[Open]:
    """Opens a page of the dashboard for somebody who has signed in. Errors of its scripts and refused loads fail the test."""
    contexts, wrong = [], []

    def page_of(path: str = "", **options: Any) -> Page:
        context = chromium.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(SLOW_MS)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda line: wrong.append(line.text) if "Content Security Policy" in line.text else None)
        page.goto(f"{service}/dashboard/sign-in?next=/dashboard{path}")
        page.get_by_label("Key").fill(KEY)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"**/dashboard{path}")
        return page

    yield page_of
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def post(service: str) -> Callable[..., Any]:
    def submit(reference: str, **body: Any) -> Any:
        asked = {
            "amount": 25, "precision": 100, "currency": "DSH", "source": "@DashWorld", "destination": "@DashShop",
            "description": "tea", "allow_overdraft": True, "skip_queue": True, "reference": reference, **body,
        }  # fmt: skip
        return requests.post(f"{service}/transactions", json=asked, headers=HEADERS, timeout=60).json()

    return submit


def test_a_newcomer_funds_from_a_file_with_two_bad_rows(signed_in: Open, tmp_path: Path) -> None:
    rows = [f"@Dash{number},{number}.50" for number in range(1, 51)]
    bad = [*rows[:10], "@DashX,ten", *rows[10:30], "@DashY,-1", *rows[30:]]
    for name, lines in (("bad.csv", bad), ("good.csv", rows)):
        (tmp_path / name).write_text("destination,amount\n" + "\n".join(lines))
    page = signed_in("/funding/new")
    page.get_by_label("Name of the job").fill("Wallets")
    page.get_by_label("Currency").fill("DSH")
    page.get_by_label("the pool may go below zero").check()
    _drop(page, tmp_path / "bad.csv")
    expect(page.locator("[data-file]")).to_contain_text("bad.csv, ")
    page.get_by_role("button", name="Try it").click()
    expect(page.locator("#tried tr.wrong", has_text="@DashX")).to_be_visible(timeout=SLOW_MS)
    expect(page.locator("#tried tr.wrong td.cell", has_text="-1")).to_be_visible()
    page.get_by_role("button", name="try it without rows 12, 33").click()
    expect(page.get_by_role("button", name="Pay 1,300.00 DSH")).to_be_visible(timeout=SLOW_MS)
    page.locator("input[type=file]").set_input_files(tmp_path / "good.csv")
    expect(page.get_by_role("button", name="Pay 1,300.00 DSH")).to_have_count(0)
    page.get_by_role("button", name="Try it").click()
    page.get_by_role("button", name="Pay 1,300.00 DSH").click(timeout=SLOW_MS)
    page.wait_for_url("**/dashboard/funding/fund_*")
    page.locator("td a", has_text="run_").click()
    expect(page.locator("#run")).to_contain_text("50 of 50 rows applied", timeout=SLOW_MS)


def _drop(page: Page, path: Path) -> None:
    """Drop a file on the form, as a hand does."""
    given = page.evaluate_handle(
        "([name, text]) => { const it = new DataTransfer(); it.items.add(new File([text], name)); return it; }",
        [path.name, path.read_text()],
    )
    page.locator("[data-drop]").dispatch_event("drop", {"dataTransfer": given})


def test_a_payment_is_refunded_after_a_look_at_what_it_would_do(signed_in: Open, post: Callable[..., Any]) -> None:
    made = post("dash-refund")
    page = signed_in(f"/transactions/{made['transaction_id']}")
    page.get_by_role("button", name="Refund…").click()
    expect(page.get_by_label("What it would do")).to_contain_text("A dry run says that it works")
    page.get_by_role("button", name="Refund it").click()
    expect(page.get_by_role("heading", name="What followed")).to_be_visible(timeout=SLOW_MS)
    page.go_back()
    expect(page.get_by_label("What it would do")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("button", name="Refund…")).to_be_visible()


def test_a_rejection_explains_itself(signed_in: Open, post: Callable[..., Any], service: str) -> None:
    post("dash-rejected", source="@DashPoor", allow_overdraft=False)
    page = signed_in("/transactions?q=dash-rejected")
    page.locator("td a.id").first.click()
    expect(page.locator("dl.sum")).to_contain_text("short by")
    expect(page.locator("dl.sum .total.bad")).to_have_text("25.00")


def test_what_waits_is_renewed_without_a_reload(signed_in: Open, post: Callable[..., Any]) -> None:
    made = post("dash-hold", inflight=True)
    page = signed_in(f"/transactions/{made['transaction_id']}")
    expect(page.locator("#row .figure")).to_have_text("inflight")
    page.evaluate("window.kept = true")
    requests.put(
        f"{page.url.partition('/dashboard')[0]}/transactions/inflight/{made['transaction_id']}",
        json={"status": "void"},
        headers=HEADERS,
        timeout=60,
    )
    expect(page.locator("#row .figure")).to_have_text("void", timeout=SLOW_MS)
    assert page.evaluate("window.kept") is True


def test_hostile_texts_run_nothing(signed_in: Open, post: Callable[..., Any]) -> None:
    made = post("dash-hostile", description=HOSTILE, meta_data={"note": HOSTILE})
    for path in (f"/transactions/{made['transaction_id']}", "/transactions?q=dash-hostile"):
        page = signed_in(path.partition("?")[0])
        page.goto(page.url.partition("/dashboard")[0] + "/dashboard" + path)
        expect(page.locator("bdi", has_text="onerror").first).to_be_visible()
        assert page.title() != "taken"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_used_by_everybody_on_a_telephone(signed_in: Open, scheme: str) -> None:
    page = signed_in("", viewport=PHONE, color_scheme=scheme, bypass_csp=True)
    root = page.url
    for each in PAGES:
        if each.title == OWN_STYLES:
            continue
        page.goto(root.partition("/dashboard")[0] + each.path)
        found = Axe().run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == [], each.path
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], each.path


def test_every_page_is_reached_by_keys_alone(signed_in: Open) -> None:
    page = signed_in("")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    for _ in PAGES:
        page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == PAGES[-1].path


def test_the_viewer_calls_with_the_key_of_the_session(signed_in: Open) -> None:
    page = signed_in("/try")
    expect(page.locator("#api")).to_contain_text(re.compile("transactions"), timeout=SLOW_MS)
    asked = page.evaluate("fetch('/dashboard/api/ledgers').then((answer) => answer.status)")
    assert asked == 200


SHOTS = ["overview", "balances", "transactions", "funding", "queues", "health"]


def test_pictures_of_the_pages_are_in_the_book(signed_in: Open, service: str, request: pytest.FixtureRequest) -> None:
    """``-k pictures --update-docs`` takes them anew, from the data of the demo."""
    folder = ROOT / "docs" / "images"
    if request.config.getoption("--update-docs"):
        demo = [sys.executable, "-m", "ops.cli", "demo", "--url", service]
        subprocess.run(demo, env={**os.environ, "PACIOLI_KEY": KEY}, check=True, stdout=subprocess.DEVNULL)
        page = signed_in("", viewport={"width": 1200, "height": 800})
        for name in SHOTS:
            page.goto(f"{service}/dashboard{'' if name == 'overview' else '/' + name}")
            page.screenshot(path=folder / f"dashboard-{name}.png")
    assert [name for name in SHOTS if not (folder / f"dashboard-{name}.png").exists()] == []
