"""The pages of balances and transactions show what the API says, whatever it holds, and do what their buttons say."""

from typing import Any

import pytest
from flask import Flask

from tests.harness.api import Api
from tests.harness.keys import HEADERS
from tests.integration.web.dashboard.conftest import Browser

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


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("q=@Shop", 1),
        ("currency=EUR", 0),
        ("below=on", 1),
        ("sort=balance&order=asc", 2),
        ("sort=nonsense", 2),
        ("q=bln_x", 0),
    ],
)
def test_balances_are_found(browser: Browser, query: str, shown: int) -> None:
    _post(browser)
    assert browser.get(f"/dashboard/balances?{query}").count('href="/dashboard/balances/bln_') == shown


@pytest.mark.parametrize(
    ("query", "shown"),
    [("q=r1", 1), ("status=APPLIED", 3), ("status=VOID", 0), ("least=2", 2), ("most=1.5", 1), ("meta=order=7", 1)],
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
