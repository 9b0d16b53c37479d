"""Every write of the dashboard wants a session, the token of its page and the right. No page leads where a key may not go."""

import io
import re
from html import unescape
from typing import Any

import pytest
from flask import Flask

from core.base.actors import Right
from tests.harness.api import Api
from tests.harness.key_ring import later
from tests.harness.keys import HEADERS
from tests.integration.web.dashboard.conftest import Browser
from web.dashboard.app import create

WRITES: dict[str, tuple[str, ...]] = {
    "/dashboard/sign-in": (),
    "/dashboard/sign-out": (),
    "/dashboard/health/verify": ("verify:read",),
    "/dashboard/balances/<balance_id>/limits": ("balances:write",),
    "/dashboard/transactions/<transaction_id>/<action>": (
        "commit transactions:commit",
        "void transactions:void",
        "refund transactions:refund",
        "cancel transactions:cancel",
    ),
    "/dashboard/funding/new": ("funding:create",),
    "/dashboard/funding/<job_id>/<action>": (
        "pause funding:control",
        "resume funding:control",
        "cancel funding:control",
        "run funding:control",
        "approve funding:approve",
        "refuse funding:approve",
    ),
    "/dashboard/funding/<job_id>/runs/<run_id>/retry": ("funding:control",),
    "/dashboard/identities": ("identities:write",),
    "/dashboard/identities/<identity_id>/<action>": ("change identities:write", "delete identities:delete"),
    "/dashboard/monitors": ("balance-monitors:write",),
    "/dashboard/monitors/<monitor_id>/<action>": (
        "start balance-monitors:write",
        "stop balance-monitors:write",
        "delete balance-monitors:delete",
    ),
    "/dashboard/webhooks": ("webhooks:write",),
    "/dashboard/webhooks/<webhook_id>/<action>": tuple(
        f"{action} webhooks:write" for action in ("test", "rotate", "replay", "start", "stop", "change", "delete")
    ),
    "/dashboard/keys": ("api-keys:write",),
    "/dashboard/keys/<key_id>/rotate": ("api-keys:write",),
    "/dashboard/keys/<key_id>/revoke": ("api-keys:delete",),
    "/dashboard/api/<path:path>": ("ledgers:write",),
}
"""The routes that write, with the scope that each action of theirs needs."""

FORM = {
    "amount": "1", "field": "balance", "operator": "<", "value": "1", "name": "n", "owner": "o", "scopes": "balances:read",
    "expires": later(days=90)[:10], "url": "https://receiver.example/", "events": "transaction.*", "first_name": "Ada",
    "identity_type": "individual", "digest": "d", "reason": "r", "from": "0.0",
}  # fmt: skip
"""One form that has the fields of all."""

READS = sorted(
    right
    for right in Right
    if right.endswith(":read") and not right.startswith(("accounts", "search", "hooks", "metadata"))
)


@pytest.fixture
def ids(browser: Browser, locked: Flask) -> dict[str, str]:
    """A ledger that has one of each thing."""

    def made(path: str, field: str, **body: Any) -> str:
        response = browser.client.post(path, json=body, headers=HEADERS)
        assert response.status_code == 201, response.text
        return str(response.json[field])

    who = made("/identities", "identity_id", first_name="Ada", identity_type="individual")
    ledger = made("/ledgers", "ledger_id", name="Customers")
    balance = made("/balances", "balance_id", ledger_id=ledger, currency="USD", identity_id=who)
    common = {"precision": 100, "currency": "USD", "allow_overdraft": True}
    hold = made("/transactions", "transaction_id", **common, amount=5, source="@World", destination=balance, reference="t",
                description="d", inflight=True, skip_queue=True)  # fmt: skip
    rows = [{"destination": "@Ada", "amount": 1}]
    job = made("/funding-jobs", "job_id", **common, name="Salaries", source="@Pool", recipients=rows, cron="0 6 * * *")
    api = Api(locked, browser.client)
    run = made(f"/funding-jobs/{job}/run", "run_id")
    api.drain()
    monitor = made("/balance-monitors", "monitor_id", balance_id=balance,
                   condition={"field": "balance", "operator": "<", "value": 3})  # fmt: skip
    webhook = made("/webhooks", "webhook_id", url="https://receiver.example/", events=["transaction.*"])
    key = made("/api-keys", "api_key_id", name="k", owner="ada", scopes=["balances:read"], expires_at=later(days=90))
    return {
        "balance_id": balance, "transaction_id": hold, "job_id": job, "run_id": run, "identity_id": who,
        "monitor_id": monitor, "webhook_id": webhook, "key_id": key, "path:path": "ledgers",
    }  # fmt: skip


