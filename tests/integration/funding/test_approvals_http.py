"""``POST /funding-jobs/<id>/approve`` and ``refuse``, and the commands that send them."""

from collections.abc import Iterator

import pytest
from flask import Flask

from ops.cli import service
from tests.harness.api import close, ok
from tests.harness.cli import Nearby, Run, failed, runner
from tests.harness.cli import ok as said
from tests.harness.factories import Ledger
from tests.harness.funding import advance_all
from tests.harness.key_ring import Holder, Keys
from tests.harness.keys import KEY
from web.accept.doorbell import Doorbell
from web.app import create_app

JOB = {
    "name": "wages", "source": "@Pool", "currency": "USD", "precision": 100, "allow_overdraft": True,
    "recipients": [{"destination": "@A", "amount": 60}, {"destination": "@B", "amount": 41}],
}  # fmt: skip


@pytest.fixture
def app(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    monkeypatch.setattr(Doorbell, "wake", lambda self, task: None)
    app = create_app(
        {"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY, "PACIOLI_APPROVE_ABOVE": "USD:100,EUR:0.50"}
    )
    yield app
    close(app)


@pytest.fixture
def maker(app: Flask) -> Holder:
    return Keys(app).make("*:*", owner="finance")


@pytest.fixture
def checker(app: Flask) -> Holder:
    return Keys(app).make("funding:read", "funding:approve", owner="audit")


def ask(maker: Holder, **fields: object) -> str:
    made = ok(maker.ask("POST /funding-jobs", json=JOB | {"again": True} | fields), 201)
    assert made["status"] == "WAITING_APPROVAL"
    return str(made["job_id"])


def test_a_key_of_another_owner_approves_what_it_has_seen(maker: Holder, checker: Holder, ledger: Ledger) -> None:
    job_id = ask(maker)
    route = f"/funding-jobs/{job_id}"
    (listed,) = ok(checker.ask("GET /funding-jobs", query_string={"status": "WAITING_APPROVAL"}), 200)
    assert listed["job_id"] == job_id
    approval = ok(checker.ask(f"GET {route}"), 200)["approval"]
    assert (approval["rows"], approval["precise_amount"], approval["owner"]) == (2, 10_100, "finance")
    body = {"digest": approval["digest"]}
    again = maker.ask(f"POST {route}/approve", json=body)
    assert (again.status_code, again.json and again.json["error_detail"]["code"]) == (409, "GEN_CONFLICT")
    assert checker.ask(f"POST {route}/approve", json={"digest": "00" * 32}).status_code == 409
    assert checker.ask(f"POST {route}/approve", json={"digest": "no"}).status_code == 400
    assert checker.ask(f"POST {route}/approve", json={}).status_code == 400
    for action in ("pause", "resume", "run"):
        assert maker.ask(f"POST {route}/{action}").status_code == 409
    assert ok(checker.ask(f"POST {route}/approve", json=body), 200)["status"] == "ACTIVE"
    advance_all(ledger)
    found = ok(checker.ask(f"GET {route}"), 200)
    assert (found["status"], found["last_run"]["status"]) == ("FINISHED", "COMPLETED")
    assert (found["approval"]["status"], found["approval"]["decided_by"]) == ("APPROVED", checker.key_id)


def test_a_key_without_the_right_neither_approves_nor_refuses(app: Flask, maker: Holder) -> None:
    job_id = ask(maker)
    other = Keys(app).make("funding:write", "funding:read", owner="audit")
    for action in ("approve", "refuse"):
        assert other.ask(f"POST /funding-jobs/{job_id}/{action}", json={"digest": "00"}).status_code == 403
    assert Keys(app).master.ask(f"POST /funding-jobs/{job_id}/refuse").status_code == 200


def test_a_small_job_waits_for_nobody(maker: Holder) -> None:
    small = ok(maker.ask("POST /funding-jobs", json=JOB | {"recipients": [{"destination": "@A", "amount": 100}]}), 201)
    assert small["status"] == "ACTIVE"
    assert ok(maker.ask(f"GET /funding-jobs/{small['job_id']}"), 200)["approval"] is None


@pytest.fixture
def run(database_url: str, app: Flask, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(service, "TRANSPORT", Nearby(app))
    for name in ("PACIOLI_KEY", "PACIOLI_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    return runner(database_url)


def test_the_command_shows_what_it_approves_and_asks(
    maker: Holder, checker: Holder, run: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("rows") / "wages.csv"
    file.write_text("destination,amount\n@A,60\n@B,41\n")
    pool = ("--source", "@Pool", "--currency", "USD", "--allow-overdraft", "--precision", "100")
    made = said(
        run("fund", str(file), *pool, "--reference", "wages-1", "--yes", "--new-names", PACIOLI_KEY=maker.secret)
    )
    assert "waits for a key of another owner: `pacioli funding approve fund_" in made
    failed(
        run("funding", "approve", "wages-1", input=b"y\n", PACIOLI_KEY=maker.secret), 1, "only a key of another owner"
    )
    left = run("funding", "approve", "wages-1", input=b"n\n", PACIOLI_KEY=checker.secret)
    assert (left.exit_code, "101.00 USD in 2 rows from @Pool, at once" in left.stderr) == (1, True)
    assert " is active" in said(run("funding", "approve", "wages-1", input=b"y\n", PACIOLI_KEY=checker.secret))
    assert "approved by api_key_" in said(run("funding", "show", "wages-1", PACIOLI_KEY=checker.secret))


def test_the_command_refuses_with_a_reason(maker: Holder, checker: Holder, run: Run) -> None:
    job_id = ask(maker)
    reason = ("--reason", "an old list")
    assert "is cancelled" in said(run("funding", "refuse", job_id, *reason, PACIOLI_KEY=checker.secret))
    assert "refused by api_key_" in said(run("funding", "show", job_id, PACIOLI_KEY=maker.secret))
    assert "an old list" in said(run("funding", "show", job_id, PACIOLI_KEY=maker.secret))
