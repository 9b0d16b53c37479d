"""Forms of the dashboard do what they say, and the API tells it afterwards."""

import re
from typing import Any

import pytest

from tests.harness.api import close
from tests.harness.keys import HEADERS, KEY
from tests.integration.web.dashboard.conftest import Browser
from web.accept.doorbell import Doorbell
from web.app import create_app

TOKENIZATION_SECRET = "3b6f1c0e9d2a47c58e0f71a2b3c4d5e6"
HOSTILE = '<b>"Ada" & Söhne</b>'


def read(browser: Browser, path: str) -> Any:
    response = browser.client.get(path, headers=HEADERS)
    assert response.status_code == 200, response.text
    return response.json


def send(browser: Browser, path: str, **body: Any) -> Any:
    response = browser.client.post(path, json=body, headers=HEADERS)
    assert response.status_code == 201, response.text
    return response.json


def secret_in(text: str) -> str:
    found = re.search(r"<code>([^<]{20,})</code>", text)
    assert found is not None
    return found[1]


# Identities


def test_an_identity_is_made_with_the_fields_of_the_form(browser: Browser) -> None:
    form = {"identity_type": "individual", "first_name": f" {HOSTILE} ", "country": "AT", "last_name": ""}
    where = browser.post("/dashboard/identities", **form).headers["Location"]
    assert "<b>" not in browser.get(where)
    (made,) = read(browser, "/identities")
    assert where.endswith(f"/dashboard/identities/{made['identity_id']}")
    assert (made["first_name"], made["country"], made["last_name"]) == (HOSTILE, "AT", "")


def test_a_wrong_identity_is_refused_in_words(browser: Browser) -> None:
    refused = browser.post("/dashboard/identities", 400, email_address="nobody" + "\0")
    assert 'role="alert"' in refused.text
    assert read(browser, "/identities") == []


@pytest.fixture
def ada(browser: Browser) -> str:
    more = {"street": "Ring 1", "email_address": "ada@example.com", "meta_data": {"a": 1}}
    return str(
        send(browser, "/identities", identity_type="individual", first_name="Ada", last_name="L", **more)["identity_id"]
    )


def test_a_changed_identity_keeps_what_the_form_did_not_change(browser: Browser, ada: str) -> None:
    before = read(browser, f"/identities/{ada}")
    form = {"identity_type": "individual", "first_name": "Grace", "last_name": "L", "street": ""}
    browser.post(f"/dashboard/identities/{ada}/change", **form)
    after = read(browser, f"/identities/{ada}")
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"first_name", "street"}
    assert (after["first_name"], after["street"]) == ("Grace", "")


