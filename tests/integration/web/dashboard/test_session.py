"""Who sees the dashboard, and whose writes count."""

import json
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask, request
from flask.testing import FlaskClient
from sqlalchemy import text

from core.base.db import reading
from tests.harness.api import close
from tests.harness.keys import HEADERS, KEY
from tests.integration.web.dashboard.conftest import Browser
from web.accept.doorbell import Doorbell
from web.app import create_app
from web.dashboard import session
from web.dashboard.app import POLICY
from web.dashboard.nav import PAGES
from web.dashboard.now import now
from web.dashboard.pages import signing_in, try_it


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.title)
def test_a_stranger_is_led_to_the_sign_in(stranger: Browser, page: Any) -> None:
    response = stranger.client.get(page.path)
    assert response.status_code == 303
    assert response.headers["Location"] == f"/dashboard/sign-in?next={page.path}"


def test_the_right_key_opens_the_page_that_was_asked_for(stranger: Browser) -> None:
    response = stranger.sign_in(next="/dashboard/balances?q=x")
    assert response.headers["Location"] == "/dashboard/balances?q=x"
    assert "Balances" in stranger.get("/dashboard/balances")


@pytest.mark.parametrize("key", ["", "wrong", "é" * 50, "pac_" + "a" * 47])
def test_a_wrong_key_opens_nothing(stranger: Browser, key: str) -> None:
    response = stranger.sign_in(key)
    assert response.status_code == 401
    assert "Set-Cookie" not in response.headers
    assert stranger.client.get("/dashboard").status_code == 303


@pytest.mark.parametrize(
    "next",
    [
        "//evil.example",
        "https://evil.example",
        "/dashboard\\evil",
        "/dashboard//evil.example",
        "/x",
        "",
        "/dashboard\n",
    ],
)
def test_nobody_is_led_elsewhere(stranger: Browser, next: str) -> None:
    assert stranger.sign_in(next=next).headers["Location"] == "/dashboard"


def test_the_cookie_shows_no_key_and_is_kept_from_scripts_and_other_sites(stranger: Browser) -> None:
    cookie = stranger.sign_in().headers["Set-Cookie"]
    assert KEY not in cookie
    for part in ("HttpOnly", "SameSite=Strict", "Path=/dashboard", "Max-Age=28800"):
        assert part in cookie
    over_tls = stranger.client.post("/dashboard/sign-in", data={"key": KEY}, base_url="https://localhost")
    assert "Secure" in over_tls.headers["Set-Cookie"]
    proxied = stranger.client.post("/dashboard/sign-in", data={"key": KEY}, headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in proxied.headers["Set-Cookie"] and "Secure" not in cookie


def test_a_cookie_that_was_changed_opens_nothing(browser: Browser) -> None:
    cookie = browser.client.get_cookie(session.COOKIE, path="/dashboard")
    assert cookie is not None
    for value in (cookie.value[:-6] + "AAAAA=", cookie.value[::-1], "", "x", "é"):
        browser.client.set_cookie(session.COOKIE, value, path="/dashboard")
        assert browser.client.get("/dashboard").status_code == 303


def test_a_session_ends(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "LASTS_S", 0)
    assert browser.client.get("/dashboard").status_code == 303


def test_a_session_lasts_eight_hours_and_then_leads_to_the_sign_in_and_back(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, token = now(), browser.token()
    for seconds, status in ((8 * 3600 - 60, 200), (8 * 3600 + 60, 303)):
        monkeypatch.setattr(session, "now", lambda after=seconds: began + timedelta(seconds=after))
        assert browser.client.get("/dashboard/balances?q=x").status_code == status
    live = browser.client.get("/dashboard/balances?q=x", headers={"HX-Request": "true"})
    where = "/dashboard/sign-in?next=/dashboard/balances?q%3Dx"
    assert (live.status_code, live.headers["HX-Redirect"]) == (204, where)
    again = browser.sign_in(next="/dashboard/balances?q=x")
    assert again.headers["Location"] == "/dashboard/balances?q=x"
    assert browser.token() != token  # A page of the session before cannot write in this one.
    assert browser.client.post("/dashboard/sign-out", data={"csrf": token}).status_code == 403


def test_who_signs_out_is_out_and_leaves_no_page_in_the_browser(browser: Browser) -> None:
    assert browser.client.get("/dashboard/balances").headers["Cache-Control"] == "no-store"
    cookie = browser.post("/dashboard/sign-out").headers["Set-Cookie"]
    assert "pacioli_session=;" in cookie and "Max-Age=0" in cookie and "Path=/dashboard" in cookie
    assert browser.client.get("/dashboard").status_code == 303
    assert (
        browser.client.post("/dashboard/sign-out", data={"csrf": "x"})
        .headers["Location"]
        .startswith("/dashboard/sign-in")
    )


def test_a_copy_of_the_cookie_is_worth_nothing_after_the_sign_out(
    browser: Browser, locked: Flask, database_url: str
) -> None:
    cookie = browser.client.get_cookie(session.COOKIE, path="/dashboard")
    assert cookie is not None
    beside = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY})
    copies = [Browser(locked), Browser(beside)]
    for copy in copies:
        copy.client.set_cookie(session.COOKIE, cookie.value, path="/dashboard")
        copy.get("/dashboard")
    other = Browser(locked)
    other.sign_in()
    token = copies[0].token()
    browser.post("/dashboard/sign-out")
    for copy in copies:
        assert copy.client.get("/dashboard").status_code == 303
        assert copy.client.post("/dashboard/sign-out", data={"csrf": token}).status_code == 303
    other.get("/dashboard")  # The same key, in a session of its own.
    close(beside)


