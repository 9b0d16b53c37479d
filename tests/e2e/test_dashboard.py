"""The dashboard in a real browser, over the whole service: what a person does in the first minutes."""

import os
import re
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.harness.key_ring import later
from tests.harness.keys import HEADERS, KEY
from tests.harness.pages import ROOT
from tests.harness.programs import needs_program
from web.dashboard import ribbons
from web.dashboard.nav import PAGES
from web.dashboard.ribbons import Named, Texts
from web.dashboard.sankey import Link

if TYPE_CHECKING:  # Each process of the tests collects this file, and one of them starts a browser.
    from playwright.sync_api import Browser, Page

PHONE = {"width": 390, "height": 800}
HOSTILE = "<img src=x onerror=document.title='taken'> \u05e9\u05dc\u05d5\u05dd"
SLOW_MS = 60_000
"""Nothing here is about speed, and the machine may be busy."""
LONG = "\u05e9\u05dc\u05d5\u05dd\U0001f600<b>&\"'" * 910
LOOKS: list[tuple[Any, Any, Any]] = [
    ("light", PHONE, {"resultTypes": ["violations"]}),
    ("dark", {"width": 1280, "height": 800}, {"runOnly": ["color-contrast"]}),
]
"""How each page is looked at. Another scheme changes nothing but its colours."""
OWN_STYLES = "Try it"
"""The page whose contents are Scalar's, which answers for its own colours."""


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    path = needs_program("chromium")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def expect(shown: Any) -> Any:
    """Return what waits until an element is as it says."""
    from playwright import sync_api

    return sync_api.expect(shown)


Open = Callable[..., "Page"]


@pytest.fixture
def signed_in(chromium: "Browser", service: str) -> Iterator[Open]:
    """Opens a page of the dashboard for somebody who has signed in. Errors of its scripts and refused loads fail the test."""
    contexts, wrong = [], []

    def page_of(path: str = "", **options: Any) -> "Page":
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
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.locator("input[type=file]").set_input_files(tmp_path / "good.csv")
    expect(page.get_by_role("button", name="Pay 1,300.00 DSH")).to_have_count(0)
    page.get_by_role("button", name="Try it").click()
    page.get_by_role("button", name="Pay 1,300.00 DSH").click(timeout=SLOW_MS)
    page.wait_for_url("**/dashboard/funding/fund_*")
    page.locator("td a", has_text="run_").click()
    expect(page.locator("#run")).to_contain_text("50 of 50 rows applied", timeout=SLOW_MS)


def _drop(page: "Page", path: Path) -> None:
    """Drop a file on the form, as a hand does."""
    given = page.evaluate_handle(
        "([name, text]) => { const it = new DataTransfer(); it.items.add(new File([text], name)); return it; }",
        [path.name, path.read_text()],
    )
    page.locator("[data-drop]").dispatch_event("drop", {"dataTransfer": given})


def test_a_long_name_leaves_the_figures_beside_it_in_sight(signed_in: Open, post: Callable[..., Any]) -> None:
    post("dash-long", source="@DashLong" + "VeryLongName" * 10, currency="DSL", amount=7)
    page = signed_in("", viewport={"width": 1024, "height": 800})
    figure = (
        page.get_by_role("region", name="The books in DSL")
        .get_by_role("cell", name="\N{MINUS SIGN}7.00")
        .bounding_box()
    )
    assert figure is not None and figure["x"] + figure["width"] < 1024
    page.goto(page.url.removesuffix("/") + "/balances?q=@DashLong&currency=DSL")
    page.set_viewport_size(PHONE)
    name = page.get_by_role("region", name="Balances").locator("td.text a").bounding_box()
    assert name is not None and name["width"] <= 9 * 16


CROSSED = """() => {
    const svg = [...document.querySelectorAll("svg")].find(each => each.checkVisibility());
    const edge = svg.getBoundingClientRect();
    const all = [...svg.querySelectorAll("text, rect")].map(each => [each.textContent || "a bar", each.getBoundingClientRect()]);
    const found = all.filter(([text, at]) => at.left < edge.left - 1 || at.right > edge.right + 1).map(([text]) => text);
    for (const [number, [text, a]] of all.entries())
        for (const [other, b] of all.slice(number + 1))
            if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
                && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4)
                found.push(`${text} over ${other}`);
    return found;
}"""


