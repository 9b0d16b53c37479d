"""The pages of balances and transactions show what the API says, whatever it holds, and do what their buttons say."""

from typing import Any

import pytest
from flask import Flask

from tests.harness.api import Api
from tests.harness.keys import HEADERS
from tests.integration.web.dashboard.conftest import Browser
from web.dashboard.pages import balances

HOSTILE = "<script>alert(1)</script>'\"& \u05e9\u05dc\u05d5\u05dd {{ 7 * 7 }}"


def _post(browser: Browser, status: int = 201, **body: Any) -> Any:
    asked = {
        "amount": 10, "precision": 100, "currency": "USD", "source": "@World", "destination": "@Shop", "reference": "r",
        "description": "d", "allow_overdraft": True, "skip_queue": True, **body,
    }  # fmt: skip
    response = browser.client.post("/transactions", json=asked, headers=HEADERS)
    assert response.status_code == status, response.text
    return response.json


def test_hostile_texts_stay_texts(browser: Browser) -> None:
    made = _post(browser, reference=HOSTILE, description=HOSTILE, meta_data={HOSTILE: HOSTILE}, destination="@<b>Shop")
    for path in ("/dashboard", "/dashboard/transactions", f"/dashboard/transactions/{made['transaction_id']}"):
        text = browser.get(path)
        assert "<script>alert" not in text and "<b>Shop" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "@&lt;b&gt;Shop" in browser.get("/dashboard/balances?q=@<b>Shop")


def test_a_balance_shows_its_sums_and_its_statement(browser: Browser) -> None:
    for number in range(3):
        _post(browser, amount=f"{number + 1}.50", reference=f"r{number}")
    row = browser.client.get("/balances/indicator/@Shop/currency/USD", headers=HEADERS).json
    text = browser.get(f"/dashboard/balances/{row['balance_id']}?period=all")
    assert "7.50" in text and text.count("<tr>") == 4 and "<svg" in text
    csv = browser.get(f"/dashboard/balances/{row['balance_id']}/statement.csv")
    assert len(csv.splitlines()) == 4
    assert (
        len(
            browser.get(
                f"/dashboard/balances/{row['balance_id']}/statement.csv?from=2020-01-01&to=2020-02-01"
            ).splitlines()
        )
        == 1
    )


@pytest.mark.parametrize("period", ["hour", "week", "all", "nonsense", "&from=2026-01-01", "&to=2026-01-01", "&from=x"])
def test_a_chosen_time_is_shown(browser: Browser, period: str) -> None:
    _post(browser)
    row = browser.client.get("/balances/indicator/@Shop/currency/USD", headers=HEADERS).json
    assert "Opening" in browser.get(f"/dashboard/balances/{row['balance_id']}?period={period}")


def test_a_balance_with_more_entries_than_a_page_has_a_chart_of_samples_and_its_whole_csv(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balances, "_SHOWN", 2)
    monkeypatch.setattr(balances, "_CSV_PAGE", 2)
    for number in range(5):
        _post(browser, amount="1.50", reference=f"r{number}")
    id = browser.client.get("/balances/indicator/@Shop/currency/USD", headers=HEADERS).json["balance_id"]
    page = browser.get(f"/dashboard/balances/{id}")
    assert f"/dashboard/balances/{id}/chart" in page and 'rel="next"' in page
    assert "at the end 7.50" in browser.get(f"/dashboard/balances/{id}/chart?period=hour")
    assert len(browser.get(f"/dashboard/balances/{id}/statement.csv").splitlines()) == 6
    monkeypatch.setattr(balances, "_CSV_PAGES", 2)
    assert "Choose a shorter time" in browser.get(f"/dashboard/balances/{id}/statement.csv", 400)


