"""A bound key in lists, filters, counts, statements, books and receipts: what it sees, and what it does not."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from core.base.actors import acting_for, with_all_rights
from core.ledger.store import reach as reach_store
from core.ledger.store.balance_list import BALANCES
from core.lists import filters
from tests.harness.api import close, ok, refused
from tests.harness.bounds import Two
from tests.harness.key_ring import Holder, Keys, later
from tests.harness.keys import KEY
from web.accept.doorbell import Doorbell
from web.app import create_app
from web.http.rights import OUT_OF_REACH

NOTHING = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def app(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY})
    yield app
    close(app)


@pytest.fixture
def two(app: Flask) -> Two:
    return Two(Keys(app))


def listed(holder: Holder, path: str, field: str, **query: Any) -> list[str]:
    return [row[field] for row in ok(holder.ask(f"GET {path}", query_string=query), 200)]


def test_a_route_that_is_closed_to_a_bound_key_says_why(two: Two) -> None:
    for route, why in OUT_OF_REACH.items():
        method, _, rule = route.partition(" ")
        asks = f"{method} {'/'.join('x' if step.startswith('<') else step for step in rule.split('/'))}"
        code = "AUTH_MASTER_KEY_REQUIRED" if "/hooks" in route else "AUTH_INSUFFICIENT_PERMISSIONS"
        assert why in refused(two.holder.ask(asks), 403, code)["message"]


@pytest.mark.parametrize("few", [1_000, 0])
def test_lists_have_what_is_in_reach_alone(two: Two, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach_store, "FEW", few)
    holder, own_move = two.holder, two.moved["@Tills", two.own]
    assert {*listed(holder, "/balances", "indicator")} == {"", "@Tills"}
    assert set(listed(holder, "/balances", "balance_id")) >= {two.own}
    assert two.foreign not in listed(holder, "/balances", "balance_id", limit=100)
    assert set(listed(holder, "/ledgers", "ledger_id")) == {two.ledgers[0], "general_ledger_id"}
    whole = two.split(two.master, "@Tills", two.own, two.own_too, scheduled_for=later(days=1), skip_queue=False)
    half = two.split(two.master, "@Tills", two.own, two.foreign, scheduled_for=later(days=1), skip_queue=False)
    both = two.split(two.master, "@Tills", two.own, two.own_too)
    mixed = two.split(two.master, "@Tills", two.own, two.foreign)
    seen = listed(holder, "/transactions", "transaction_id", limit=100)
    assert {own_move, both} <= set(seen) and mixed not in seen and len(seen) == 5  # With three legs within reach.
    waiting = {"status_in": "SCHEDULED,APPLIED", "limit": 100}
    assert {*listed(holder, "/transactions", "transaction_id", **waiting)} - {*seen} == {whole}
    for id, status in ((whole, 200), (half, 404), (both, 200), (mixed, 404)):
        assert holder.ask(f"GET /transactions/{id}").status_code == status
    page = ok(holder.ask("GET /transactions", query_string={"include_count": "true", "limit": 1}), 200)
    assert page["total_count"] == 5
    # No filter widens a reach, whatever it asks for, and however filters combine.
    every = [
        {"field": "transaction_id", "operator": "eq", "value": two.moved["@Secret", two.foreign]},
        {"field": "currency", "operator": "eq", "value": "USD"},
        {"field": "indicator", "operator": "eq", "value": "@Secret"},
        {"field": "balance_id", "operator": "in", "values": [two.foreign, two.own]},
    ]
    for operator in ("or", "and"):
        body = {"filters": every, "logical_operator": operator, "limit": 100, "include_count": True}
        found = ok(holder.ask("POST /transactions/filter", json=body), 200)
        assert found["total_count"] == (5 if operator == "or" else 0)
        assert {row["transaction_id"] for row in found["data"]} <= set(seen)


def test_a_page_begins_after_nothing_that_is_out_of_reach(two: Two) -> None:
    """The place of a hidden row would tell that it is there, and when it came."""
    hidden = {"transactions": two.moved["@Secret", two.foreign], "balances": two.foreign, "ledgers": two.ledgers[1]}
    prefixes = {"transactions": "txn", "balances": "bln", "ledgers": "ldg"}
    for name, id in hidden.items():
        for sort in ({}, {"sort_by": "created_at", "sort_order": "asc"}):
            query = {"limit": 100, **sort}
            unknown = two.holder.ask(f"GET /{name}", query_string={"after": f"{prefixes[name]}_{NOTHING}", **query})
            answer = two.holder.ask(f"GET /{name}", query_string={"after": id, **query})
            assert (answer.status_code, answer.headers.get("Link")) == (400, None), name
            assert answer.json["errors"][0]["Param"] == "after"
            assert answer.json == unknown.json
    pages, after = [], None
    while True:
        query = {"limit": 1, **({"after": after} if after else {})}
        rows = ok(two.holder.ask("GET /balances", query_string=query), 200)
        if not rows:
            break
        after = rows[0]["balance_id"]
        pages.append(after)
    assert pages == listed(two.holder, "/balances", "balance_id", limit=100)


def test_a_statement_adds_up_and_names_nobody_out_of_reach(two: Two) -> None:
    for path in ("entries", "statement", "statement?basis=effective"):
        found = ok(two.holder.ask(f"GET /balances/{two.own}/{path}"), 200)
        entries = found if isinstance(found, list) else found["entries"]
        assert [entry["precise_balance_after"] for entry in entries] == [7, 14]
        own, foreign = entries
        assert own["counterparty"] == "@Tills" and own["transaction_id"] == two.moved["@Tills", two.own]
        blank = ("counterparty", "transaction_id", "parent_transaction", "reference", "description")
        assert [foreign[name] for name in blank] == [""] * 5 and foreign["sequence"] == 0
        assert foreign["precise_amount"] == 7
        csv = two.holder.ask(f"GET /balances/{two.own}/{path}", headers={"Accept": "text/csv"}).text
        assert "@Secret" not in csv and two.moved["@Secret", two.own] not in csv
    refused(two.holder.ask(f"GET /balances/{two.foreign}/statement"), 404, "BAL_NOT_FOUND")
    assert ok(two.holder.ask(f"GET /balances/{two.own}/at"), 200)["balance"]["balance"] == 14


def test_books_and_currencies_are_those_of_what_is_in_reach(two: Two) -> None:
    two.made("POST /balances", ledger_id=two.ledgers[1], currency="XAU")
    ok(two.master.ask("PUT /currencies/XAU", json={"precision": 1000}), 200)
    (usd,) = ok(two.holder.ask("GET /books"), 200)
    lines = {line["indicator"]: line["balance"] for line in usd["lines"]}
    assert lines == {"@Tills": -14, "": 14} and usd["balances"] == 3 and usd["currency"] == "USD"
    assert listed(two.holder, "/currencies", "currency") == ["USD"]
    assert {"XAU"} < set(listed(two.master, "/currencies", "currency"))


def test_a_receipt_is_there_for_what_is_in_reach(two: Two) -> None:
    assert two.holder.ask(f"GET /transactions/{two.moved['@Tills', two.own]}/receipt").status_code == 200
    for foreign in (two.moved["@Secret", two.foreign], f"txn_{NOTHING}"):
        refused(two.holder.ask(f"GET /transactions/{foreign}/receipt"), 404, "TXN_NOT_FOUND")


def test_metadata_is_added_to_what_is_in_reach(two: Two) -> None:
    body = {"json": {"meta_data": {"a": 1}}}
    bulk = {"transactions": [two.body("@Tills", two.own, allow_overdraft=True),
                             two.body("@Tills", two.foreign, allow_overdraft=True)]}  # fmt: skip
    mixed = ok(two.master.ask("POST /transactions/bulk", json=bulk), 201)["batch_id"]
    for there in (two.own, two.ledgers[0], two.moved["@Tills", two.own]):
        ok(two.holder.ask(f"POST /{there}/metadata", **body), 200)
    for hidden in (two.foreign, two.ledgers[1], "general_ledger_id", two.moved["@Secret", two.own], mixed):
        detail = refused(two.holder.ask(f"POST /{hidden}/metadata", **body), 404, "META_ENTITY_NOT_FOUND")
        assert detail["message"] == f"entity with ID '{hidden}' not found"
    assert "a" not in (ok(two.master.ask(f"GET /balances/{two.foreign}"), 200)["meta_data"] or {})


def test_balances_and_ledgers_are_made_within_reach(two: Two) -> None:
    made = ok(two.holder.ask("POST /balances", json={"ledger_id": two.ledgers[0], "currency": "EUR"}), 201)
    assert two.holder.ask(f"GET /balances/{made['balance_id']}").status_code == 200
    ok(
        two.holder.ask(
            "POST /balances", json={"ledger_id": "general_ledger_id", "currency": "EUR", "indicator": "@Tills"}
        ),
        201,
    )
    foreign, unknown = (
        refused(two.holder.ask("POST /balances", json={"ledger_id": ledger, "currency": "EUR"}), 400, "GEN_BAD_REQUEST")
        for ledger in (two.ledgers[1], f"ldg_{NOTHING}")
    )
    assert foreign["message"] == unknown["message"]
    for name in ("@Secret", "@Nothing"):
        body = {"ledger_id": "general_ledger_id", "currency": "USD", "indicator": name}
        detail = refused(two.holder.ask("POST /balances", json=body), 403, "AUTH_INSUFFICIENT_PERMISSIONS")
        assert detail["message"] == f"the key does not reach {name}"
    refused(two.holder.ask("POST /ledgers", json={"name": "New"}), 403, "AUTH_INSUFFICIENT_PERMISSIONS")
    refused(two.holder.ask(f"PUT /ledgers/{two.ledgers[1]}", json={"name": "New"}), 404, "LGR_NOT_FOUND")
    refused(two.holder.ask(f"GET /ledgers/{two.ledgers[1]}"), 404, "LGR_NOT_FOUND")
    ok(two.holder.ask(f"PUT /ledgers/{two.ledgers[0]}", json={"name": "New"}), 200)


def test_holds_are_settled_one_by_one_as_far_as_they_are_in_reach(two: Two) -> None:
    for status in ("commit", "void"):
        own, foreign = (two.post(two.master, "@Tills", each, inflight=True) for each in (two.own, two.foreign))
        ids = [own, foreign, f"txn_{NOTHING}"]
        body = (
            {"transactions": [{"transaction_id": id} for id in ids]} if status == "commit" else {"transaction_ids": ids}
        )
        for dry_run in (True, False):
            found = ok(
                two.holder.ask(f"POST /transactions/inflight/bulk/{status}", json={**body, "dry_run": dry_run}), 200
            )
            results = found["results"]
            if not dry_run:
                assert [result["status"] for result in results] == ["queued", "failed", "failed"]
                assert [result.get("code") for result in results[1:]] == ["NOT_FOUND", "NOT_FOUND"]
            shown = [str(result).replace(id, "X") for result, id in zip(results, ids, strict=True)]
            assert shown[1].replace("index': 1", "") == shown[2].replace("index': 2", "")
        assert ok(two.master.ask(f"GET /transactions/{foreign}"), 200)["status"] == "INFLIGHT"
    limited = two.keys.make("transactions:*", reach={"largest_amount": 0.05})
    hold = two.post(two.master, "@Tills", two.own, inflight=True)
    refused(
        limited.ask(f"PUT /transactions/inflight/{hold}", json={"status": "commit"}),
        403,
        "AUTH_INSUFFICIENT_PERMISSIONS",
    )
    ok(
        limited.ask(
            f"PUT /transactions/inflight/{hold}", json={"status": "commit", "amount": 0.05, "skip_queue": True}
        ),
        200,
    )
    ok(limited.ask(f"PUT /transactions/inflight/{hold}", json={"status": "void"}), 200)


def test_what_is_scheduled_is_cancelled_within_reach_alone(two: Two) -> None:
    date: dict[str, Any] = {"scheduled_for": later(days=1), "skip_queue": False}
    own = two.split(two.master, "@Tills", two.own, two.own_too, **date)
    hidden = [
        two.post(two.master, "@Secret", two.own, **date),
        two.split(two.master, "@Tills", two.own, two.foreign, **date),
    ]
    for id in (*hidden, f"txn_{NOTHING}"):
        assert refused(two.holder.ask(f"DELETE /transactions/{id}"), 404, "TXN_NOT_FOUND")["message"].count(id)
    assert {ok(two.master.ask(f"GET /transactions/{id}"), 200)["status"] for id in hidden} == {"SCHEDULED"}
    assert ok(two.holder.ask(f"DELETE /transactions/{own}"), 200)["status"] == "VOID"


def test_a_taken_reference_says_nothing_of_who_took_it(two: Two) -> None:
    taken = ok(two.master.ask(f"GET /transactions/{two.moved['@Secret', two.foreign]}"), 200)["reference"]
    body = two.body("@Tills", two.own, allow_overdraft=True) | {"reference": taken}
    hold = two.post(two.master, "@Tills", two.own, inflight=True)
    asks: list[tuple[str, dict[str, Any]]] = [
        ("POST /transactions", body),
        ("POST /transactions", body | {"precise_amount": 8}),
        ("POST /transactions/bulk", {"transactions": [body]}),
        (f"PUT /transactions/inflight/{hold}", {"status": "commit", "reference": taken}),
        (f"POST /refund-transaction/{two.moved['@Tills', two.own]}", {"reference": taken}),
    ]
    for route, asked in asks:
        detail = refused(two.holder.ask(route, json=asked), 409, "TXN_DUPLICATE_REFERENCE")
        detail["details"].pop("batch_id", None)
        assert detail["details"] == {"reference": taken} and "differs" not in detail["message"], route
        assert "transaction_id" in refused(two.master.ask(route, json=asked), 409, "TXN_DUPLICATE_REFERENCE")["details"]


def test_an_identity_is_in_reach_with_a_balance_of_it(two: Two) -> None:
    own, foreign, nobodys = (
        two.made("POST /identities", first_name=name)["identity_id"] for name in ("Ada", "Bob", "Cyd")
    )
    for balance, identity in ((two.own, own), (two.foreign, foreign)):
        ok(two.master.ask(f"PUT /balances/{balance}/identity", json={"identity_id": identity}), 200)
    assert listed(two.holder, "/identities", "first_name") == ["Ada"]
    assert ok(two.holder.ask(f"GET /identities/{own}"), 200)["first_name"] == "Ada"
    for hidden in (foreign, nobodys):
        refused(two.holder.ask(f"GET /identities/{hidden}"), 404, "IDT_NOT_FOUND")
        refused(two.holder.ask(f"PUT /balances/{two.own}/identity", json={"identity_id": hidden}), 404, "IDT_NOT_FOUND")
        body = {"ledger_id": two.ledgers[0], "currency": "USD", "identity_id": hidden}
        refused(two.holder.ask("POST /balances", json=body), 404, "IDT_NOT_FOUND")
    refused(two.holder.ask(f"POST /{own}/metadata", json={"meta_data": {"a": 1}}), 403, "AUTH_INSUFFICIENT_PERMISSIONS")


def test_a_bound_key_sees_no_key_that_reaches_more(two: Two) -> None:
    narrow = two.keys.make("ledgers:read", reach={"ledgers": two.ledgers[:1], "indicators": ["@Tills"]})
    wide = [
        two.keys.make("ledgers:read", reach=reach)
        for reach in (
            None,
            {"ledgers": two.ledgers, "indicators": ["@Tills"]},
            {"ledgers": two.ledgers[:1]},
            {"rate": "1/1"},
        )
    ]
    assert set(listed(two.holder, "/api-keys", "api_key_id")) == {two.holder.key_id, narrow.key_id}
    for each in wide:
        refused(two.holder.ask(f"DELETE /api-keys/{each.key_id}"), 404, "APIKEY_NOT_FOUND")
        refused(two.holder.ask(f"POST /api-keys/{each.key_id}/rotate"), 404, "APIKEY_NOT_FOUND")
    assert two.holder.ask(f"DELETE /api-keys/{narrow.key_id}").status_code == 204


def test_a_key_without_bounds_costs_no_statement(two: Two) -> None:
    listing = filters.of_query(BALANCES, [], limit=5, offset=0)
    with acting_for(with_all_rights("master")):
        nobody: Any = None  # A connection that is not used.
        assert reach_store.balances_in_reach(nobody, listing) is listing
        assert reach_store.transactions_in_reach(nobody, listing) is listing
        assert reach_store.ledgers_in_reach(listing) is listing
        assert reach_store.reaches_transactions(nobody, parent="x") and reach_store.reaches_identity(nobody, 1)


def test_a_bound_key_has_the_monitors_of_its_balances_alone(two: Two) -> None:
    condition = {"field": "balance", "operator": "<", "value": 0}
    own, foreign = (
        two.made("POST /balance-monitors", balance_id=each, condition=condition)["monitor_id"]
        for each in (two.own, two.foreign)
    )
    assert listed(two.holder, "/balance-monitors", "monitor_id") == [own]
    assert listed(two.holder, f"/balance-monitors/balances/{two.foreign}", "monitor_id") == []
    asked = {"balance_id": two.foreign, "condition": condition}
    refused(two.holder.ask("POST /balance-monitors", json=asked), 404, "BAL_NOT_FOUND")
    refused(two.holder.ask(f"PUT /balance-monitors/{own}", json=asked), 404, "BAL_NOT_FOUND")
    for route in ("GET", "DELETE"):
        refused(two.holder.ask(f"{route} /balance-monitors/{foreign}"), 404, "BAL_MONITOR_NOT_FOUND")
    refused(two.holder.ask(f"GET /balance-monitors/{foreign}/events"), 404, "BAL_MONITOR_NOT_FOUND")
    ok(two.holder.ask(f"GET /balance-monitors/{own}"), 200)
