"""Every change is told in its own commit, with the object that GET answers, and nothing personal."""

from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask

from core.base.db import begin
from core.funding import jobs, runs
from core.identities.tokens import keyring_of
from core.ledger import ledgers
from core.ledger.rules.requests import LedgerRequest
from core.verification import results
from core.verification.report import Problem, Report
from core.verification.results import Kind
from tests.harness.api import Api, ok
from tests.harness.factories import Ledger, new_run
from tests.integration.events.conftest import Read, data_of

PERSON = {
    "identity_type": "individual", "first_name": "Zebedee", "last_name": "Quuxworth", "email_address": "zeb@quux.example",
    "phone_number": "+4670123987", "dob": "1984-03-02", "street": "Quuxgatan 7", "meta_data": {"nick": "Zebbe-Q"},
}  # fmt: skip
PERSONAL = ["Zebedee", "Quuxworth", "quux.example", "4670123987", "1984-03-02", "Quuxgatan", "Zebbe", "Lund"]


def types_of(api: Api, after: str = "0.0", **query: str) -> list[str]:
    return [each["type"] for each in api.get("/events", after=after, limit="1000", **query)["events"]]


def test_ledgers_and_balances_are_told_as_they_are_read(api: Api) -> None:
    ledger = ok(api.client.post("/ledgers", json={"name": "one"}), 201)
    renamed = ok(api.client.put(f"/ledgers/{ledger['ledger_id']}", json={"name": "two"}), 200)
    balance = ok(api.client.post("/balances", json={"ledger_id": ledger["ledger_id"], "currency": "USD"}), 201)
    path = f"/balances/{balance['balance_id']}"
    ok(api.client.put(f"{path}/limits", json={"floor": -(10**30)}), 200)
    limited = api.get(path)
    ok(api.client.post(f"/{balance['balance_id']}/metadata", json={"meta_data": {"a": 2**70}}), 200)
    events = api.get("/events")["events"]
    assert [(each["type"], each["data"]) for each in events] == [
        ("ledger.created", ledger),
        ("ledger.updated", renamed),
        ("balance.created", balance),
        ("balance.updated", limited),
        ("metadata.changed", {"entity_id": balance["balance_id"], "meta_data": {"a": 2**70}}),
    ]
    assert events[3]["data"]["limits"]["floor"] == -(10**30)


def test_metadata_of_a_transaction_is_told_once_however_many_it_passes_it_on_to(api: Api) -> None:
    batch = ok(api.bulk({}, {}, {}, skip_queue=True), 201)["batch_id"]
    end = api.get("/events", after="end")["next"]
    ok(api.client.post(f"/{batch}/metadata", json={"meta_data": {"a": 1}}), 200)
    (event,) = api.get("/events", after=end)["events"]
    assert event["data"] == {"entity_id": batch, "meta_data": {"a": 1}}


def test_a_scheduled_transaction_is_told_when_it_waits_when_it_is_cancelled_and_when_it_is_due(
    api: Api, ledger: Ledger
) -> None:
    cancelled = ok(api.post(scheduled_for="2099-01-01T00:00:00Z"), 201)
    ok(api.client.delete(f"/transactions/{cancelled['transaction_id']}"), 200)
    events = api.get("/events", types="transaction.*")["events"]
    told = [(each["type"], each["data"]["status"]) for each in events]
    assert told == [("transaction.scheduled", "SCHEDULED"), ("transaction.void", "VOID")]
    assert events[1]["data"] == api.transaction(cancelled["transaction_id"])
    assert types_of(api, types="transaction.queued,transaction.scheduled") == ["transaction.scheduled"]