def test_a_balance_shows_its_ledger_identity_monitors_and_limits(browser: Browser) -> None:
    _post(browser, destination="@Shop", reference="first")
    who = browser.client.post("/identities", json={"first_name": "Ada"}, headers=HEADERS).json["identity_id"]
    ledger = browser.client.post("/ledgers", json={"name": "Customers"}, headers=HEADERS).json["ledger_id"]
    body = {"ledger_id": ledger, "currency": "USD", "identity_id": who}
    id = browser.client.post("/balances", json=body, headers=HEADERS).json["balance_id"]
    browser.post("/dashboard/monitors", balance_id=id, field="balance", operator="<", value="5", description="Runs low")
    browser.post(f"/dashboard/balances/{id}/limits", floor="-2.50", frozen="debits", reason="A dispute")
    text = browser.get(f"/dashboard/balances/{id}")
    for part in ("Customers", ">Ada<", "Runs low", "−2.50", "A dispute"):
        assert part in text
    assert "Customers" in browser.get(f"/dashboard/balances?q={ledger}")
    assert "must be an amount" in browser.post(f"/dashboard/balances/{id}/limits", 400, floor="ten").text
    assert "needs a reason" in browser.post(f"/dashboard/balances/{id}/limits", 400, frozen="all").text


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("q=@Shop", 1),
        ("currency=EUR", 0),
        ("below=on", 1),
        ("sort=balance&order=asc", 2),
        ("sort=nonsense", 2),
        ("q=general_ledger_id", 2),
        ("held=on", 0),
        ("meta=a=b", 0),
        ("q=bln_x", 0),
    ],
)
def test_balances_are_found(browser: Browser, query: str, shown: int) -> None:
    _post(browser)
    assert browser.get(f"/dashboard/balances?{query}").count('href="/dashboard/balances/bln_') == shown


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("q=r1", 1),
        ("q=2", 1),
        ("q=2.00", 1),
        ("q=9", 0),
        ("q=txn_nothing", 0),
        ("status=APPLIED", 3),
        ("status=VOID", 0),
        ("least=2", 2),
        ("most=1.5", 1),
        ("balance=@Shop", 3),
        ("balance=@Nobody", 0),
        ("balance=bln_nothing", 0),
        ("meta=order=7", 1),
        ("meta=order", 3),  # It is left out, and the page says so.
        ("meta==7", 3),
    ],
)
def test_transactions_are_found(browser: Browser, query: str, shown: int) -> None:
    for number in range(3):
        _post(browser, amount=number + 1, reference=f"r{number}", meta_data={"order": 6 + number})
    assert browser.get(f"/dashboard/transactions?{query}").count('href="/dashboard/transactions/txn_') == shown


def test_pages_follow_each_other(browser: Browser) -> None:
    items = [{"amount": 1, "precision": 100, "currency": "USD", "source": "@World", "destination": "@Shop", "description": "d",
              "reference": f"r{n}", "allow_overdraft": True} for n in range(70)]  # fmt: skip
    body = {"transactions": items, "skip_queue": True}
    assert browser.client.post("/transactions/bulk", json=body, headers=HEADERS).status_code == 201
    first = browser.get("/dashboard/transactions?status=APPLIED")
    link = first.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
    second = browser.get(f"/dashboard/transactions{link}")
    assert first.count('href="/dashboard/transactions/txn_') == 50
    assert second.count('href="/dashboard/transactions/txn_') == 20 and 'rel="next"' not in second


def test_a_rejection_is_a_sum_on_paper(browser: Browser) -> None:
    made = _post(browser, 400, source="@Shop", destination="@World", allow_overdraft=False, amount="99")
    row = browser.client.get("/transactions/reference/r", headers=HEADERS).json
    assert made and row["status"] == "REJECTED"
    text = browser.get(f"/dashboard/transactions/{row['transaction_id']}")
    assert "Available" in text and "99.00" in text and "short by" in text
    assert "accepted</strong> number 1 in the order" in text


def test_the_timeline_tells_what_followed_and_what_is_to_come(browser: Browser, locked: Flask) -> None:
    hold = _post(browser, inflight=True, inflight_expiry_date="2031-01-01T00:00:00Z", skip_queue=False)[
        "transaction_id"
    ]
    api = Api(locked, browser.client)
    assert "in line of queue" in browser.get(f"/dashboard/transactions/{hold}")
    api.drain()
    assert "will expire" in browser.get(f"/dashboard/transactions/{hold}")
    for amount in ("4", "6"):
        browser.post(f"/dashboard/transactions/{hold}/commit", amount=amount, once=amount)
        api.drain()
    text = browser.get(f"/dashboard/transactions/{hold}")
    assert text.count("committed</strong>") == 2 and "settled</strong>" in text and "4.00 USD" in text
    paid = _post(browser, reference="paid")["transaction_id"]
    browser.post(f"/dashboard/transactions/{paid}/refund", amount="3", once="r")
    api.drain()
    assert "3.00 of 10.00 USD" in browser.get(f"/dashboard/transactions/{paid}")


