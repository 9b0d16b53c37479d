"""The other pages: funding from a file, queues, keys, the audit log, identities, health, and the viewer of the API."""

import io
import json
import re
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from core.base.db import reading
from tests.harness.api import Api
from tests.harness.key_ring import later
from tests.harness.keys import HEADERS
from tests.integration.web.dashboard.conftest import Browser

GOOD = "destination,amount,description\n@Ada,10.00,one\n@Ben,12.50,two\n"
BAD = "destination,amount\n@Ada,10.00\n@Ben,abc\n@Cleo,-3\n"
JOB = {"name": "Salaries", "source": "@FundingPool", "currency": "USD", "precision": "100", "allow_overdraft": "on"}


def _send(browser: Browser, text: str, name: str = "list.csv", **form: str) -> Any:
    data = {"csrf": browser.token(), **JOB, **form, "recipients": (io.BytesIO(text.encode()), name)}
    return browser.client.post("/dashboard/funding/new", data=data, content_type="multipart/form-data")


def test_problems_stand_beside_the_rows_of_the_file(browser: Browser) -> None:
    text = _send(browser, BAD).text
    assert "@Ben" in text and "abc" in text and "@Cleo" in text and "2 problems" in text
    assert text.count('<tr class="wrong">') == 2 and 'value="3,4">try it without rows 3, 4' in text
    assert browser.client.get("/funding-jobs", headers=HEADERS).json == []


def test_a_job_is_tried_and_then_is_what_was_seen(browser: Browser) -> None:
    tried = _send(browser, GOOD).text
    assert "22.50 USD to 2 balances" in tried
    assert browser.client.get("/funding-jobs", headers=HEADERS).json == []
    seen = dict(re.findall(r'name="(expect_rows|expect_amount|once)" value="([^"]*)"', tried))
    other = _send(browser, GOOD.replace("12.50", "13.50"), sure="yes", **seen)
    assert "It cannot be paid like this" in other.text
    made = [_send(browser, GOOD, sure="yes", **seen) for _ in range(2)]
    assert [each.status_code for each in made] == [303, 303]
    assert len(browser.client.get("/funding-jobs", headers=HEADERS).json) == 1


def test_rows_that_are_wrong_can_be_left_out(browser: Browser) -> None:
    tried = _send(browser, BAD, without_rows="3,4").text
    assert "10.00 USD to 1 balance<" in tried and "rows 3, 4" in tried and 'name="without_rows" value="3,4"' in tried
    seen = dict(re.findall(r'name="(expect_rows|expect_amount|once)" value="([^"]*)"', tried))
    assert _send(browser, BAD, without_rows="3,4", sure="yes", **seen).status_code == 303
    assert [job["rows"] for job in browser.client.get("/funding-jobs", headers=HEADERS).json] == [1]


def test_a_run_that_would_be_refused_has_no_button_that_pays(browser: Browser) -> None:
    tried = _send(browser, GOOD, source="@Poor", allow_overdraft="").text
    assert "It would be refused now" in tried and 'name="sure"' not in tried
    later = _send(browser, GOOD, source="@Poor", allow_overdraft="", at="2031-05-01T10:00").text
    assert "Schedule 22.50 USD" in later


@pytest.mark.parametrize("text", ["", "x", "\x00", "destination\n"])
def test_a_file_that_is_none_is_refused_in_words(browser: Browser, text: str) -> None:
    response = _send(browser, text)
    assert response.status_code == 200 and "It cannot be paid like this" in response.text


def test_without_a_file_it_says_so(browser: Browser) -> None:
    response = browser.post("/dashboard/funding/new", 200, **JOB)
    assert "Choose a file" in response.text


