"""A stored key is named in the metadata of its transactions, as in Blnk. Nobody can forge that, and no number changes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from core.funding import runs
from core.ledger import due
from tests.harness.api import ok
from tests.harness.key_ring import Holder, Keys, later

STAMP = "BLNK_GENERATED_BY"


@pytest.fixture
def maker(keys: Keys) -> Holder:
    return keys.make("*:*")


def test_a_transaction_is_stamped_and_its_numbers_stay(keys: Keys, maker: Holder) -> None:
    made = ok(maker.api.post(reference="r", meta_data={"order": 12345678901234567890, "rate": 0.1}), 201)
    assert made["meta_data"] == {STAMP: maker.key_id, "order": 12345678901234567890, "rate": 0.1}
    for reader in (maker, keys.master):
        assert reader.api.transaction(made["transaction_id"])["meta_data"] == made["meta_data"]
    maker.api.drain()
    assert keys.master.api.transaction(made["transaction_id"])["meta_data"] == made["meta_data"]


def test_a_transaction_without_metadata_is_stamped_too(maker: Holder) -> None:
    for fields in ({}, {"skip_queue": True}, {"meta_data": {}}, {"inflight": True}):
        assert ok(maker.api.post(**fields), 201)["meta_data"] == {STAMP: maker.key_id}


def test_a_rejected_one_has_both_its_reason_and_its_stamp(keys: Keys, maker: Holder) -> None:
    maker.api.spend(reference="short", source="@Nothing")
    found = keys.master.api.get("/transactions/reference/short")["meta_data"]
    assert found[STAMP] == maker.key_id and "insufficient" in found["blnk_rejection_reason"]


@pytest.mark.parametrize(
    "forged",
    [
        '{"BLNK_GENERATED_BY": "x", "a": 1}',
        '{"BLNK\\u005fGENERATED_BY": "x", "a": 1}',
        '{"a": 1, "BLNK_GENERATED_BY": 5}',
    ],
)
def test_a_stamp_cannot_be_forged(keys: Keys, maker: Holder, forged: str) -> None:
    body = (
        '{"precise_amount":1,"precision":100,"currency":"USD","reference":"f","source":"@World","destination":"@A",'
        f'"description":"d","allow_overdraft":true,"meta_data":{forged}}}'
    )
    made = ok(maker.ask("POST /transactions", data=body, content_type="application/json"), 201)
    assert made["meta_data"] == {STAMP: maker.key_id, "a": 1}
    added = f'{{"meta_data":{forged}}}'
    ok(maker.ask(f"POST /{made['transaction_id']}/metadata", data=added, content_type="application/json"), 200)
    shown = keys.master.ask(f"GET /transactions/{made['transaction_id']}").text
    assert shown.count(STAMP) == 1 and maker.key_id in shown
    ok(keys.master.ask(f"POST /{made['transaction_id']}/metadata", data=added, content_type="application/json"), 200)
    shown = keys.master.ask(f"GET /transactions/{made['transaction_id']}").text
    assert shown.count(STAMP) == 1 and maker.key_id in shown


def test_every_item_of_a_bulk_is_stamped(keys: Keys, maker: Holder) -> None:
    ok(maker.api.bulk({"reference": "b1"}, {"reference": "b2", "meta_data": {STAMP: "x"}}), 201)
    for reference in ("b1", "b2"):
        assert keys.master.api.get(f"/transactions/reference/{reference}")["meta_data"] == {STAMP: maker.key_id}


def test_what_a_key_repeats_is_the_same(maker: Holder) -> None:
    first = ok(maker.api.post(reference="once"), 201)
    again = ok(maker.api.post(reference="once", meta_data=first["meta_data"], destination="@A"), 200)
    assert again["transaction_id"] == first["transaction_id"]


def test_rows_of_ticks_and_funding_are_stamped_with_the_key_that_asked(keys: Keys, maker: Holder, app: Flask) -> None:
    engine = app.extensions["pacioli"].engine
    ok(maker.api.post(reference="planned", scheduled_for=later(hours=1), destination="@Till"), 201)
    hold = maker.api.done(inflight=True, inflight_expiry_date=later(hours=1))["transaction_id"]
    due.accept_due(engine, datetime.now(UTC) + timedelta(hours=2))
    job: dict[str, Any] = {
        "name": "j", "reference": "j", "source": "@World", "currency": "USD", "precision": 100, "allow_overdraft": True,
        "recipients": [{"destination": "@A", "precise_amount": 5}],
    }  # fmt: skip
    ok(maker.ask("POST /funding-jobs", json=job), 201)
    runs.advance(engine, for_s=60)
    keys.master.api.drain()
    rows = keys.master.api.get("/transactions?limit=50")
    assert {"tick", "funding"} <= {row["created_through"] for row in rows}
    assert {row["meta_data"][STAMP] for row in rows} == {maker.key_id}
    assert keys.master.api.transaction(hold)["status"] == "VOID"


def test_ledgers_and_balances_are_stamped(keys: Keys, maker: Holder) -> None:
    ledger = ok(maker.ask("POST /ledgers", json={"name": "n", "meta_data": {"a": 1, STAMP: "x"}}), 201)
    assert ledger["meta_data"] == {"a": 1, STAMP: maker.key_id}
    balance = ok(maker.ask("POST /balances", json={"ledger_id": ledger["ledger_id"], "currency": "USD"}), 201)
    assert balance["meta_data"] == {STAMP: maker.key_id}


def test_the_master_key_leaves_no_stamp(keys: Keys) -> None:
    assert "meta_data" not in ok(keys.master.api.post(), 201)
    assert ok(keys.master.api.post(meta_data={STAMP: "import"}), 201)["meta_data"] == {STAMP: "import"}
