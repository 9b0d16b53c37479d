"""A page says which value of its query is not right: beside the field, or above all else where the page has no field for it."""

import re

import pytest

from tests.harness.keys import HEADERS
from tests.integration.web.dashboard.conftest import Browser
from tests.integration.web.dashboard.test_money_pages import _post

BESIDE = [
    ("balances/{}?from=banana", "from", "must be a day such as 2026-11-01, not &#34;banana&#34;, and was left out"),
    ("balances/{}?to=2026-02-30", "to", "must be a day such as 2026-11-01, not &#34;2026-02-30&#34;, and was left out"),
    ("balances/{}?from=2199-01-01", "from", "is in the future, and was left out"),
    ("balances/{}?from=2026-02-02&to=2026-02-01", "to", "is before From, and was left out"),
    ("balances?below=yes", "below", "must be on, not &#34;yes&#34;, and was left out"),
    ("balances?meta=team", "meta", "must be key=value, such as team=sales, and was left out"),
    ("transactions?meta==sales", "meta", "must be key=value, such as team=sales, and was left out"),
    ("transactions?status=banana", "status", "must be one of QUEUED, SCHEDULED, "),
    ("transactions?least=1,5", "least", "must be an amount such as 12.50, not &#34;1,5&#34;, and was left out"),
    ("transactions?most=-1", "most", "must be an amount such as 12.50, not &#34;-1&#34;, and was left out"),
    ("funding?status=banana", "status", "must be one of ACTIVE, PAUSED, "),
    ("events?types=banana", "types", "has an unknown type &#39;banana&#39;; the types are ledger.created, "),
    ("map?period=own&from=banana", "from", "must be a time such as 2026-11-01T06:00, not &#34;banana&#34;"),
    ("activity?period=own&to=banana", "to", "must be a time such as 2026-11-01T06:00, not &#34;banana&#34;"),
]
ABOVE = [
    ("balances/{}?period=banana", "Period: must be one of hour, day, week, month, year, all, not &#34;banana&#34;"),
    ("balances?sort=banana", "Sort: must be one of created_at, "),
    ("transactions?order=up", "Order: must be one of asc, desc, not &#34;up&#34;"),
    (
        "transactions?after=banana",
        "After: must be the sequence or transaction_id of the row that ended the page before",
    ),
    ("audit?after=banana", "After: must be"),
    ("map?period=banana", "Period: must be one of hour, day, week, month, own, not &#34;banana&#34;"),
    ("map?nodes=7", "Nodes: must be one of 12, 25, 50, not &#34;7&#34;"),
    ("activity?period=banana", "Period: must be one of "),
    ("funding?month=banana", "Month: must be a month such as 2026-11, and was left out"),
    ("events?after=banana", "After: must be the next of a page, "),
]


@pytest.mark.parametrize(("path", "field", "fault"), BESIDE)
def test_a_fault_stands_beside_its_field(browser: Browser, path: str, field: str, fault: str) -> None:
    text = browser.get(f"/dashboard/{path.format(_balance(browser))}")
    beside = re.search(
        f'aria-describedby="fault-{field}".*?<span class="fault" id="fault-{field}"><bdi>(.*?)</bdi>', text, re.S
    )
    assert beside is not None and beside[1].startswith(fault)
    assert 'role="alert"' not in text


@pytest.mark.parametrize(("path", "fault"), ABOVE)
def test_a_fault_without_a_field_stands_above_the_page(browser: Browser, path: str, fault: str) -> None:
    text = browser.get(f"/dashboard/{path.format(_balance(browser))}")
    assert f'<p class="note bad" role="alert"><bdi>{fault}' in text
    assert text.index('role="alert"') < text.index("<h1>")


@pytest.mark.parametrize("page", ["balances", "transactions", "funding", "events", "map", "activity", "audit"])
def test_a_query_that_is_right_has_no_fault(browser: Browser, page: str) -> None:
    text = browser.get(f"/dashboard/{page}")
    assert 'class="fault"' not in text and 'role="alert"' not in text


def test_a_file_of_another_time_than_was_asked_for_is_not_sent(browser: Browser) -> None:
    text = browser.get(f"/dashboard/balances/{_balance(browser)}/statement.csv?from=banana", 400)
    assert 'class="fault"' in text


def test_a_fault_shows_no_more_than_the_beginning_of_a_long_value_and_as_a_text(browser: Browser) -> None:
    text = browser.get(f"/dashboard/transactions?least=<b>{'x' * 5_000}")
    (fault,) = re.findall('<span class="fault".*?</span>', text)
    assert "&lt;b&gt;xxx" in fault and len(fault) < 250


def _balance(browser: Browser) -> str:
    _post(browser)
    return str(browser.client.get("/balances/indicator/@Shop/currency/USD", headers=HEADERS).json["balance_id"])


def test_an_answer_to_a_form_is_renewed_by_its_page_and_keeps_what_was_typed(browser: Browser) -> None:
    where = f"/dashboard/balances/{_balance(browser)}"
    text = browser.post(f"{where}/limits", 400, floor="abc", frozen="all", reason="a dispute").text
    assert f'hx-get="{where}"' in text and "limits?" not in text
    assert browser.client.get(f"{where}/limits").headers["Location"] == where
    assert "<details open><summary>Floor and freeze" in text
    assert 'name="floor" inputmode="decimal" size="12" value="abc" aria-invalid="true"' in text
    assert '<option value="all" selected>' in text and 'value="a dispute"' in text
    assert 'id="fault-floor"><bdi>must be an amount of the currency, such as 12.50' in text


def test_links_of_a_tested_webhook_lead_to_its_page(browser: Browser) -> None:
    made = browser.client.post("/webhooks", json={"url": "https://receiver.example/hook"}, headers=HEADERS).json
    where = f"/dashboard/webhooks/{made['webhook_id']}"
    text = browser.post(f"{where}/nothing", 404).text
    assert f'href="{where}?status=' in text and f'hx-get="{where}"' in text