def test_a_job_of_a_rule_is_tried_and_made(browser: Browser, locked: Flask) -> None:
    client = browser.client
    ledger = client.post("/ledgers", json={"name": "Staff"}, headers=HEADERS).get_json()["ledger_id"]
    for _ in range(2):
        client.post("/balances", json={"ledger_id": ledger, "currency": "USD"}, headers=HEADERS)
    assert f'<option value="{ledger}">Staff</option>' in browser.get("/dashboard/funding/new")
    rule = {**JOB, "rule_ledger": ledger, "rule_kind": "top_up_to", "rule_amount": "12.50", "cron": "0 6 * * 1-5"}
    where = "/dashboard/funding/new"
    assert "Choose a file or a ledger, and not both" in _send(browser, GOOD, rule_ledger=ledger).text
    assert (
        "exactly one of amount" in browser.post(where, 200, **{**rule, "rule_kind": "amount", "rule_amount": ""}).text
    )
    assert "Ledger not found" in browser.post(where, 200, **{**rule, "rule_ledger": "ldg_x"}).text
    tried = browser.post(where, 200, **rule).text
    assert "25.00 USD to 2 balances" in tried and "Schedule it" in tried and "Runs at" in tried
    assert client.get("/funding-jobs", headers=HEADERS).json == []
    seen = dict(re.findall(r'name="(expect_rows|expect_amount|once)" value="([^"]*)"', tried))
    made = browser.post(where, 303, **rule, **seen, sure="yes").headers["Location"]
    (job,) = client.get("/funding-jobs", headers=HEADERS).json
    assert job["job_id"] == made.rpartition("/")[2]
    assert (job["cron"], job["rule"]["precise_top_up_to"]) == ("0 6 * * 1-5", 1250)
    assert _expected(locked) == (None, None)
    shown = f"ledger_id eq {ledger}</bdi></code>: each balance is filled up to 12.50 USD"
    assert shown in browser.get(made)


def test_a_job_of_a_rule_that_runs_now_pays_what_was_seen(browser: Browser, locked: Flask) -> None:
    client = browser.client
    ledger = client.post("/ledgers", json={"name": "Staff"}, headers=HEADERS).get_json()["ledger_id"]
    new = {"json": {"ledger_id": ledger, "currency": "USD"}, "headers": HEADERS}
    client.post("/balances", **new)
    rule = {**JOB, "rule_ledger": ledger, "rule_kind": "amount", "rule_amount": "3"}
    tried = browser.post("/dashboard/funding/new", 200, **rule).text
    assert "Pay 3.00 USD" in tried
    seen = dict(re.findall(r'name="(expect_rows|expect_amount|once)" value="([^"]*)"', tried))
    client.post("/balances", **new)
    browser.post("/dashboard/funding/new", 303, **rule, **seen, sure="yes")
    assert _expected(locked) == (1, 300)


def _expected(app: Flask) -> tuple[int | None, int | None]:
    """The rows and the minor units that each run of the only job must have."""
    with reading(app.extensions["pacioli"].engine) as conn:
        terms = conn.execute(text("SELECT terms FROM funding_jobs")).scalar_one()
    found = terms if isinstance(terms, dict) else json.loads(terms)
    return found.get("expect_rows"), found.get("expect_amount")


def test_a_job_is_paused_resumed_and_cancelled(browser: Browser) -> None:
    tried = _send(browser, GOOD, cron="0 6 * * *")
    assert "Runs at" in tried.text
    where = _send(browser, GOOD, cron="0 6 * * *", sure="yes").headers["Location"]
    for action, status in (("pause", "paused"), ("resume", "active"), ("cancel", "cancelled")):
        browser.post(f"{where}/{action}")
        assert f">{status}<" in browser.get(where)
    assert 'role="alert"' in browser.post(f"{where}/resume", 409).text
    assert "There is no such action" in browser.post(f"{where}/explode", 404).text
    assert "Salaries" in browser.get("/dashboard/funding")


def test_a_run_shows_its_rows(browser: Browser, locked: Flask) -> None:
    where = _send(browser, GOOD, sure="yes").headers["Location"]
    api = Api(locked, browser.client)
    job_id = where.rpartition("/")[2]
    run_id = browser.client.get(f"/funding-jobs/{job_id}/runs", headers=HEADERS).json[0]["run_id"]
    assert "rows applied" in browser.get(f"{where}/runs/{run_id}")
    api.drain()
    assert "It is not there" in browser.get(f"{where}/runs/run_nothing", 404)