def _calls(ids: dict[str, str]) -> list[tuple[str, str]]:
    """List each write as a path and the scope that it needs."""
    found = []
    for rule, cases in WRITES.items():
        path = re.sub("<([^>]+)>", lambda part: ids.get(part[1], part[0]), rule)
        found += [(path.replace("<action>", case.partition(" ")[0]), case.rpartition(" ")[2]) for case in cases]
    return found


def test_the_table_has_every_write(locked: Flask) -> None:
    app = create(lambda *_: [], locked.extensions["pacioli"])
    rules = {
        rule.rule for rule in app.url_map.iter_rules() if (rule.methods or set()) & {"POST", "PUT", "PATCH", "DELETE"}
    }
    assert rules == WRITES.keys()


def test_no_write_is_done_for_a_stranger_or_without_the_token(
    browser: Browser, stranger: Browser, ids: dict[str, str]
) -> None:
    before = _state(browser)
    for path, _ in _calls(ids):
        led = stranger.client.post(path, data=FORM)
        assert (led.status_code, led.headers["Location"]) == (303, "/dashboard/sign-in?next=/dashboard"), path
        for token in ({}, {"csrf": "wrong"}):
            refused = browser.client.post(path, data=FORM | token)
            assert refused.status_code == 403 and "did not come from this page" in refused.text, path
    assert _state(browser) == before


def test_no_write_is_done_for_a_key_without_the_right(browser: Browser, locked: Flask, ids: dict[str, str]) -> None:
    reader = Browser(locked)
    reader.sign_in(browser.stored_key(*(right for right in READS if right != "verify:read"), owner="eve"))
    before, token = _state(browser), reader.token()
    for path, scope in _calls(ids):
        data: dict[str, Any] = {**FORM, "csrf": token}
        if path.endswith("/funding/new"):
            data["recipients"] = (io.BytesIO(b"destination,amount\n@Ada,1\n"), "list.csv")
        if path == "/dashboard/api/ledgers":
            answer = reader.client.post(path, json={"name": "n"}, headers={"X-CSRF-Token": token})
        else:
            answer = reader.client.post(path, data=data)
        # A form that is put beside the page says so where it was sent; all others by their status.
        assert answer.status_code == (200 if path.endswith("/funding/new") else 403), (path, answer.status_code)
        assert scope in answer.text, (path, scope)
    assert _state(browser) == before


def test_no_page_leads_where_the_key_may_not_go(browser: Browser, locked: Flask, ids: dict[str, str]) -> None:
    for scopes in [*((right,) for right in READS), tuple(READS)]:
        reader = Browser(locked)
        reader.sign_in(browser.stored_key(*scopes))
        ahead, seen = ["/dashboard"], {"/dashboard"}
        while ahead:
            text = reader.get(ahead.pop())
            for link in re.findall(r'(?:href|hx-get)="(/dashboard/[^"#]+)', text):
                kind = re.sub("_[0-9a-f-]{30,}", "_", unescape(link).partition("?")[0])
                if kind not in seen and not kind.startswith("/dashboard/static"):
                    seen.add(kind)
                    ahead.append(unescape(link))
        assert len(seen) > 1
    assert ids["webhook_id"]


def test_a_page_that_the_key_may_not_see_says_which_scope_it_needs(
    browser: Browser, locked: Flask, ids: dict[str, str]
) -> None:
    reader = Browser(locked)
    reader.sign_in(browser.stored_key("events:read"))
    for path, scope in (
        ("balances", "balances:read"),
        (f"balances/{ids['balance_id']}", "balances:read"),
        (f"transactions/{ids['transaction_id']}", "transactions:read"),
        (f"funding/{ids['job_id']}/runs/{ids['run_id']}", "funding:read"),
        ("approvals", "funding:read"),
        ("webhooks", "webhooks:read"),
        ("monitors", "balance-monitors:read"),
        ("identities", "identities:read"),
        ("audit", "audit:read"),
    ):
        assert scope in reader.get(f"/dashboard/{path}", 403)


def _state(browser: Browser) -> list[Any]:
    """Read everything that a write would change."""
    paths = (
        "/balances", "/transactions", "/funding-jobs", "/identities", "/balance-monitors", "/webhooks", "/ledgers",
        "/api-keys?all=true",
    )  # fmt: skip
    rows = [row for path in paths for row in browser.client.get(path, headers=HEADERS).json]
    return [{name: value for name, value in row.items() if name != "last_used_at"} for row in rows]
