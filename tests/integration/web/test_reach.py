"""A key that is bound: what it reaches, what it never sees, and how much it may ask for."""

import re
from collections.abc import Iterator

import pytest
from flask import Flask

from tests.harness.api import close, ok, refused
from tests.harness.bounds import Two
from tests.harness.key_ring import Keys
from tests.harness.keys import KEY
from web.accept.doorbell import Doorbell
from web.app import create_app
from web.http.rights import RIGHTS


@pytest.fixture
def app(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY})
    yield app
    close(app)


@pytest.fixture
def keys(app: Flask) -> Keys:
    return Keys(app)


@pytest.fixture
def two(keys: Keys) -> Two:
    return Two(keys)


def test_a_bound_key_posts_between_what_it_reaches_and_nothing_else_exists_for_it(two: Two) -> None:
    assert two.post(two.holder, "@Tills", two.own)
    for source, destination in (
        ("@Tills", two.foreign), (two.foreign, "@Tills"), ("@Secret", two.own), (two.own, "@Secret"), (two.own, "@New"),
    ):  # fmt: skip
        for dry_run in (False, True):
            body = two.body(source, destination, allow_overdraft=True, dry_run=dry_run)
            response = two.holder.ask("POST /transactions", json=body)
            assert "not found" in response.text and response.status_code in (404, 200), response.text
            if not dry_run:
                refused(response, 404, "BAL_NOT_FOUND")
    bulk = {"transactions": [two.body("@Tills", two.own, allow_overdraft=True), two.body("@Secret", two.own)]}
    assert two.holder.ask("POST /transactions/bulk", json=bulk).status_code == 404
    split = {**two.body("@Tills", two.own, allow_overdraft=True), "destination": None}
    del split["destination"]
    split["destinations"] = [
        {"identifier": two.own, "distribution": "50%"}, {"identifier": two.foreign, "distribution": "left"}
    ]  # fmt: skip
    refused(two.holder.ask("POST /transactions", json=split), 404, "BAL_NOT_FOUND")
    assert two.master.ask("GET /balances/indicator/@New/currency/USD").status_code == 404


def test_what_is_out_of_reach_reads_as_what_does_not_exist(two: Two) -> None:
    def message(route: str) -> tuple[int, str]:
        response = two.holder.ask(route)
        return response.status_code, re.sub(r"\w+_[0-9a-f-]{36}|@\w+", "X", response.text)

    nothing = "00000000-0000-7000-8000-000000000000"
    for path in ("", "/at", "/limits"):
        assert message(f"GET /balances/{two.foreign}{path}") == message(f"GET /balances/bln_{nothing}{path}")
    there, missing = (message(f"GET /balances/indicator/{name}/currency/USD") for name in ("@Secret", "@Nothing"))
    assert there == missing and there[0] == 404
    for moved in (("@Secret", two.foreign), ("@Tills", two.foreign), ("@Secret", two.own)):
        assert message(f"GET /transactions/{two.moved[moved]}") == message(f"GET /transactions/txn_{nothing}")
        refunded = two.holder.ask(f"POST /refund-transaction/{two.moved[moved]}", json={})
        assert refunded.status_code == 404
    assert two.holder.ask(f"GET /transactions/{two.moved['@Tills', two.own]}").status_code == 200
    assert two.holder.ask(f"GET /balances/{two.own}").status_code == 200


def test_holds_and_batches_out_of_reach_are_neither_seen_nor_settled(two: Two) -> None:
    hold = two.post(two.master, "@Secret", two.own, inflight=True)
    for status in ("commit", "void"):
        response = two.holder.ask(f"PUT /transactions/inflight/{hold}", json={"status": status})
        assert response.status_code == 404, response.text
    bulk = {"transactions": [two.body("@Tills", two.own, allow_overdraft=True),
                             two.body("@Secret", two.foreign, allow_overdraft=True)]}  # fmt: skip
    batch = ok(two.master.ask("POST /transactions/bulk", json=bulk), 201)["batch_id"]
    assert two.holder.ask(f"GET /transactions/{batch}").status_code == 404


