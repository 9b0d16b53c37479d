"""A request that is sent again under its Idempotency-Key does nothing twice, whatever became of the first one."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any, NamedTuple

import pytest
from flask import Flask
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from core.base.db import begin, driver, reading
from core.base.errors import Conflict, TransientError
from core.journal import audit_store, retries, retry_store
from core.ledger import ledgers
from core.verification.verify import verify_all
from tests.harness.api import Api, ok, refused

KEY = {"Idempotency-Key": "key-1"}
POST = {
    "precise_amount": 7,
    "precision": 100,
    "currency": "USD",
    "source": "@World",
    "destination": "@Shop",
    "description": "once",
    "allow_overdraft": True,
}


class Case(NamedTuple):
    """A request, and how much of something there must be when it has been done once."""

    method: str
    path: str
    body: dict[str, Any] | None
    count: Callable[[Api], int]
    once: int
    made_before: Callable[[Api], str] = lambda api: ""
    """Makes what the path names."""


def hold(api: Api) -> str:
    """Hold 100 cents of @Payer, and return the hold."""
    api.done(precise_amount=100, destination="@Payer")
    made: str = api.done(source="@Payer", destination="@Shop", precise_amount=100, inflight=True, allow_overdraft=None)[
        "transaction_id"
    ]
    return made


def split_hold(api: Api) -> str:
    api.done(precise_amount=100, destination="@Payer")
    made: str = api.done(
        source="@Payer",
        destination=None,
        destinations=[{"identifier": "@Shop", "distribution": "50%"}, {"identifier": "@Tax", "distribution": "left"}],
        precise_amount=100,
        inflight=True,
        allow_overdraft=None,
    )["transaction_id"]
    return made


def moved(api: Api) -> str:
    made: str = api.done(precise_amount=100, destination="@Buyer")["transaction_id"]
    return made


def job(api: Api) -> str:
    asked = {
        "name": "rent", "reference": "rent", "source": "@Pool", "currency": "USD", "precision": 100, "cron": "0 0 1 1 *",
        "recipients": [{"destination": "@Tenant", "precise_amount": 5}], "allow_overdraft": True,
    }  # fmt: skip
    made: str = ok(api.client.post("/funding-jobs", json=asked), 201)["job_id"]
    return made


def balance_of(name: str) -> Callable[[Api], int]:
    def read(api: Api) -> int:
        api.drain()
        return int(api.balance(name)["balance"])

    return read


def runs_of_jobs(api: Api) -> int:
    return sum(len(api.get(f"/funding-jobs/{each['job_id']}/runs")) for each in api.get("/funding-jobs"))


JOB = {
    "name": "pay", "source": "@Pool", "currency": "USD", "precision": 100, "allow_overdraft": True,
    "recipients": [{"destination": "@Worker", "precise_amount": 9}],
}  # fmt: skip
BULK = {"transactions": [POST, {**POST, "precise_amount": 3}]}
TO_MANY = {**POST, "destination": None, "destinations": [{"identifier": "@Shop", "distribution": "left"}]}

CASES = {
    "post": Case("POST", "/transactions", POST, balance_of("@Shop"), 7),
    "post with a reference": Case("POST", "/transactions", {**POST, "reference": "r"}, balance_of("@Shop"), 7),
    "post at once": Case("POST", "/transactions", {**POST, "skip_queue": True}, balance_of("@Shop"), 7),
    "split": Case("POST", "/transactions", TO_MANY, balance_of("@Shop"), 7),
    "bulk": Case("POST", "/transactions/bulk", BULK, balance_of("@Shop"), 10),
    "atomic bulk": Case("POST", "/transactions/bulk", {**BULK, "atomic": True}, balance_of("@Shop"), 10),
    "partial commit": Case(
        "PUT", "/transactions/inflight/{}", {"status": "commit", "precise_amount": 30}, balance_of("@Shop"), 30, hold
    ),
    "partial commit at once": Case(
        "PUT", "/transactions/inflight/{}", {"status": "commit", "precise_amount": 30, "skip_queue": True},
        balance_of("@Shop"), 30, hold,
    ),
    "partial commit of a split": Case(
        "PUT", "/transactions/inflight/{}", {"status": "commit", "precise_amount": 30}, balance_of("@Shop"), 15, split_hold
    ),
    "commit": Case("PUT", "/transactions/inflight/{}", {"status": "commit"}, balance_of("@Shop"), 100, hold),
    "void": Case("PUT", "/transactions/inflight/{}", {"status": "void"}, balance_of("@Payer"), 100, hold),
    "bulk commit": Case(
        "POST", "/transactions/inflight/bulk/commit", {"transactions": [{"transaction_id": "{}", "precise_amount": 30}]},
        balance_of("@Shop"), 30, hold,
    ),
    "bulk void": Case(
        "POST", "/transactions/inflight/bulk/void", {"transaction_ids": ["{}"]}, balance_of("@Payer"), 100, hold
    ),
    "partial refund": Case("POST", "/refund-transaction/{}", {"precise_amount": 40}, balance_of("@Buyer"), 60, moved),
    "funding job": Case("POST", "/funding-jobs", JOB, runs_of_jobs, 1),
    "run": Case("POST", "/funding-jobs/{}/run", {}, runs_of_jobs, 1, job),
    "ledger": Case("POST", "/ledgers", {"name": "New"}, lambda api: len(api.get("/ledgers")), 2),
    "balance": Case(
        "POST", "/balances", {"ledger_id": "general_ledger_id", "currency": "USD"},
        lambda api: len(api.get("/balances")), 1,
    ),
}  # fmt: skip

every = pytest.mark.parametrize("name", CASES)


def prepared(api: Api, name: str) -> tuple[Case, Callable[..., TestResponse]]:
    """Make what the request of a case names, and return the function that sends it."""
    case = CASES[name]
    made = case.made_before(api)

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(each) for key, each in value.items()}
        if isinstance(value, list):
            return list(map(filled, value))
        return made if value == "{}" else value

    body = {key: value for key, value in filled(case.body).items() if value is not None}

    def send(key: str = "key-1", **more: Any) -> TestResponse:
        path, headers = case.path.replace("{}", made), {"Idempotency-Key": key}
        return api.client.open(path, method=case.method, json={**body, **more}, headers=headers)

    return case, send


def lose_the_claim(engine: Engine) -> None:
    """Make the open claims as old as those of a process that has died."""
    with begin(engine) as conn:
        driver(conn).execute(
            "UPDATE idempotency_keys SET claimed_at = claimed_at - interval '1 hour' WHERE status IS NULL"
        )


@every
def test_the_same_request_gets_the_first_answer_byte_for_byte(api: Api, name: str) -> None:
    case, send = prepared(api, name)
    first = send()
    assert first.status_code in (200, 201), first.text
    assert "Idempotent-Replayed" not in first.headers
    api.drain()  # The transaction has another status by now.
    second = send()
    assert (second.status_code, second.data) == (first.status_code, first.data)
    assert second.content_type == first.content_type
    assert second.headers["Idempotent-Replayed"] == "true"
    assert case.count(api) == case.once


@every
def test_a_lost_answer_is_made_up_for_and_nothing_is_done_twice(
    api: Api, engine: Engine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends after it has done what was asked, and before it stores the answer."""
    case, send = prepared(api, name)
    with monkeypatch.context() as crash:
        crash.setattr(retries, "keep", lambda *_: None)
        first = send()
    if case.path not in ("/ledgers", "/balances"):  # Their answers are stored in the commit that creates them.
        refused(send(), 409, "GEN_IDEMPOTENCY_IN_PROGRESS")
        assert send().headers["Retry-After"] == "1"
    lose_the_claim(engine)
    second = send()
    assert second.status_code in (200, 201), second.text
    assert case.count(api) == case.once
    ids = [each for each in ("transaction_id", "ledger_id", "balance_id", "job_id") if each in (first.get_json() or {})]
    assert [second.get_json()[each] for each in ids] == [first.get_json()[each] for each in ids]
    assert send().data == second.data
    assert verify_all(engine).problems == []