@pytest.mark.parametrize("nodes", [12, 50])
def test_no_label_of_the_map_is_over_another_or_over_the_edge(chromium: "Browser", nodes: int) -> None:
    names = [
        f"@{'WM@' * (number % 5)}VeryLongSubsidiary{number}" if number % 2 else f"@X{number}" for number in range(nodes)
    ]
    links = [
        Link(source, names[(number * 7 + step * step) % nodes], 10 ** (4 + number % 9))
        for number, source in enumerate(names)
        for step in range(4)
    ]
    texts = Texts("map", "Where USD moved", "", "{:,}.00".format, "USD")
    picture = ribbons.draw(links, {name: Named(name, "/") for name in names}, texts)
    style = (ROOT / "web" / "dashboard" / "static" / "dashboard.css").read_text()
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.set_content(f"<style>{style}</style><main>{picture}</main>")
    wide = page.evaluate(CROSSED)
    page.set_viewport_size(PHONE)
    assert (wide, page.evaluate(CROSSED)) == ([], [])
    page.close()


def test_no_word_of_a_table_is_broken_on_a_telephone(signed_in: Open) -> None:
    page = signed_in("/health", viewport=PHONE)
    cell = page.get_by_role("cell", name="deliverer", exact=True).bounding_box()
    assert cell is not None and cell["width"] > 60


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


def test_a_job_rests_and_goes_on_but_not_for_a_forged_page_or_a_lesser_key(
    signed_in: Open, chromium: "Browser", service: str
) -> None:
    def made(path: str, **body: Any) -> Any:
        answer = requests.post(f"{service}{path}", json=body, headers=HEADERS, timeout=60)
        assert answer.ok, answer.text
        return answer.json()

    job = made("/funding-jobs", name="Rests", source="@DashPool", currency="DSH", precision=100, allow_overdraft=True,
               recipients=[{"destination": "@DashRests", "amount": 1}], cron="0 6 1 1 *")["job_id"]  # fmt: skip
    page = signed_in(f"/funding/{job}")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#job .figure")).to_have_text("paused", timeout=SLOW_MS)
    page.locator("form[action$='/resume'] [name=csrf]").evaluate("it => { it.value = 'forged'; }")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("heading", name="This request did not come from this page")).to_be_visible()
    page.go_back()
    page.reload()
    expect(page.locator("#job .figure")).to_have_text("paused")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#job .figure")).to_have_text("active", timeout=SLOW_MS)

    reads = made("/api-keys", name="Reader", owner="dash", scopes=["funding:read"], expires_at=later(days=90))
    context = chromium.new_context()
    other = context.new_page()
    for key, refused in (("not a key", True), (reads["key"], False)):
        other.goto(f"{service}/dashboard/sign-in?next=/dashboard/funding/{job}")
        other.get_by_label("Key").fill(key)
        other.get_by_role("button", name="Sign in").click()
        expect(other.get_by_role("alert")).to_have_count(1 if refused else 0)
    expect(other.locator("#job .figure")).to_have_text("active")
    expect(other.get_by_role("button", name="Pause")).to_have_count(0)
    context.close()


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