def test_sessions_that_ended_are_forgotten_when_their_cookie_would_be_too_old(
    browser: Browser, locked: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing_in, "ENDED_S", 0.0)
    browser.post("/dashboard/sign-out")
    browser.sign_in()
    monkeypatch.undo()
    browser.post("/dashboard/sign-out")
    with reading(locked.extensions["pacioli"].engine) as conn:
        lasts = conn.execute(text("SELECT until - now() FROM ended_sessions")).scalars().all()
    assert [timedelta(hours=8) < each < timedelta(hours=17) for each in lasts] == [True]


def test_a_cookie_of_an_older_release_leads_to_the_sign_in(
    browser: Browser, locked: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = json.dumps
    monkeypatch.setattr(session.json, "dumps", lambda told: encode({k: v for k, v in told.items() if k != "id"}))
    browser.sign_in()
    monkeypatch.undo()
    assert browser.client.get("/dashboard").status_code == 303


def stored_key_id(browser: Browser) -> str:
    return str(browser.client.get("/api-keys?owner=ada", headers=HEADERS).json[0]["api_key_id"])


def test_a_key_that_is_revoked_is_signed_out_at_once(browser: Browser, locked: Flask) -> None:
    other = Browser(locked)
    other.sign_in(browser.stored_key("balances:read"))
    assert "Balances" in other.get("/dashboard")
    revoked = browser.client.delete(f"/api-keys/{stored_key_id(browser)}?owner=ada", headers=HEADERS)
    assert revoked.status_code == 204
    assert other.client.get("/dashboard").status_code == 303


def test_a_key_that_is_rotated_is_signed_out_at_once_though_its_old_secret_works_for_a_while(
    browser: Browser, locked: Flask
) -> None:
    other, key = Browser(locked), browser.stored_key("balances:read")
    other.sign_in(key)
    rotated = browser.client.post(f"/api-keys/{stored_key_id(browser)}/rotate", json={}, headers=HEADERS)
    assert browser.client.get("/balances", headers={"X-Blnk-Key": key}).status_code == 200
    assert other.client.get("/dashboard").status_code == 303
    again = other.sign_in(key)
    assert (again.status_code, "This key was rotated" in again.text) == (401, True)
    assert "Set-Cookie" not in again.headers
    other.sign_in(rotated.json["key"])
    other.get("/dashboard")


def test_the_menu_shows_what_a_key_may_see(browser: Browser, locked: Flask) -> None:
    other = Browser(locked)
    other.sign_in(browser.stored_key("balances:read"))
    text = other.get("/dashboard")
    assert 'href="/dashboard/balances"' in text
    assert 'href="/dashboard/transactions"' not in text
    assert "This key may not do that" in other.get("/dashboard/transactions", 403)


@pytest.mark.parametrize("token", [None, "", "wrong", "é"])
def test_a_write_without_the_token_of_the_session_does_nothing(browser: Browser, token: str | None) -> None:
    form = {} if token is None else {"csrf": token}
    response = browser.client.post("/dashboard/sign-out", data=form)
    assert response.status_code == 403
    assert browser.client.get("/dashboard").status_code == 200


def test_pages_of_other_sites_are_refused(browser: Browser) -> None:
    foreign = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    token = browser.token()
    assert browser.client.post("/dashboard/sign-out", data={"csrf": token}, headers=foreign).status_code == 403
    assert browser.client.get("/dashboard", headers={"Host": "evil.example"}).status_code == 421
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert browser.client.get("/dashboard/balances", headers=link).status_code == 200


def test_every_page_has_a_strict_policy_and_no_script_of_its_own(browser: Browser) -> None:
    assert "unsafe" not in POLICY and "script-src 'self';" in try_it.POLICY
    for page in PAGES:
        response = browser.client.get(page.path)
        assert response.headers["Content-Security-Policy"] == (try_it.POLICY if page.title == "Try it" else POLICY)
        assert "<script>" not in response.text and " style=" not in response.text and " onclick" not in response.text


def test_precisions_are_asked_once_for_many_pages_and_at_once_for_a_new_currency(browser: Browser) -> None:
    asked = []
    places = browser.client.application
    browser.get("/dashboard/balances")
    places.before_request_funcs.setdefault(None, []).append(lambda: asked.append(request.path))
    for _ in range(3):
        browser.get("/dashboard/balances")
    assert asked.count("/currencies") == 0
    browser.client.put("/currencies/NEW", json={"precision": 1000}, headers=HEADERS)
    ledger = browser.client.post("/ledgers", json={"name": "L"}, headers=HEADERS).json["ledger_id"]
    browser.client.post("/balances", json={"ledger_id": ledger, "currency": "NEW"}, headers=HEADERS)
    assert "0.000" in browser.get("/dashboard/balances")
    assert asked.count("/currencies") == 1


def test_without_a_key_it_is_there_on_this_machine_alone(client: FlaskClient) -> None:
    assert "Overview" in client.get("/dashboard").text
    assert client.get("/dashboard", environ_base={"REMOTE_ADDR": "203.0.113.9"}).status_code == 303


def test_its_files_are_served(browser: Browser) -> None:
    for name, type in (
        ("htmx.min.js", "text/javascript"),
        ("dashboard.css", "text/css"),
        ("icon.svg", "image/svg+xml"),
    ):
        response = browser.client.get(f"/dashboard/static/{name}")
        assert response.content_type.startswith(type)
    assert browser.client.get("/dashboard/static/../app.py").status_code == 404


def test_a_bound_key_is_asked_where_it_comes_from_on_the_pages_too(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    app = create_app(
        {"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY, "PACIOLI_TRUSTED_PROXIES": "192.0.2.0/24"}
    )
    browser = Browser(app)
    key = browser.stored_key("*:*", reach={"networks": ["192.0.2.0/24", "198.51.100.0/24"]})

    def status(**headers: str) -> int:
        peer = {"REMOTE_ADDR": "192.0.2.1"}
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        found: int = browser.client.get("/dashboard/balances", headers=given, environ_overrides=peer).status_code
        return found

    browser.sign_in(key)
    inside, outside = "198.51.100.1", "203.0.113.7"
    assert status(Forwarded=f"for={inside}") == status(X_Forwarded_For=inside) == 200
    assert status(Forwarded=f"for={outside}") == status(X_Forwarded_For=outside) == 403
    assert status(Forwarded=f"for={outside}", X_Forwarded_For=inside) == 403
    assert status(Forwarded=f"for={inside}", X_Forwarded_For=outside) == 403
    app.extensions["pacioli"].engine.dispose()