@every
def test_another_request_with_the_key_is_refused(api: Api, name: str) -> None:
    case, send = prepared(api, name)
    send()
    text = "this Idempotency-Key was sent with another request; a new request needs a new key"
    refused(send(meta_data={"a": 1}), 409, "GEN_IDEMPOTENCY_KEY_REUSED", text)
    assert case.count(api) == case.once


def test_a_whole_refund_whose_answer_was_lost_names_the_refund(
    api: Api, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid = moved(api)
    with monkeypatch.context() as crash:
        crash.setattr(retries, "keep", lambda *_: None)
        first = ok(api.client.post(f"/refund-transaction/{paid}", json={}, headers=KEY), 201)
    lose_the_claim(engine)
    found = refused(api.client.post(f"/refund-transaction/{paid}", json={}, headers=KEY), 409, "TXN_ALREADY_REFUNDED")
    assert found["details"]["refund_transaction_id"] == first["transaction_id"]
    assert balance_of("@Buyer")(api) == 0


def test_a_killed_process_has_paid_once(api: Api, database_url: str, engine: Engine) -> None:
    """The process is killed with the transaction in the log, and the answer nowhere."""
    script = textwrap.dedent(
        """
        import json, os, signal, sys
        from core.journal import retries
        from web.app import create_app
        retries.keep = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        client = create_app({"DATABASE_URL": sys.argv[1]}).test_client()
        client.post("/transactions", json=json.loads(sys.argv[2]), headers={"Idempotency-Key": "key-1"})
        """
    )
    environ = {**os.environ, "DATABASE_URL": database_url}
    ended = subprocess.run(
        [sys.executable, "-c", script, database_url, json.dumps(POST)], env=environ, capture_output=True
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert balance_of("@Shop")(api) == 7
    refused(api.client.post("/transactions", json=POST, headers=KEY), 409, "GEN_IDEMPOTENCY_IN_PROGRESS")
    lose_the_claim(engine)
    found = ok(api.client.post("/transactions", json=POST, headers=KEY), 200)
    assert (found["status"], found["reference"][:5]) == ("APPLIED", "idem_")
    assert balance_of("@Shop")(api) == 7


def test_many_at_once_do_it_once(api: Api, app: Flask) -> None:
    def send(_: int) -> TestResponse:
        return app.test_client().post("/transactions", json=POST, headers=KEY)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(24)))
    done = [each for each in answers if each.status_code == 201]
    assert {each.data for each in done} == {done[0].data}
    assert {each.status_code for each in answers} <= {201, 409}
    assert balance_of("@Shop")(api) == 7