@pytest.fixture(scope="module")
def hostile(service: str) -> Iterator[list[str]]:
    """The paths of pages about things whose every text is hostile."""

    def made(path: str, field: str, **body: Any) -> str:
        answer = requests.post(f"{service}{path}", json=body, headers=HEADERS, timeout=60)
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()[field])

    name = f"@{HOSTILE.replace(' ', '_')}"
    common = {"precision": 100, "currency": "DSX", "allow_overdraft": True}
    told = {
        "description": HOSTILE,
        "meta_data": {HOSTILE: HOSTILE, "long": LONG, "deep": {"a": [HOSTILE, LONG[:2000]]}},
    }
    who = made("/identities", "identity_id", identity_type=HOSTILE, first_name=HOSTILE, last_name=LONG[:255])
    ledger = made("/ledgers", "ledger_id", name=f"{HOSTILE} {LONG[:200]}")
    balance = made(
        "/balances", "balance_id", ledger_id=ledger, currency="DSX", identity_id=who, meta_data=told["meta_data"]
    )
    pay = {**common, **told, "amount": 3, "source": name, "destination": balance}
    paid = made("/transactions?wait=10s", "transaction_id", **pay, reference=f"{HOSTILE} paid")
    made("/transactions?wait=10s", "transaction_id", **pay, reference=f"{HOSTILE} held", inflight=True)
    rejected = made("/transactions?wait=10s", "transaction_id", **common | {"allow_overdraft": False}, **told, amount=9**20,
                    source=balance, destination=name, reference=f"{HOSTILE} no")  # fmt: skip
    job = made("/funding-jobs", "job_id", **common, name=f"{HOSTILE} {LONG[:200]}", source=name, reference=HOSTILE,
               recipients=[{"destination": balance, "amount": 1, "description": HOSTILE}], cron="0 6 * * *")  # fmt: skip
    run = made(f"/funding-jobs/{job}/run", "run_id")
    monitor = made("/balance-monitors", "monitor_id", balance_id=balance, description=HOSTILE,
                   condition={"field": "balance", "operator": "<", "value": 3})  # fmt: skip
    webhook = made(
        "/webhooks",
        "webhook_id",
        url="https://receiver.example/?%3Cscript%3E",
        events=["ledger.*"],
        description=HOSTILE,
    )
    made(
        "/api-keys",
        "api_key_id",
        name=HOSTILE,
        owner=HOSTILE,
        scopes=["balances:read"],
        expires_at=later(days=90),
    )
    yield [
        f"/balances/{balance}", f"/transactions/{paid}", f"/transactions/{paid}?try=refund", f"/transactions/{rejected}",
        f"/funding/{job}", f"/funding/{job}/runs/{run}", "/funding/new", f"/identities/{who}", f"/monitors/{monitor}",
        f"/webhooks/{webhook}", "/nothing",
    ]  # fmt: skip
    # Nobody takes what it is told, and the health of the service, which others share, says so.
    assert requests.delete(f"{service}/webhooks/{webhook}", headers=HEADERS, timeout=60).ok


def test_every_page_can_be_used_by_everybody_at_any_width_whatever_its_texts_are(
    signed_in: Open, service: str, hostile: list[str]
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = signed_in("", viewport=PHONE, color_scheme="light", bypass_csp=True)
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(page.url), dialog.dismiss()))
    found: list[tuple[str, str, str, str]] = []
    for path in [*(each.path.removeprefix("/dashboard") for each in PAGES if each.title != OWN_STYLES), *hostile]:
        page.goto(f"{service}/dashboard{path}")
        assert page.title() != "taken", path
        for scheme, viewport, options in LOOKS:
            page.set_viewport_size(viewport)
            page.emulate_media(color_scheme=scheme)
            for one in Axe().run(page, options=options).response["violations"]:
                found.append((path, scheme, one["id"], one["nodes"][0]["html"][:200]))
            assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], (path, viewport)
    assert found == [] and dialogs == []


def test_every_page_is_reached_by_keys_alone(signed_in: Open) -> None:
    page = signed_in("")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    for _ in PAGES:
        page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == PAGES[-1].path


def test_the_viewer_calls_with_the_key_of_the_session_and_has_curl_to_copy(signed_in: Open, service: str) -> None:
    page = signed_in("/try")
    expect(page.locator("#api")).to_contain_text(re.compile("transactions"), timeout=SLOW_MS)
    page.goto(f"{service}/dashboard/try#tag/ledgers/POST/ledgers")
    expect(page.get_by_text(f"curl {service}/ledgers").first).to_be_visible(timeout=SLOW_MS)
    send = page.get_by_role("button", name="Send").first
    while not send.is_visible():  # The viewer draws the button before it listens to it.
        page.get_by_role("button", name="Test Request (post /ledgers)").click()
        with suppress(AssertionError):
            expect(send).to_be_visible()
    send.click()
    expect(page.get_by_text("201 Created").first).to_be_visible(timeout=SLOW_MS)


SHOTS = (
    "overview", "map", "activity", "balances", "balance", "transactions", "rejection", "refund", "funding", "file", "run",
    "approvals", "identities", "queues", "health", "events", "webhooks", "monitors", "keys", "audit", "try",
)  # fmt: skip
LARGEST_PICTURE = 60_000


