"""``skip_queue`` is decided in the commit that accepts it, and its answer is what a read says."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from core.base.db import begin
from core.ledger import drain, immediate, intake
from core.ledger.append import Submission
from core.ledger.store import log as log_store
from core.verification.verify import verify_all
from tests.harness.api import Api, ok, refused
from tests.harness.factories import Ledger, start_until_blocked, transaction
from tests.harness.processes import wait_until
from web.accept.committer import Committer
from web.service import Service


@pytest.fixture
def no_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: Any, **named: Any) -> None:
        raise AssertionError("an ordinary drain was asked")

    monkeypatch.setattr(drain, "drain_until", fail)


@pytest.mark.usefixtures("no_drain")
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"inflight": True},
        {"inflight": True, "inflight_expiry_date": "2100-01-01T00:00:00Z"},
        {"amount": 1234.56, "precision": 1000, "meta_data": {"a": [1, {"b": "ä"}]}, "overdraft_limit": 99999},
        {"effective_date": "2020-01-02T03:04:05Z", "description": "two\nlines\t\\"},
    ],
    ids=str,
)
def test_the_answer_is_what_a_read_says(api: Api, fields: dict[str, Any]) -> None:
    answer = api.done(**fields)
    assert answer.pop("skip_queue") is True
    read = api.transaction(answer["transaction_id"])
    assert read.pop("skip_queue") is False
    assert answer == read
    assert answer["status"] == ("INFLIGHT" if "inflight" in fields else "APPLIED")


@pytest.mark.usefixtures("no_drain")
def test_all_kinds_are_decided_without_a_drain(api: Api) -> None:
    api.done(precise_amount=100)
    refused(api.spend(precise_amount=101), 400, "TXN_INSUFFICIENT_FUNDS")
    hold = ok(api.spend(precise_amount=60, inflight=True), 201)["transaction_id"]
    assert ok(api.settle(hold, "commit", precise_amount=50, skip_queue=True), 200)["status"] == "APPLIED"
    assert ok(api.settle(hold, "void", skip_queue=True), 200)["status"] == "VOID"
    moved = ok(api.spend(precise_amount=10), 201)["transaction_id"]
    back = ok(api.client.post(f"/refund-transaction/{moved}", json={"skip_queue": True}), 201)
    assert (back["status"], back["precise_amount"]) == ("APPLIED", 10)
    bulk = ok(api.bulk({"source": "@A", "destination": "@C"}, {}, skip_queue=True, atomic=True), 201)
    assert bulk["status"] == "applied"
    assert api.sums("@A") == (50, 0, 0, 0)


def test_a_queue_with_a_backlog_keeps_its_order(api: Api) -> None:
    first = ok(api.post(destination="@Late"), 201)
    second = api.done(destination="@Late")
    assert api.transaction(first["transaction_id"])["status"] == "APPLIED"
    entries = api.get(f"/balances/{second['destination']}/entries")
    assert [each["transaction_id"] for each in entries] == [first["transaction_id"], second["transaction_id"]]


def test_a_posting_whose_balance_is_locked_is_left_to_a_drain(api: Api) -> None:
    key = "SELECT id FROM balances WHERE indicator = '@A' FOR UPDATE"
    api.done()
    engine = _service(api).engine
    with ThreadPoolExecutor(1) as threads:
        with begin(engine) as conn:
            conn.execute(text(key))
            waits = start_until_blocked(engine, threads, lambda: api.done())
            assert not waits.done()
        assert waits.result()["status"] == "APPLIED"


def test_a_decision_that_fails_leaves_the_append_whole(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = immediate.write

    def fail(*given: Any, **named: Any) -> None:
        plain(*given, **named)
        raise ZeroDivisionError

    monkeypatch.setattr(immediate, "write", fail)
    assert api.done()["status"] == "APPLIED"
    assert ok(api.bulk({}, {}, skip_queue=True), 201)["status"] == "applied"
    assert api.sums("@A") == (3, 0, 0, 0)
    assert verify_all(_service(api).engine).problems == []


@pytest.mark.parametrize("first_now", [True, False], ids=["both at once", "the first is queued"])
def test_a_reference_that_comes_twice_in_one_commit_is_one_transaction(api: Api, first_now: bool) -> None:
    """Another commit is held up, so that both requests are in the next one."""
    api.done()
    api.done(source="@A", destination="@B")
    service = _service(api)
    with ThreadPoolExecutor(3) as threads:
        with begin(service.engine) as conn:
            log_store.lock_head(conn)
            held_up = start_until_blocked(service.engine, threads, lambda: _of_its_own(api).done())
            given = {"reference": "twice", "source": "@A", "destination": "@B", "amount": 0.01}
            both = []
            for now in (first_now, True):
                both.append(threads.submit(_of_its_own(api).post, **given, skip_queue=now))
                wait_until(lambda: service.committer.waiting == len(both))
        answers = [each.result() for each in both]
    assert held_up.result()["status"] == "APPLIED"
    assert [answer.status_code for answer in answers] == [201, 200]
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers] == [None, "true"]
    there = api.get("/transactions/reference/twice")
    assert [answer.get_json()["transaction_id"] for answer in answers] == [there["transaction_id"]] * 2
    assert there["status"] == "APPLIED" and api.sums("@B") == (2, 0, 0, 0)


def test_what_is_decided_at_once_rings_no_bell_and_wakes_those_who_wait(ledger: Ledger) -> None:
    rung: list[int] = []
    moved: dict[int, int] = {}
    committer = Committer(ledger.engine, rung.extend, announce=moved.update)
    now, later = (_submission(ledger, source, now=now) for source, now in (("@Now", True), ("@Later", False)))
    committer.submit(now)
    (accepted,) = now.accepted
    assert (rung, moved) == ([], {accepted.queue: accepted.seq})
    committer.submit(later)
    wait_until(lambda: (rung, moved) == ([later.accepted[0].queue], {accepted.queue: accepted.seq}))


def _submission(ledger: Ledger, source: str, *, now: bool) -> Submission:
    asked = transaction(source=source, allow_overdraft=True)
    return Submission(intake.draft_all([asked], ledger.directory), decide_now=now)


def _of_its_own(api: Api) -> Api:
    """Return the same endpoints for another thread."""
    return Api(api.app, api.app.test_client())


def _service(api: Api) -> Service:
    service: Service = api.app.extensions["pacioli"]
    return service


@pytest.mark.parametrize("other", [{"destination": ""}, {}], ids=["empty", "left out"])
def test_a_split_with_an_empty_other_side_is_answered(api: Api, other: dict[str, str]) -> None:
    body: dict[str, Any] = {
        "source": "@World",
        "currency": "USD",
        "precision": 100,
        "amount": 10,
        "reference": "split",
        "description": "d",
    }
    legs = [{"identifier": "@Fee", "distribution": "10%"}, {"identifier": "@Shop", "distribution": "left"}]
    body |= {"destinations": legs, "allow_overdraft": True, "skip_queue": True, **other}
    assert ok(api.client.post("/transactions", json=body), 201)["status"] == "APPLIED"