def test_a_request_that_another_has_taken_over_creates_nothing(
    api: Api, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process stands still before its commit, and the same request is sent again and done meanwhile."""
    create = ledgers.create

    def stand_still(*arguments: Any) -> Any:
        monkeypatch.setattr(ledgers, "create", create)
        lose_the_claim(engine)
        ok(api.app.test_client().post("/ledgers", json={"name": "New"}, headers=KEY), 201)
        return create(*arguments)

    monkeypatch.setattr(ledgers, "create", stand_still)
    refused(api.client.post("/ledgers", json={"name": "New"}, headers=KEY), 503, "GEN_UNAVAILABLE")
    assert len(api.get("/ledgers")) == 2
    with reading(engine) as conn:
        assert audit_store.last_id(conn) == 1


# What is kept, and what is not


def test_an_error_that_did_nothing_is_not_kept(api: Api) -> None:
    refused(api.client.post("/transactions", json={**POST, "amount": "x"}, headers=KEY), 400, "GEN_MALFORMED_REQUEST")
    ok(api.client.post("/transactions", json=POST, headers=KEY), 201)


def test_a_rejection_is_kept(api: Api) -> None:
    asked = {**POST, "source": "@Poor", "allow_overdraft": False, "skip_queue": True}
    first = api.client.post("/transactions", json=asked, headers=KEY)
    refused(first, 400, "TXN_INSUFFICIENT_FUNDS")
    api.done(precise_amount=100, destination="@Poor")
    second = api.client.post("/transactions", json=asked, headers=KEY)
    assert (second.status_code, second.data) == (400, first.data)


def test_what_could_not_be_done_now_may_be_sent_again_at_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    committer = api.app.extensions["pacioli"].committer

    def fail(*_: Any) -> None:
        raise TransientError("not now")

    with monkeypatch.context() as away:
        away.setattr(committer, "submit", fail)
        refused(api.client.post("/transactions", json=POST, headers=KEY), 503, "GEN_UNAVAILABLE")
    ok(api.client.post("/transactions", json=POST, headers=KEY), 201)
    assert balance_of("@Shop")(api) == 7


def test_an_answer_that_cannot_be_stored_is_given_all_the_same(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> bool:
        raise TransientError("not now")

    with monkeypatch.context() as away:
        away.setattr(retry_store, "answer", fail)
        ok(api.client.post("/transactions", json=POST, headers=KEY), 201)


def test_a_wait_may_be_longer_the_second_time(api: Api) -> None:
    first = api.client.post("/transactions", json=POST, headers=KEY)
    second = api.client.post("/transactions?wait=1ms", json=POST, headers=KEY)
    assert second.data == first.data


def test_an_upload_with_a_key_makes_one_job(api: Api) -> None:
    """Its bytes differ each time, so its job is known by the reference that the key gives."""

    def send(rows: bytes) -> TestResponse:
        fields = {name: value for name, value in JOB.items() if name != "recipients"}
        parts = {"job": json.dumps(fields), "recipients": (BytesIO(b"destination,precise_amount\n" + rows), "r.csv")}
        return api.client.post("/funding-jobs", data=parts, content_type="multipart/form-data", headers=KEY)

    first = ok(send(b"@Worker,9\n"), 201)
    second = send(b"@Worker,9\n")
    assert ok(second, 200)["job_id"] == first["job_id"]
    assert second.headers["Idempotent-Replayed"] == "true"
    refused(send(b"@Worker,10\n"), 409, "FND_DUPLICATE_REFERENCE")
    assert runs_of_jobs(api) == 1


def test_another_key_does_not_pay_the_same_list_again(api: Api) -> None:
    ok(api.client.post("/funding-jobs", json=JOB, headers=KEY), 201)
    other = {"Idempotency-Key": "key-2"}
    refused(api.client.post("/funding-jobs", json=JOB, headers=other), 409, "FND_REPEATED")
    ok(api.client.post("/funding-jobs", json={**JOB, "again": True}, headers=other), 201)
    assert runs_of_jobs(api) == 2


@pytest.mark.parametrize("key", ["", " ", "k" * 256, "ä", "a\tb"])
def test_a_key_that_cannot_be_one_is_refused(api: Api, key: str) -> None:
    found = refused(
        api.client.post("/transactions", json=POST, headers={"Idempotency-Key": key}), 400, "GEN_VALIDATION_ERROR"
    )
    assert found["message"] == "Idempotency-Key: must be 1 to 255 printable ASCII characters."


def test_two_api_keys_may_use_one_idempotency_key(engine: Engine) -> None:
    first = retries.claim(engine, "key_a", "k", b"1")
    assert retries.claim(engine, "key_b", "k", b"2") != first
    assert retries.reference_of("key_a", "k") != retries.reference_of("key_b", "k")
    with pytest.raises(Conflict):
        retries.claim(engine, "key_a", "k", b"2")


def test_old_keys_are_forgotten_and_still_nothing_is_paid_twice(api: Api, engine: Engine) -> None:
    first = ok(api.client.post("/transactions", json=POST, headers=KEY), 201)
    assert retries.forget(engine, 1) == 0
    with begin(engine) as conn:
        driver(conn).execute("UPDATE idempotency_keys SET claimed_at = claimed_at - interval '61 minutes'")
    assert retries.forget(engine, 1) == 1
    again = ok(api.client.post("/transactions", json=POST, headers=KEY), 200)
    assert again["transaction_id"] == first["transaction_id"]


# Without a key


def test_a_request_without_a_key_stores_nothing(api: Api, engine: Engine) -> None:
    ok(api.post(), 201)
    with reading(engine) as conn:
        assert driver(conn).execute("SELECT count(*) FROM idempotency_keys").fetchone() == (0,)


@pytest.mark.parametrize("name", ["partial commit", "partial commit at once", "partial refund", "bulk commit"])
def test_a_part_that_could_be_moved_again_says_so(api: Api, name: str) -> None:
    case, _ = prepared(api, name)
    made = case.made_before(api)
    body: Any = case.body
    if "transactions" in body:
        body = {"transactions": [{"transaction_id": made, "precise_amount": 30}]}
    path = case.path.replace("{}", made)
    found = api.client.open(path, method=case.method, json=body).get_json()
    assert [each["message"] for each in found["warnings"]] == [
        "without a reference or an Idempotency-Key, the same request sent again moves the amount again"
    ]
    if "transactions" not in body:
        assert "warnings" not in api.client.open(path, method=case.method, json={**body, "reference": "r"}).get_json()