def test_pictures_of_the_pages_are_in_the_book(signed_in: Open, service: str, request: pytest.FixtureRequest) -> None:
    """``-k pictures --update-docs`` takes them anew, from the data of the demo."""
    folder = ROOT / "docs" / "images"
    if request.config.getoption("--update-docs"):
        demo = [sys.executable, "-m", "ops.cli", "demo", "--url", service]
        subprocess.run(demo, env={**os.environ, "PACIOLI_KEY": KEY}, check=True, stdout=subprocess.DEVNULL)
        paths = _furnish(service)
        page = signed_in("", viewport={"width": 1200, "height": 800})
        camera = page.context.new_cdp_session(page)
        for name in SHOTS:
            page.goto(f"{service}/dashboard{paths.get(name, '/' + name)}")
            if name == "file":
                _try_a_file(page)
            page.wait_for_timeout(8000 if name == "try" else 1500)
            taken = camera.send("Page.captureScreenshot", {"format": "webp", "quality": 60})
            (folder / f"dashboard-{name}.webp").write_bytes(b64decode(taken["data"]))
    sizes = {name: (folder / f"dashboard-{name}.webp").stat().st_size for name in SHOTS}
    assert {name: size for name, size in sizes.items() if size > LARGEST_PICTURE} == {}


def _furnish(service: str) -> dict[str, str]:
    """Add what the demo has not: jobs, a rejection, an identity, a monitor, a webhook and a key. Returns paths of pages."""

    def ask(method: str, path: str, **body: Any) -> Any:
        answer = requests.request(method, service + path, json=body or None, headers=HEADERS, timeout=60)
        assert answer.ok, answer.text
        return answer.json()

    common = {"precision": 100, "currency": "USD"}
    who = ask("POST", "/identities", identity_type="individual", first_name="Ada", last_name="Lovelace", country="GB",
              email_address="ada@example.com")["identity_id"]  # fmt: skip
    ledger = ask("POST", "/ledgers", name="Customers")["ledger_id"]
    ada = ask("POST", "/balances", ledger_id=ledger, currency="USD", identity_id=who)["balance_id"]
    pays = {**common, "allow_overdraft": True}
    ask("POST", "/transactions?wait=10s", **pays, amount=200, source="@FundingPool", destination=ada, reference="ada-1",
        description="Starting balance")  # fmt: skip
    for number, amount in enumerate((12.5, 40, 7.25, 19.99, 60), 2):
        paid = ask("POST", "/transactions?wait=10s", **common, amount=amount, source=ada, destination="@Shop",
                   reference=f"ada-{number}", description=f"Order {number}")  # fmt: skip
    rejected = ask("POST", "/transactions?wait=10s", **common, amount=250, source=ada, destination="@Shop", reference="ada-9",
                   description="Order 9")  # fmt: skip
    recipients = [{"destination": f"@Wallet{n}", "amount": n} for n in range(1, 51)]
    pool = {**pays, "source": "@FundingPool", "recipients": recipients}
    now = ask("POST", "/funding-jobs", **pool, name="Starting balances")
    ask("POST", "/funding-jobs", **pool, name="Salaries", cron="0 6 * * 1-5")
    ask("POST", "/funding-jobs", **pool, name="Monthly bonus", cron="0 9 1 * *")
    ask("POST", "/balance-monitors", balance_id=ada, condition={"field": "balance", "operator": "<", "value": 50},
        description="Ada runs low")  # fmt: skip
    ask("POST", "/webhooks", url="https://receiver.example/pacioli", events=["transaction.*"], description="Till")
    ask(
        "POST",
        "/api-keys",
        name="Till 4",
        owner="shop",
        scopes=["transactions:post"],
        expires_at=later(days=90),
    )
    return {
        "overview": "", "balance": f"/balances/{ada}", "file": "/funding/new",
        "rejection": f"/transactions/{rejected['transaction_id']}",
        "refund": f"/transactions/{paid['transaction_id']}?try=refund",
        "run": f"/funding/{now['job_id']}/runs/{now['run']['run_id']}",
    }  # fmt: skip


def _try_a_file(page: "Page") -> None:
    rows = [f"@Wallet{number},{number}.50,Starting balance" for number in range(1, 51)]
    rows[10], rows[30] = "@Wallet11,ten,Starting balance", "Wallet31,31.50,Starting balance"
    text = "destination,amount,description\n" + "\n".join(rows)
    given = {"name": "wallets.csv", "mimeType": "text/csv", "buffer": text.encode()}
    page.locator("input[type=file]").set_input_files([given])  # type: ignore[list-item]
    page.get_by_label("Name of the job").fill("Starting balances of autumn")
    page.get_by_role("button", name="Try it").click()
    expect(page.locator("#tried table")).to_be_visible(timeout=SLOW_MS)
