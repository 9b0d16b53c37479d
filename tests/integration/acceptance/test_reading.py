"""Blnk's acceptance cases of dates, reading and recovery."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from werkzeug.test import TestResponse

from core.base.db import begin
from core.ledger.store import waiting as waiting_store
from tests.harness.acceptance import case
from tests.harness.api import Api, ok, refused
from tests.harness.processes import wait_until
from tests.harness.steps import UNKNOWN, ahead, balances_of, beat, give

# Dates


@pytest.mark.smoke
@case(85)
def test_a_scheduled_transaction_is_applied_when_due_and_never_before(api: Api) -> None:
    # Blnk: the id stays SCHEDULED for ever.
    at, date = ahead(3600)
    accepted = ok(api.post(reference="R", scheduled_for=date), 201)
    assert (accepted["status"], accepted["sequence"]) == ("SCHEDULED", 0)
    beat(api, at - timedelta(seconds=1))
    assert api.get("/transactions/reference/R")["status"] == "SCHEDULED"
    for _ in range(2):
        beat(api, at)
    applied = api.transaction(accepted["transaction_id"])
    assert [step["status"] for step in applied["timeline"]] == ["SCHEDULED", "QUEUED", "APPLIED"]
    assert datetime.fromisoformat(applied["scheduled_for"]) == at
    assert balances_of(api, "@A") == [1]


@case(86)
@pytest.mark.parametrize("skip_queue", [True, False])
def test_a_backdated_transaction_changes_the_balance_now(api: Api, skip_queue: bool) -> None:
    dated = {"effective_date": "2020-01-01T00:00:00Z", "skip_queue": skip_queue}
    ids = [ok(api.post(**dated), 201)["transaction_id"] for _ in range(3)]
    api.drain()
    assert balances_of(api, "@A") == [3]
    assert {api.transaction(id)["effective_date"] for id in ids} == {"2020-01-01T00:00:00Z"}


@case(86)
@pytest.mark.parametrize("skip_queue", [True, False])
def test_a_backdated_transaction_was_there_already_then(api: Api, skip_queue: bool) -> None:
    for dates in ({"effective_date": "2020-01-01T00:00:00Z"}, {}):
        ok(api.post(**dates, skip_queue=skip_queue), 201)
    api.drain()
    path = f"/balances/{api.balance('@A')['balance_id']}/at"
    for from_source in ("false", "true"):
        for at, balance in (("2021-01-01T00:00:00Z", 1), ("2999-01-01T00:00:00Z", 2)):
            found = api.get(path, timestamp=at, from_source=from_source)
            assert (found["balance"]["balance"], found["balance"]["debit_balance"]) == (balance, 0)


# Reading


@case(87)
def test_a_transaction_is_read_by_id_and_by_reference(api: Api) -> None:
    done = api.done(reference="R")
    read = {**done, "skip_queue": False}  # It comes back as sent, and is not stored.
    assert api.transaction(done["transaction_id"]) == api.get("/transactions/reference/R") == read
    response = api.client.get(f"/transactions/{UNKNOWN}")
    refused(response, 404, "TXN_NOT_FOUND", f"Transaction with ID '{UNKNOWN}' not found")
    response = api.client.get("/transactions/reference/nothing")
    refused(response, 404, "TXN_NOT_FOUND", "Transaction with reference 'nothing' not found")


@case(88)
def test_a_page_that_is_none_is_the_first(api: Api) -> None:
    api.done()
    assert len(api.get("/transactions", limit="abc", offset="-5")) == 1


@case(88)
def test_a_list_is_filtered_by_its_query(api: Api) -> None:
    for reference in ("R", "S"):
        api.done(reference=reference)
    assert [row["reference"] for row in api.get("/transactions", reference_eq="R")] == ["R"]
    response = api.client.get("/transactions?reference_eq=R&logical_operator=xor")
    refused(response, 400, "GEN_VALIDATION_ERROR")


@case(89)
def test_transactions_are_filtered_and_counted(api: Api) -> None:
    def filtered(operator: str = "eq", **fields: Any) -> TestResponse:
        condition = {"field": "reference", "operator": operator, "value": "R"}
        return api.client.post("/transactions/filter", json={"filters": [condition], **fields})

    for reference in ("R", "S"):
        api.done(reference=reference)
    assert [row["reference"] for row in ok(filtered(), 200)] == ["R"]
    counted = ok(filtered(include_count=True), 200)
    assert (len(counted["data"]), counted["total_count"]) == (1, 1)
    response = api.client.post("/transactions/filter", data="{", content_type="application/json")
    assert ok(response, 400)["error_detail"]["code"].startswith("GEN_")
    refused(filtered("resembles"), 400, "GEN_BAD_REQUEST")


@case(90)
def test_what_waits_too_long_is_recovered_and_counted(api: Api) -> None:
    response = api.client.post("/transactions/recover?threshold=abc")
    message = 'invalid threshold duration: time: invalid duration "abc"'
    refused(response, 400, "GEN_VALIDATION_ERROR", message)

    def recover(**threshold: str) -> tuple[int, str]:
        answer = ok(api.client.post("/transactions/recover", query_string=threshold), 200)
        return answer["recovered"], answer["threshold"]

    give(api, "@A", 10)
    old = [ok(api.post(source=f"@S{number % 2}"), 201)["transaction_id"] for number in range(5)]
    old.append(ok(api.spend(precise_amount=16, skip_queue=None), 201)["transaction_id"])
    age(api, "9 minutes")
    young = [ok(api.post(source=f"@Y{number}"), 201)["transaction_id"] for number in range(20)]
    age(api, "1 minute")
    assert recover(threshold="24h") == (0, "24h0m0s")
    assert recover(threshold="11m") == (0, "11m0s")
    assert api.transaction(old[0])["status"] == "QUEUED"
    assert recover(threshold="5m") == (6, "5m0s")
    # A rejection is an outcome too.
    assert [api.transaction(id)["status"] for id in old] == ["APPLIED"] * 5 + ["REJECTED"]
    assert "QUEUED" in {api.transaction(id)["status"] for id in young}
    assert recover() == (0, "2m0s")
    # The sweep waits two minutes at least, though the answer says what was asked.
    assert recover(threshold="1s") == (0, "1s")
    assert "QUEUED" in {api.transaction(id)["status"] for id in young}


def age(api: Api, interval: str) -> None:
    """Move all times of acceptance so much earlier."""
    with begin(api.app.extensions["pacioli"].engine) as conn:
        conn.execute(text("SET LOCAL session_replication_role = replica"))  # Else history refuses.
        conn.execute(text("UPDATE log SET accepted_at = accepted_at - CAST(:by AS interval)"), {"by": interval})


def test_a_recovery_leaves_the_rest_of_a_long_line_to_workers(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_store, "COUNTED", 2)
    rung: list[int] = []
    monkeypatch.setattr(api.app.extensions["pacioli"].doorbell, "ring", rung.extend)
    ids = [ok(api.post(), 201)["transaction_id"] for _ in range(5)]
    age(api, "9 minutes")
    rung.clear()
    answer = ok(api.client.post("/transactions/recover"), 200)
    assert answer["recovered"] == 2
    assert api.transaction(ids[1])["status"] == "APPLIED"
    if api.transaction(ids[4])["status"] == "QUEUED":
        assert len(rung) == 1


@case(90)
def test_a_recovery_takes_what_is_due(api: Api) -> None:
    accepted = ok(api.post(scheduled_for=ahead(3)[1]), 201)

    def is_applied() -> bool:
        assert ok(api.client.post("/transactions/recover"), 200)["recovered"] == 0
        return bool(api.transaction(accepted["transaction_id"])["status"] == "APPLIED")

    wait_until(is_applied)