def test_no_read_route_shows_a_foreign_balance_to_a_bound_key(two: Two) -> None:
    """Whatever route there is, today or later: with own and foreign IDs, for lists and filters."""
    fill = {
        "transaction_id": list(two.moved.values()),
        "balance_id": [two.own, two.foreign],
        "ledger_id": two.ledgers,
        "indicator": ["@Tills", "@Secret"],
        "currency": ["USD"],
        "reference": ["x"],
    }
    asked = 0
    for route in RIGHTS:
        if not (route.startswith("GET ") or route.endswith("/filter")):
            continue
        names = re.findall(r"<(?:\w+:)?(\w+)>", route)
        variants = [route]
        for name in names:
            pattern = rf"<(?:\w+:)?{name}>"
            variants = [re.sub(pattern, value, each) for each in variants for value in fill.get(name, ["nothing"])]
        for variant in variants:
            body = {"json": {"filters": []}} if route.endswith("/filter") else {}
            response = two.holder.ask(variant, **body)
            asked += 1
            assert response.status_code in (200, 400, 403, 404, 503), (variant, response.text)
            if any(hidden in variant for hidden in two.hidden):
                # A balance without a monitor has an empty list, and so has one that does not exist.
                assert response.status_code != 200 or response.json == [], variant
            shown = response.text
            for part in variant.split("/"):
                shown = shown.replace(part, "")  # A refusal may say what was asked for.
            for hidden in two.hidden:
                assert hidden not in shown, (variant, hidden)
    assert asked > 30


def test_amounts_and_overdrafts_end_at_the_reach(keys: Keys) -> None:
    two = Two(keys)
    reach = {"largest_amount": 5, "largest_overdraft": {"USD": 2}}
    holder = keys.make("transactions:*", "balances:*", "funding:*", reach=reach)
    at_most = two.body("@Cash", two.own, precise_amount=200, allow_overdraft=True, overdraft_limit=2)
    assert holder.ask("POST /transactions", json=at_most).status_code == 201
    for fields in (
        {"precise_amount": 501, "overdraft_limit": 2},
        {"amount": 5.01, "precise_amount": None, "overdraft_limit": 2},
        {"precise_amount": 100, "overdraft_limit": 2.01},
        {"precise_amount": 100},
        {"precise_amount": 100, "currency": "EUR", "destination": "@Other", "overdraft_limit": 1},
    ):
        body = two.body("@Cash", two.own) | {"allow_overdraft": True} | fields
        body = {name: value for name, value in body.items() if value is not None}
        detail = refused(holder.ask("POST /transactions", json=body), 403, "AUTH_INSUFFICIENT_PERMISSIONS")
        assert "more than this key may ask for" in detail["message"]
        refused(holder.ask("POST /transactions/bulk", json={"transactions": [body]}), 403,
                "AUTH_INSUFFICIENT_PERMISSIONS")  # fmt: skip
    large = two.post(two.master, "@Cash", two.own, precise_amount=600)
    refused(holder.ask(f"POST /refund-transaction/{large}", json={}), 403, "AUTH_INSUFFICIENT_PERMISSIONS")


def test_a_largest_amount_counts_by_the_precision_of_the_currency_where_the_check_is_off(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    settings = {"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY, "PACIOLI_PRECISION_CHECK": "off"}
    app = create_app(settings)
    two = Two(Keys(app))
    holder = two.keys.make("transactions:*", "balances:*", "funding:*", reach={"largest_amount": 1})
    huge = {"precise_amount": 10**18, "precision": 10**18}
    body = two.body("@Cash", two.own, allow_overdraft=True, **huge)
    bulk = {"transactions": [body, two.body("@Cash", two.own, allow_overdraft=True)]}
    job = {"name": "j", "source": "@Cash", "currency": "USD", "precision": 10**18, "allow_overdraft": True,
           "at": "2999-01-01T00:00:00Z", "recipients": [{"destination": two.own, "precise_amount": 10**18}]}  # fmt: skip
    asked = (("POST /transactions", body), ("POST /transactions/bulk", bulk), ("POST /funding-jobs", job))
    for route, json in asked:
        assert "pacioli currencies set USD 100" in holder.ask(route, json=json).text
    ok(two.master.ask("PUT /currencies/USD", json={"precision": 100}), 200)
    for route, json in asked:
        response = holder.ask(route, json=json)
        assert response.status_code in (400, 403, 422) and "precision" in response.text, response.text
    two.post(two.master, "@Cash", two.own, **huge)
    two.post(holder, "@Cash", two.own, precise_amount=100)
    close(app)


def test_a_key_is_bound_to_its_networks_and_to_its_rate(keys: Keys) -> None:
    holder = keys.make("ledgers:read", reach={"networks": ["192.0.2.0/24", "::1"]})
    for address, status in (("192.0.2.9", 200), ("::1", 200), ("::ffff:192.0.2.1", 200), ("127.0.0.1", 403), ("", 403)):
        response = holder.ask("GET /ledgers", environ_overrides={"REMOTE_ADDR": address})
        assert response.status_code == status, (address, response.text)
    hasty = keys.make("ledgers:read", reach={"rate": "1/4"})
    answers = [hasty.ask("GET /ledgers") for _ in range(20)]
    assert answers[0].status_code == 200
    assert "rate of this key" in refused(answers[-1], 429, "GEN_RATE_LIMITED")["message"]
    assert keys.master.ask("GET /ledgers").status_code == 200