def test_a_token_is_not_sent_back_as_the_new_value(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    settings = {"PACIOLI_SECRET_KEY": KEY, "PACIOLI_TOKENIZATION_SECRET": TOKENIZATION_SECRET}
    app = create_app({"DATABASE_URL": database_url, **settings})
    browser = Browser(app)
    browser.sign_in()
    ada = send(browser, "/identities", identity_type="individual", first_name="Ada", last_name="L")["identity_id"]
    tokenized = browser.client.post(f"/identities/{ada}/tokenize/LastName", headers=HEADERS)
    assert tokenized.status_code == 200, tokenized.text
    token = read(browser, f"/identities/{ada}")["last_name"]
    assert token != "L"
    browser.post(f"/dashboard/identities/{ada}/change", first_name="Grace", last_name=token)
    assert read(browser, f"/identities/{ada}")["last_name"] == token
    plain = browser.client.get(f"/identities/{ada}/detokenize/LastName", headers=HEADERS)
    assert plain.json["value"] == "L", plain.text
    close(app)


def test_an_identity_is_deleted(browser: Browser, ada: str) -> None:
    assert browser.post(f"/dashboard/identities/{ada}/delete").headers["Location"] == "/dashboard/identities"
    assert read(browser, "/identities") == []
    assert "It is not there" in browser.get(f"/dashboard/identities/{ada}", 404)
    assert "There is no such action" not in browser.get("/dashboard/identities")


# Keys


def test_a_rotated_key_is_shown_once_and_works(browser: Browser) -> None:
    old = browser.stored_key("balances:read")
    (key,) = read(browser, "/api-keys?owner=ada")
    page = browser.post(f"/dashboard/keys/{key['api_key_id']}/rotate", 201).text
    new = secret_in(page)
    assert new != old and new not in browser.get("/dashboard/keys")
    for secret in (new, old):  # The old one works for the overlap.
        assert browser.client.get("/balances", headers={"X-Blnk-Key": secret}).status_code == 200
    assert 'role="alert"' in browser.post("/dashboard/keys/api_key_nobody/rotate", 404).text


# Webhooks


@pytest.fixture
def webhook(browser: Browser) -> str:
    more = {"url": "https://receiver.example/", "events": ["transaction.*"], "description": "Till"}
    return str(send(browser, "/webhooks", **more)["webhook_id"])


def test_a_changed_webhook_keeps_its_url_and_is_stopped_and_started(browser: Browser, webhook: str) -> None:
    where = f"/dashboard/webhooks/{webhook}"
    browser.post(f"{where}/change", events="ledger.created, balance.created", description=HOSTILE)
    row = read(browser, f"/webhooks/{webhook}")
    assert (row["url"], row["events"], row["description"]) == (
        "https://receiver.example/",
        ["ledger.created", "balance.created"],
        HOSTILE,
    )
    assert "<b>" not in browser.get(where)
    for action, active in (("stop", False), ("start", True)):
        browser.post(f"{where}/{action}")
        row = read(browser, f"/webhooks/{webhook}")
        assert (row["active"], row["events"]) == (active, ["ledger.created", "balance.created"])
    assert 'role="alert"' in browser.post(f"{where}/change", 400, events="nonsense").text
    assert 'role="alert"' in browser.post(f"{where}/nonsense", 404).text


def test_the_secret_of_a_webhook_is_rotated_and_shown_once(browser: Browser, webhook: str) -> None:
    where = f"/dashboard/webhooks/{webhook}"
    first = secret_in(browser.post(f"{where}/rotate", 201).text)
    assert first not in browser.get(where)
    assert secret_in(browser.post(f"{where}/rotate", 201).text) != first


def test_events_are_sent_once_more(browser: Browser, webhook: str) -> None:
    where = f"/dashboard/webhooks/{webhook}"
    browser.post(f"{where}/replay", **{"from": "", "to": ""})
    assert 'role="alert"' in browser.post(f"{where}/replay", 400, **{"from": "yesterday"}).text


# Monitors


@pytest.mark.parametrize("value", ["0", "12.34", "-5"])
def test_a_monitor_rests_and_watches_again_as_it_was(browser: Browser, value: str) -> None:
    browser.client.put("/currencies/USD", json={"precision": 100}, headers=HEADERS)
    ledger = send(browser, "/ledgers", name="Shop")["ledger_id"]
    balance = send(browser, "/balances", ledger_id=ledger, currency="USD")["balance_id"]
    form = {"balance_id": balance, "field": "balance", "operator": "<=", "value": value, "description": HOSTILE}
    where = browser.post("/dashboard/monitors", **form).headers["Location"]
    id = where.rpartition("/")[2]
    before = read(browser, f"/balance-monitors/{id}")
    assert "<b>" not in browser.get(where)
    for action, active in (("stop", False), ("start", True)):
        browser.post(f"/dashboard/monitors/{id}/{action}")
        now = read(browser, f"/balance-monitors/{id}")
        changing = {"active", "updated_at", "triggered", "last_fired_at", "state"}
        assert now["active"] is active
        assert {k: v for k, v in now.items() if k not in changing} == {
            k: v for k, v in before.items() if k not in changing
        }
    assert 'role="alert"' in browser.post(f"/dashboard/monitors/{id}/nonsense", 404).text