def test_the_calendar_shows_what_comes_in_a_month(browser: Browser) -> None:
    _send(browser, GOOD, at="2031-05-07T10:00", sure="yes")
    _send(browser, GOOD, name="l2.csv", cron="30 6 * 6 *", timezone="UTC", sure="yes", reference="june")
    may = browser.get("/dashboard/funding?month=2031-05")
    assert "May 2031" in may and may.count('class="run to-come"') == 1 and "10:00, 22.50 USD" in may
    assert "No run is due in this month" in browser.get("/dashboard/funding?month=2031-04")
    year = browser.client.get("/funding-jobs?limit=1", headers=HEADERS).json[0]["next_run_at"][:4]
    assert browser.get(f"/dashboard/funding?month={year}-06").count('class="run to-come"') == 10
    assert "No jobs are like that" in browser.get("/dashboard/funding?status=PAUSED")
    assert "Salaries" in browser.get("/dashboard/funding?source=@FundingPool")


def test_what_waits_is_approved_by_somebody_else(
    browser: Browser, locked: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Nothing waits" in browser.get("/dashboard/approvals")
    monkeypatch.setattr(locked.extensions["pacioli"], "approve_above", Decimal(10))
    keys = [
        browser.stored_key("*:*"),
        browser.stored_key("funding:read", owner="eve"),
        browser.stored_key("*:*", owner="ben"),
    ]
    ada, eve, ben = (Browser(locked) for _ in keys)
    for who, key in zip((ada, eve, ben), keys, strict=True):
        who.sign_in(key)
    for reference in ("one", "two"):
        _send(ada, GOOD, sure="yes", reference=reference)
    assert "needs the scope <code>funding:approve" in eve.get("/dashboard/approvals")
    text = ben.get("/dashboard/approvals")
    assert text.count("22.50 USD") >= 2 and ">ada<" in text
    for action in ("approve", "refuse"):
        found = re.search(
            r'action="(/dashboard/funding/fund_[^"/]+)/approve">.*?name="digest" value="([^"]+)"',
            ben.get("/dashboard/approvals"),
        )
        assert found is not None
        assert 'role="alert"' in ada.post(f"{found[1]}/{action}", 409, digest=found[2], reason="r").text
        where = ben.post(f"{found[1]}/{action}", digest=found[2], reason="old list", back="approvals").headers[
            "Location"
        ]
        assert where == "/dashboard/approvals"
    assert "Nothing waits" in ben.get(where)


def test_an_approver_sees_the_rule(browser: Browser, locked: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locked.extensions["pacioli"], "approve_above", Decimal(10))
    ledger = browser.client.post("/ledgers", json={"name": "Staff"}, headers=HEADERS).get_json()["ledger_id"]
    browser.client.post("/balances", json={"ledger_id": ledger, "currency": "USD"}, headers=HEADERS)
    ada = Browser(locked)
    ada.sign_in(browser.stored_key("*:*"))
    rule = {"rule_ledger": ledger, "rule_kind": "amount", "rule_amount": "30"}
    ada.post("/dashboard/funding/new", 303, **JOB, **rule, cron="0 6 * * *", sure="yes")
    assert f"ledger_id eq {ledger}</bdi></code>: each balance gets 30.00 USD" in browser.get("/dashboard/approvals")


def test_a_key_is_shown_once_and_revoked(browser: Browser) -> None:
    form = {
        "name": "Till",
        "owner": "ada",
        "scopes": "transactions:read, balances:read",
        "expires": later(days=90)[:10],
    }
    text = browser.post("/dashboard/keys", 201, **form).text
    key = re.search(r"<code>([^<]+)</code>", text)
    assert key is not None and browser.client.get("/balances", headers={"X-Blnk-Key": key[1]}).status_code == 200
    assert key[1] not in browser.get("/dashboard/keys")
    id = browser.client.get("/api-keys?all=true", headers=HEADERS).json[0]["api_key_id"]
    assert "Revoke" in browser.get(f"/dashboard/keys?revoke={id}&owner=ada&name=Till")
    browser.post(f"/dashboard/keys/{id}/revoke", owner="ada")
    assert "revoked" in browser.get("/dashboard/keys")


def test_a_key_with_a_wrong_scope_is_refused_with_the_right_one(browser: Browser) -> None:
    form = {"name": "Till", "owner": "ada", "scopes": "transaction:read", "expires": later(days=90)[:10]}
    assert "transactions:read" in browser.post("/dashboard/keys", 400, **form).text


def test_the_audit_log_is_searched(browser: Browser) -> None:
    browser.stored_key("balances:read")
    assert "key.created" in browser.get("/dashboard/audit")
    assert "Nothing is like that" in browser.get("/dashboard/audit?action=ledger.renamed")


def test_queues_and_health_are_shown(browser: Browser) -> None:
    assert browser.get("/dashboard/queues").count("<meter") == 8
    assert "Checks" in browser.get("/dashboard/health")
    assert "The ledger is sound" in browser.post("/dashboard/health/verify", 200).text


def test_an_identity_is_shown_with_its_balances(browser: Browser) -> None:
    made = browser.client.post("/identities", json={"first_name": "<b>Ada"}, headers=HEADERS).json
    assert "&lt;b&gt;Ada" in browser.get(f"/dashboard/identities/{made['identity_id']}")
    assert "&lt;b&gt;Ada" in browser.get("/dashboard/identities?first_name=<b>Ada")


def test_the_viewer_calls_with_the_key_of_the_session(browser: Browser) -> None:
    assert "unsafe-inline" in browser.client.get("/dashboard/try").headers["Content-Security-Policy"]
    assert browser.client.get("/dashboard/api/ledgers").status_code == 200
    body = {"name": "Made here"}
    assert browser.client.post("/dashboard/api/ledgers", json=body).status_code == 403
    token = {"X-CSRF-Token": browser.token()}
    assert browser.client.post("/dashboard/api/ledgers", json=body, headers=token).status_code == 201
    missing = browser.client.get("/dashboard/api/balances/bln_x")
    assert missing.status_code == 404 and missing.json["error_detail"]["code"] == "BAL_NOT_FOUND"


def test_the_viewer_does_nothing_for_a_stranger(stranger: Browser) -> None:
    assert stranger.client.get("/dashboard/api/ledgers").status_code == 303


def test_the_feed_is_shown_by_type(browser: Browser) -> None:
    browser.client.post("/ledgers", json={"name": "<b>Shop"}, headers=HEADERS)
    assert "&lt;b&gt;Shop" in browser.get("/dashboard/events?types=ledger.created")
    assert "Nothing has happened" in browser.get("/dashboard/events?types=transaction.void")


def test_a_webhook_is_made_tested_stopped_and_deleted(browser: Browser) -> None:
    form = {"url": "https://receiver.example/hook", "events": "transaction.*, ledger.created", "description": "Till"}
    made = browser.post("/dashboard/webhooks", 201, **form)
    secret = re.search(r"<code>([^<]+)</code>", made.text)
    assert secret is not None and secret[1] not in browser.get("/dashboard/webhooks")
    id = browser.client.get("/webhooks", headers=HEADERS).json[0]["webhook_id"]
    assert "was not taken" in browser.post(f"/dashboard/webhooks/{id}/test", 200).text
    browser.post(f"/dashboard/webhooks/{id}/stop")
    assert "inactive" in browser.get(f"/dashboard/webhooks/{id}")
    browser.post(f"/dashboard/webhooks/{id}/delete")
    assert "Nobody is told" in browser.get("/dashboard/webhooks")
    assert 'role="alert"' in browser.post("/dashboard/webhooks", 400, **{**form, "url": "http://127.0.0.1/"}).text


def test_a_monitor_is_made_shown_and_deleted(browser: Browser) -> None:
    ledger = browser.client.post("/ledgers", json={"name": "Shop"}, headers=HEADERS).json["ledger_id"]
    body = {"ledger_id": ledger, "currency": "USD"}
    balance = browser.client.post("/balances", json=body, headers=HEADERS).json["balance_id"]
    browser.client.put("/currencies/USD", json={"precision": 100}, headers=HEADERS)
    form = {"balance_id": balance, "field": "balance", "operator": "<", "value": "0", "description": "Low"}
    where = browser.post("/dashboard/monitors", **form).headers["Location"]
    assert "Low" in browser.get(where) and "quiet" in browser.get("/dashboard/monitors")
    assert 'role="alert"' in browser.post("/dashboard/monitors", 400, **{**form, "value": "ten"}).text
    browser.post(f"{where}/delete")
    assert "No balance is watched" in browser.get("/dashboard/monitors")
