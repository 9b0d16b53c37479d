"""Funding jobs of keys that are bound: whom they pay, how much, and which jobs are there for whom."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from core.base.db import begin
from core.funding import runs
from tests.harness.api import close, ok, refused
from tests.harness.bounds import Two
from tests.harness.key_ring import Holder, Keys, later
from tests.harness.keys import KEY
from web.accept.doorbell import Doorbell
from web.app import create_app

MISSING = "AUTH_INSUFFICIENT_PERMISSIONS"
JOB = {"name": "Wallets", "source": "@Tills", "currency": "USD", "precision": 100, "allow_overdraft": True}
NOTHING = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def app(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    monkeypatch.setattr(Doorbell, "wake", lambda self, task: None)
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY})
    yield app
    close(app)


@pytest.fixture
def two(app: Flask) -> Two:
    return Two(Keys(app))


def to(*names: str, minor: int = 5, **fields: Any) -> dict[str, Any]:
    """The body of a job that pays these."""
    return {**JOB, "recipients": [{"destination": name, "precise_amount": minor} for name in names], **fields}


def post(holder: Holder, body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = ok(holder.ask("POST /funding-jobs", json=body), 201)
    return found


def advance(app: Flask) -> None:
    runs.advance(app.extensions["pacioli"].engine, for_s=60)


def last_run(holder: Holder, job: dict[str, Any]) -> dict[str, Any]:
    (run, *_) = ok(holder.ask(f"GET /funding-jobs/{job['job_id']}/runs"), 200)
    found: dict[str, Any] = ok(holder.ask(f"GET /funding-jobs/{job['job_id']}/runs/{run['run_id']}"), 200)
    return found


def test_a_bound_key_funds_what_it_reaches(two: Two, app: Flask) -> None:
    job = post(two.holder, to(two.own, two.own_too))
    advance(app)
    assert last_run(two.holder, job)["status"] == "COMPLETED"
    again = ok(two.holder.ask(f"POST /funding-jobs/{job['job_id']}/run"), 201)
    advance(app)
    rows = ok(two.holder.ask(f"GET /funding-jobs/{job['job_id']}/runs/{again['run_id']}/rows"), 200)
    assert [row["status"] for row in rows] == ["APPLIED", "APPLIED"]
    for action in ("pause", "resume", "cancel"):
        ok(two.holder.ask(f"POST /funding-jobs/{job['job_id']}/{action}"), 200)


@pytest.mark.parametrize("dry_run", [False, True])
def test_rows_and_pools_out_of_reach_are_unknown_balances(two: Two, dry_run: bool) -> None:
    def message(body: dict[str, Any]) -> str:
        response = two.holder.ask("POST /funding-jobs", json={**body, "dry_run": dry_run})
        assert response.status_code in (400, 404), response.text
        return str(response.json)

    foreign, unknown = (message(to(two.own, id)).replace(id, "X") for id in (two.foreign, f"bln_{NOTHING}"))
    assert foreign == unknown
    secret, new = (message(to(two.own, name)).replace(name, "X") for name in ("@Secret", "@Nothing"))
    assert secret == new and "there is no balance" in new
    assert two.master.ask("GET /balances/indicator/@Nothing/currency/USD").status_code == 404
    for sources in (("@Secret", "@Nothing"), (two.foreign, f"bln_{NOTHING}")):
        there, nowhere = (message(to(two.own, source=each, currency="USD")).replace(each, "X") for each in sources)
        assert there == nowhere
    ledger, no_ledger = (
        message({**JOB, "rule": {"ledger_id": id, "precise_amount": 5}}).replace(id, "X")
        for id in (two.ledgers[1], f"ldg_{NOTHING}")
    )
    assert ledger == no_ledger
    # The metadata of a balance out of reach is not matched, nor counted.
    for id in (two.foreign, two.own):
        ok(two.master.ask(f"POST /{id}/metadata", json={"meta_data": {"customer_id": "c1"}}), 200)
    matched = to("c1", match="meta_data.customer_id", dry_run=True)
    assert ok(two.holder.ask("POST /funding-jobs", json=matched), 200)["rows_total"] == 1
    assert "2 balances" in str(two.master.ask("POST /funding-jobs", json=matched).json)


def test_jobs_out_of_reach_read_as_jobs_that_do_not_exist(two: Two, app: Flask) -> None:
    own = [post(two.master, to(two.own, two.own_too)), post(two.holder, to(two.own))]
    rule = {"rule": {"filters": [{"field": "balance_id", "operator": "eq", "value": two.own}], "precise_amount": 5}}
    hidden = [
        post(two.master, to(two.own, two.foreign)),
        post(two.master, to(two.own, source="@Secret", currency="USD")),
        post(two.master, {**JOB, **rule}),  # Whom its next run will find is not known.
        post(two.keys.make("*:*", reach={"ledgers": two.ledgers, "indicators": ["@Tills"]}), {**JOB, **rule}),
    ]
    ruled = post(two.holder, {**JOB, **rule})
    advance(app)
    wanted = {job["job_id"] for job in (*own, ruled)}
    listed = ok(two.holder.ask("GET /funding-jobs"), 200)
    assert {job["job_id"] for job in listed} == wanted
    pages = ok(two.holder.ask("GET /funding-jobs", query_string={"limit": 1, "after": hidden[0]["job_id"]}), 200)
    assert {job["job_id"] for job in pages} <= wanted
    for job in hidden:
        run = last_run(two.master, job)["run_id"]
        for asks in (
            "GET /funding-jobs/{job}", "GET /funding-jobs/{job}/runs", "GET /funding-jobs/{job}/runs/{run}",
            "GET /funding-jobs/{job}/runs/{run}/rows", "POST /funding-jobs/{job}/pause", "POST /funding-jobs/{job}/resume",
            "POST /funding-jobs/{job}/cancel", "POST /funding-jobs/{job}/run", "POST /funding-jobs/{job}/runs/{run}/retry",
            "POST /funding-jobs/{job}/refuse",
        ):  # fmt: skip
            detail = refused(two.holder.ask(asks.format(job=job["job_id"], run=run)), 404, "FND_NOT_FOUND")
            assert detail["message"] == f"Funding job with ID '{job['job_id']}' not found"
        assert ok(two.master.ask(f"GET /funding-jobs/{job['job_id']}"), 200)["status"] == "FINISHED"
        refused(two.holder.ask(f"GET /funding-jobs/reference/{job['reference']}"), 404, "FND_NOT_FOUND")
    for job in (*own, ruled):
        for asks in ("", "/runs"):
            ok(two.holder.ask(f"GET /funding-jobs/{job['job_id']}{asks}"), 200)


def test_a_balance_shows_the_jobs_in_reach_alone(two: Two) -> None:
    post(two.master, to(two.own, two.foreign, at=later(days=1)))
    seen = two.holder.ask("GET /balances/indicator/@Tills/currency/USD").json
    assert "funding" not in seen, seen
    own = post(two.master, to(two.own, at=later(days=2)))
    assert own["job_id"] in two.holder.ask("GET /balances/indicator/@Tills/currency/USD").text


def test_a_taken_reference_of_a_job_says_nothing_of_it(two: Two) -> None:
    post(two.master, to(two.foreign, reference="taken"))
    detail = refused(two.holder.ask("POST /funding-jobs", json=to(two.own, reference="taken")), 409,
                     "FND_DUPLICATE_REFERENCE")  # fmt: skip
    assert detail["details"] == {"reference": "taken"} and "differs" not in detail["message"]


def test_a_rule_finds_what_its_maker_reaches_whoever_runs_it(two: Two, app: Flask) -> None:
    rule = {"filters": [{"field": "currency", "operator": "eq", "value": "USD"}], "precise_top_up_to": 1000}
    job = post(two.holder, {**JOB, "rule": rule})
    advance(app)
    ok(two.master.ask(f"POST /funding-jobs/{job['job_id']}/run"), 201)
    advance(app)
    assert ok(two.master.ask(f"GET /balances/{two.own_too}"), 200)["balance"] == 1000
    assert ok(two.master.ask(f"GET /balances/{two.foreign}"), 200)["balance"] == 14
    tried = ok(two.holder.ask("POST /funding-jobs", json={**JOB, "rule": {**rule, "precise_top_up_to": 2000},
                                                          "dry_run": True}), 200)  # fmt: skip
    assert tried["rows_total"] == 2


def test_amounts_are_kept_to_when_a_job_is_made_and_when_it_is_run(two: Two, app: Flask) -> None:
    small = two.keys.make("*:*", reach={"largest_amount": 0.05, "largest_overdraft": {"USD": 100}})
    bounded = {"allow_overdraft": None, "overdraft_limit": 100}
    for body in (
        to(two.own, minor=6, **bounded),
        to(two.own, minor=5, overdraft_limit=100.01),
        to(two.own, minor=5),  # An overdraft without an end.
        {**JOB, **bounded, "rule": {"ledger_id": two.ledgers[0], "precise_amount": 6}},
    ):
        for dry_run in (True, False):
            refused(small.ask("POST /funding-jobs", json={**body, "dry_run": dry_run}), 403, MISSING)
    job = post(small, to(two.own, minor=5, **bounded))
    large = post(two.master, to(two.own, minor=6, **bounded))
    top_up = {**JOB, **bounded, "rule": {"ledger_id": two.ledgers[0], "precise_top_up_to": 30}}
    others = post(two.master, top_up)
    advance(app)
    for each in (large, others):
        run = last_run(small, each)["run_id"]  # It is in reach: only its amounts are not.
        for asks in ("resume", "run", f"runs/{run}/retry"):
            detail = refused(small.ask(f"POST /funding-jobs/{each['job_id']}/{asks}"), 403, MISSING)
            assert "this key may ask for" in detail["message"]
    ok(small.ask(f"POST /funding-jobs/{job['job_id']}/run"), 201)
    # What a top-up comes to is known when it runs.
    own = post(small, {**top_up, "rule": {"ledger_id": two.ledgers[0], "precise_top_up_to": 40}})
    advance(app)
    run = last_run(small, own)
    assert run["status"] == "REFUSED" and run["refusal"]["reason"] == "OUT_OF_REACH", run
    assert "at most 0.05 in USD" in run["refusal"]["message"]
    ok(small.ask(f"POST /funding-jobs/{own['job_id']}/run"), 201)


def test_a_run_is_compared_with_the_reach_of_its_job(two: Two, app: Flask) -> None:
    """A balance never leaves its ledger. If somebody moves it in the database, it is not paid."""
    job = post(two.holder, to(two.own, two.own_too, at=later(days=1)))
    engine = app.extensions["pacioli"].engine
    with begin(engine) as conn:
        moved = {"id": two.own_too.removeprefix("bln_"), "ledger": two.ledgers[1]}
        conn.execute(
            text(
                "UPDATE balances SET ledger = (SELECT id FROM ledgers WHERE ledger_id = :ledger) WHERE balance_id = :id"
            ),
            moved,
        )
    ok(two.master.ask(f"POST /funding-jobs/{job['job_id']}/run"), 201)
    advance(app)
    run = last_run(two.master, job)
    assert (run["status"], run["refusal"]["reason"]) == ("REFUSED", "OUT_OF_REACH")
    assert run["refusal"]["message"] == "row 2 is out of reach of the key that made the job"