@pytest.mark.parametrize(
    ("items", "fields", "type"),
    [
        ([{}, {"source": "@Poor", "allow_overdraft": False}], {}, "bulk_transaction.applied"),
        ([{}, {}], {"inflight": True}, "bulk_transaction.inflight"),
        ([{}, {"source": "@Poor", "allow_overdraft": False}], {"atomic": True}, "bulk_transaction.failed"),
    ],
)
def test_a_batch_is_told_behind_the_last_of_its_transactions(
    api: Api, ledger: Ledger, items: list[dict[str, Any]], fields: dict[str, Any], type: str
) -> None:
    batch = ok(api.bulk(*items, **fields), 201)
    assert types_of(api, types="bulk_transaction.*") == []
    ledger.drain()
    page = api.get("/events", types="transaction.*,bulk_transaction.*")
    assert [each["type"] for each in page["events"]][2:] == [type]
    data = page["events"][-1]["data"]
    counts = api.transaction(batch["batch_id"])["counts"]
    assert data["counts"] == {status: count for status, count in counts.items() if count}
    assert (data["batch_id"], data["transaction_count"]) == (batch["batch_id"], 2)
    assert data["status"] == type.removeprefix("bulk_transaction.")
    assert ("error" in data) == (type == "bulk_transaction.failed")
    assert types_of(api, types=type) == [type]
    assert api.get("/events", types="transaction.*,bulk_transaction.*") == page


def test_funding_runs_are_told_from_their_start_to_their_end(ledger: Ledger, read: Read) -> None:
    run = new_run(ledger, "@A", "@B")
    runs.advance(ledger.engine, for_s=60)
    events = read("funding_run.*", "transaction.applied")
    assert [each.type for each in events] == [
        "funding_run.started",
        "transaction.applied",
        "transaction.applied",
        "funding_run.completed",
    ]
    data = data_of(events[-1])
    assert (data["run_id"], data["status"], data["rows_applied"]) == (run.run_id, "COMPLETED", 2)


def test_what_stops_a_funding_job_is_told(ledger: Ledger, read: Read) -> None:
    job_id = f"fund_{new_run(ledger, '@A').job}"
    jobs.pause(ledger.engine, job_id)
    jobs.pause(ledger.engine, job_id)
    jobs.resume(ledger.engine, job_id, datetime.now(UTC))
    jobs.cancel(ledger.engine, job_id, datetime.now(UTC))
    events = read("funding_*")
    assert [each.type for each in events] == [
        "funding_job.paused",
        "funding_job.resumed",
        "funding_run.cancelled",
        "funding_job.cancelled",
    ]
    assert data_of(events[2])["status"] == "CANCELLED"
    assert data_of(events[3])["job_id"] == job_id


def test_a_verification_that_finds_problems_is_told(ledger: Ledger, read: Read) -> None:
    problem = Problem(table="log", key="1", what="digest", expected="x", found="y")
    report = Report()
    results.record(ledger.engine, Kind.SLICE, report, 0.1)
    report.problems, report.problem_count = [problem], 3
    results.record(ledger.engine, Kind.SLICE, report, 0.1)
    (event,) = read()
    assert event.type == "verification.failed"
    first, last = report.from_sequence, report.to_sequence
    assert data_of(event) == {"kind": "slice", "first_seq": first, "last_seq": last, "problem_count": 3}


def test_nothing_personal_of_an_identity_is_told(app: Flask, api: Api) -> None:
    app.extensions["pacioli"].keyring = keyring_of("a secret of the example 123456789")
    made = ok(api.client.post("/identities", json=PERSON), 201)["identity_id"]
    path = f"/identities/{made}"
    ok(api.client.put(path, json={"city": "Lund", "phone_number": "+4670123987"}), 200)
    ok(api.client.post(f"{path}/tokenize", json={"fields": ["FirstName"]}), 200)
    ok(api.client.post(f"/{made}/metadata", json={"meta_data": {"nick": "Zebbe-Q"}}), 200)
    ledger = ok(api.client.post("/ledgers", json={"name": "one"}), 201)["ledger_id"]
    body = {"ledger_id": ledger, "currency": "USD", "identity_id": made}
    ok(api.client.post("/balances", json=body), 201)
    ok(api.client.post(f"{path}/erase"), 200)
    text = api.client.get("/events?limit=1000").get_data(as_text=True)
    assert [each for each in PERSONAL if each in text] == []
    types = [each for each in types_of(api) if each.startswith("identity.")]
    assert types == ["identity.created", *["identity.updated"] * 3, "identity.erased"]
    created = api.get("/events", types="identity.created")["events"][0]["data"]
    assert created["identity_id"] == made
    assert "first_name" in created["fields"]


def test_a_change_that_fails_tells_nothing(ledger: Ledger, read: Read) -> None:
    def fail() -> None:
        with begin(ledger.engine) as conn:
            ledgers.create(conn, LedgerRequest(name="one"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert read() == []