def test_a_split_shows_its_legs_and_a_row_of_a_batch_its_batch(browser: Browser, locked: Flask) -> None:
    legs = [{"identifier": "@Fee", "distribution": "10%"}, {"identifier": "@Shop", "distribution": "left"}]
    split = _post(browser, destination="", destinations=legs, skip_queue=False)
    Api(locked, browser.client).drain()
    text = browser.get(f"/dashboard/transactions/{split['transaction_id']}")
    assert "1.00" in text and "9.00" in text and "What followed" not in text and ">@Fee<" in text
    item = {"amount": 1, "precision": 100, "currency": "USD", "source": "@World", "destination": "@Shop", "description": "d",
            "reference": "b1", "allow_overdraft": True}  # fmt: skip
    batch = browser.client.post(
        "/transactions/bulk", json={"transactions": [item], "skip_queue": True}, headers=HEADERS
    ).json
    id = browser.client.get("/transactions/reference/b1", headers=HEADERS).json["transaction_id"]
    assert f"/dashboard/transactions/{batch['batch_id']}" in browser.get(f"/dashboard/transactions/{id}")
    assert "1 of 1 decided" in browser.get(f"/dashboard/transactions/{batch['batch_id']}")


def test_a_refund_is_tried_first_and_done_once(browser: Browser) -> None:
    id = _post(browser)["transaction_id"]
    tried = browser.get(f"/dashboard/transactions/{id}?try=refund&amount=4")
    assert "A dry run says" in tried and _balance(browser) == 1000
    once = tried.partition('name="once" value="')[2].partition('"')[0]
    for _ in range(2):
        browser.post(f"/dashboard/transactions/{id}/refund", amount="4", once=once)
    rows = browser.client.get(f"/transactions?parent_transaction_eq={id}", headers=HEADERS).json
    assert [row["precise_amount"] for row in rows] == [400]


@pytest.mark.parametrize(("action", "status"), [("commit", "APPLIED"), ("void", "VOID")])
def test_a_hold_is_settled(browser: Browser, locked: Flask, action: str, status: str) -> None:
    id = _post(browser, inflight=True)["transaction_id"]
    assert "A dry run says" in browser.get(f"/dashboard/transactions/{id}?try={action}")
    browser.post(f"/dashboard/transactions/{id}/{action}", once="k1")
    Api(locked, browser.client).drain()
    assert browser.client.get(f"/transactions/{id}", headers=HEADERS).json["status"] == status


def test_what_cannot_be_done_says_why(browser: Browser) -> None:
    id = _post(browser)["transaction_id"]
    assert "There is no such action" in browser.post(f"/dashboard/transactions/{id}/explode", 404).text
    assert 'role="alert"' in browser.get(f"/dashboard/transactions/{id}?try=refund&amount=nonsense", 400)
    assert "does not work now" in browser.get(f"/dashboard/transactions/{id}?try=void")
    assert "It is not there" in browser.get("/dashboard/transactions/txn_nothing", 404)


def _balance(browser: Browser) -> int:
    return int(browser.client.get("/balances/indicator/@Shop/currency/USD", headers=HEADERS).json["balance"])


@pytest.mark.parametrize(
    "path",
    ["balances?q=%00", "balances?currency=%00", "transactions?q=%00", "transactions?meta=%00=%00", "transactions?balance=%00",
     "transactions?least=%00", "audit?actor=%00", "identities?first_name=%00", "funding?source=%00", "transactions/txn_%00",
     "balances/bln_%00", "funding/fund_%00", "monitors/mon_%00", "webhooks/whk_%00", "identities/idt_%00"],
)  # fmt: skip
def test_a_nul_is_refused_in_words(browser: Browser, path: str) -> None:
    response = browser.client.get(f"/dashboard/{path}")
    assert response.status_code == (400 if "?" in path else 404) and "NUL character" in response.text
