"""The client against the real application: every answer is understood whole, and every request is taken."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from flask import Flask
from pacioli_client import (
    Client,
    NewBalance,
    NewBatch,
    NewJob,
    NewTransaction,
    Recipient,
    Refund,
    Rule,
    Settlement,
    Share,
)
from pacioli_client.errors import Conflict, Invalid, NotFound
from pacioli_client.requests import Clause
from pacioli_client.wire import encode

from core.funding import runs
from tests.harness.factories import Ledger


class Noting(httpx.WSGITransport):
    """Keeps the body of the last answer."""

    last = b""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        self.last = response.read()
        return httpx.Response(response.status_code, headers=response.headers, content=self.last)


@pytest.fixture
def noting(app: Flask) -> Noting:
    return Noting(app)


@pytest.fixture
def client(noting: Noting) -> Iterator[Client]:
    with Client("http://localhost", transport=noting) as client:
        yield client


def same(found: Any, noting: Noting) -> None:
    """Sent back, the answer would be what the service sent: no field was lost, and no digit."""
    assert json.loads(encode(found), parse_float=Decimal) == json.loads(noting.last, parse_float=Decimal)


def new(**fields: Any) -> NewTransaction:
    """One cent from @World to @A, decided at once."""
    given: dict[str, Any] = {
        "source": "@World", "destination": "@A", "currency": "USD", "precision": 100, "description": "a test",
        "allow_overdraft": True, "skip_queue": True, "precise_amount": 1,
    }  # fmt: skip
    return NewTransaction(**{**given, **fields})


@pytest.mark.smoke
def test_a_transaction_is_created_read_and_found_by_its_reference(client: Client, noting: Noting) -> None:
    created = client.transactions.create(new(reference="r/1", amount=Decimal("12.50"), precise_amount=None))
    same(created, noting)
    assert (created.status, created.precise_amount, created.amount) == ("APPLIED", 1250, Decimal("12.5"))
    same(client.transactions.read(created.transaction_id), noting)
    found = client.transactions.by_reference("r/1")
    same(found, noting)
    assert found.transaction_id == created.transaction_id
    assert client.transactions.wait(created.transaction_id).status == "APPLIED"


def test_amounts_beyond_any_float_survive(client: Client) -> None:
    huge = 10**40 + 1
    created = client.transactions.create(new(precise_amount=huge, meta_data={"n": huge, "d": Decimal("0.1")}))
    assert (created.precise_amount, created.amount) == (
        huge,
        Decimal(huge) / 1 if False else Decimal(f"1{'0' * 38}.01"),
    )
    assert created.meta_data == {"n": huge, "d": Decimal("0.1")}


def test_queued_scheduled_rejected_and_split_transactions_are_understood_whole(
    client: Client, noting: Noting, ledger: Ledger
) -> None:
    queued = client.transactions.create(new(reference="q", skip_queue=None))
    same(queued, noting)
    found = client.transactions.read(queued.transaction_id)
    same(found, noting)
    assert found.queue and found.queue.position == 1
    assert client.transactions.wait(queued.transaction_id, timeout_s=0.2).status == "QUEUED"
    later = client.transactions.create(new(skip_queue=None, scheduled_for=datetime.now(UTC) + timedelta(days=9)))
    same(later, noting)
    assert later.status == "SCHEDULED"
    same(client.transactions.cancel(later.transaction_id), noting)
    halves = [Share(identifier="@A", distribution="50%"), Share(identifier="@B", distribution="left")]
    split = client.transactions.create(new(destination=None, destinations=halves, precise_amount=5, reference="s"))
    same(split, noting)
    assert split.legs and [leg.precise_amount for leg in split.legs] == [2, 3]
    poor = new(source="@Poor", destination="@B", precise_amount=150, allow_overdraft=None, reference="p")
    with pytest.raises(Invalid) as caught:
        client.transactions.create(poor)
    assert caught.value.code == "TXN_INSUFFICIENT_FUNDS"
    rejected = client.transactions.by_reference("p")
    same(rejected, noting)
    assert rejected.rejection and rejected.rejection.short_by == 150
    assert [each.reference for each in client.transactions.list(status_eq="REJECTED")] == ["p"]
    ledger.drain()
    assert {each.reference for each in client.transactions.list(limit=1)} >= {"q", "p", "s"}


def test_holds_are_committed_voided_and_payments_refunded(client: Client, noting: Noting) -> None:
    hold = client.transactions.create(new(inflight=True, precise_amount=10))
    now = Settlement(precise_amount=4, skip_queue=True)
    same(client.transactions.commit_inflight(hold.transaction_id, now), noting)
    voided = client.transactions.void_inflight(hold.transaction_id, Settlement(skip_queue=True))
    same(voided, noting)
    assert voided.parent_transaction == hold.transaction_id
    settled = client.transactions.read(hold.transaction_id)
    same(settled, noting)
    assert settled.inflight_amounts and (settled.inflight_amounts.committed, settled.inflight_amounts.voided) == (4, 6)
    paid = client.transactions.create(new(precise_amount=10))
    part = client.transactions.refund(paid.transaction_id, Refund(precise_amount=3, skip_queue=True))
    same(part, noting)
    same(client.transactions.refund(paid.transaction_id, Refund(skip_queue=True)), noting)
    with pytest.raises(Conflict) as caught:
        client.transactions.refund(paid.transaction_id)
    assert caught.value.code == "TXN_ALREADY_REFUNDED"


def test_a_bulk_is_accepted_read_and_settled(client: Client, noting: Noting) -> None:
    bulk = NewBatch(
        transactions=[new(skip_queue=None), new(skip_queue=None, precise_amount=2)], inflight=True, skip_queue=True
    )
    accepted = client.transactions.create_batch(bulk)
    same(accepted, noting)
    batch = client.transactions.read_batch(accepted.batch_id)
    same(batch, noting)
    assert batch.counts["INFLIGHT"] == 2
    same(client.transactions.commit_batch_inflight(accepted.batch_id), noting)
    same(client.transactions.read_batch(accepted.batch_id), noting)


def test_a_dry_run_keeps_nothing(client: Client) -> None:
    assert client.transactions.dry_run(new(reference="d"))
    with pytest.raises(NotFound):
        client.transactions.by_reference("d")


def test_balances_and_ledgers(client: Client, noting: Noting) -> None:
    ledger = client.ledgers.create("Customers", {"a": 1})
    same(ledger, noting)
    same(client.ledgers.rename(ledger.ledger_id, "Clients"), noting)
    assert client.ledgers.read(ledger.ledger_id).name == "Clients"
    assert ledger.ledger_id in {each.ledger_id for each in client.ledgers.list(limit=1)}
    made = client.balances.create(NewBalance(ledger_id=ledger.ledger_id, currency="USD", meta_data={"name": "Ana"}))
    same(made, noting)
    for _ in range(3):
        client.transactions.create(new(destination=made.balance_id, precise_amount=2))
    read = client.balances.read(made.balance_id, with_queued=True)
    same(read, noting)
    assert (read.balance, read.queued_debit_balance) == (6, 0)
    same(client.balances.by_indicator("@World", "USD"), noting)
    entries = list(client.balances.entries(made.balance_id, limit=2))
    assert [entry.precise_balance_after for entry in entries] == [2, 4, 6]
    last = list(client.balances.entries(made.balance_id, after=entries[1].version))
    same(last, noting)
    then = client.balances.at(made.balance_id, datetime.now(UTC))
    same(then, noting)
    assert then.balance.balance == 6
    assert len(list(client.balances.list(limit=1, currency_eq="USD"))) == 2
    assert client.add_metadata(made.balance_id, {"b": 2}) == {"name": "Ana", "b": 2}


CSV = b"destination,amount,description\n@Ana,1.50,Hello\n@Ben,2,\n"


def test_a_job_is_made_of_a_file_or_of_rows_and_its_run_is_read(client: Client, noting: Noting, ledger: Ledger) -> None:
    asked = NewJob(name="May", source="@Pool", currency="USD", precision=100, allow_overdraft=True, reference="may/1")
    trial = client.funding.dry_run(asked, io.BytesIO(CSV))
    same(trial, noting)
    assert (trial.rows_total, trial.amount_total, trial.new_names) == (2, Decimal("3.5"), ["@Ana", "@Ben", "@Pool"])
    made = client.funding.create(asked, io.BytesIO(CSV))
    same(made.job, noting)
    assert (made.replayed, made.job.rows) == (False, 2)
    rows = [
        Recipient(destination="@Ana", amount=Decimal("1.50"), description="Hello"),
        Recipient(destination="@Ben", amount=Decimal(2)),
    ]
    again = client.funding.create(asked, rows)
    assert (again.replayed, again.job.job_id) == (True, made.job.job_id)
    assert made.job.run
    runs.advance(ledger.engine, for_s=60)
    run = client.funding.read_run(made.job.job_id, made.job.run.run_id, wait_s=1)
    same(run, noting)
    assert (run.status, run.rows_applied, run.amount_applied) == ("COMPLETED", 2, Decimal("3.5"))
    assert [row.destination for row in client.funding.rows(run.job_id, run.run_id, limit=1)] == ["@Ana", "@Ben"]
    row = list(client.funding.rows(run.job_id, run.run_id, after=2))
    same(row, noting)
    same(client.funding.read(run.job_id), noting)
    same(client.funding.by_reference("may/1"), noting)
    assert client.balances.by_indicator("@Pool", "USD").balance == -350
    same(list(client.funding.runs(run.job_id)), noting)
    same(list(client.funding.list(status="FINISHED")), noting)
    with pytest.raises(NotFound, match="no/such"):
        client.funding.by_reference("no/such")
    with pytest.raises(Conflict):
        client.funding.retry(run.job_id, run.run_id)


def test_a_job_with_a_rule_is_paused_resumed_run_and_cancelled(client: Client, noting: Noting, ledger: Ledger) -> None:
    rule = Rule(filters=[Clause(field="currency", operator="eq", value="USD")], top_up_to=Decimal("2.50"))
    job = client.funding.create(
        NewJob(name="Top up", source="@Pool", currency="USD", precision=100, rule=rule, cron="0 8 * * *")
    ).job
    same(job, noting)
    pool = client.balances.by_indicator("@Pool", "USD")
    same(pool, noting)
    assert pool.funding and pool.funding.job_id == job.job_id
    assert client.funding.pause(job.job_id).status == "PAUSED"
    assert client.funding.resume(job.job_id).status == "ACTIVE"
    started = client.funding.run(job.job_id, "extra")
    same(started.run, noting)
    assert client.funding.run(job.job_id, "extra").replayed
    runs.advance(ledger.engine, for_s=60)
    same(client.funding.read_run(job.job_id, started.run.run_id), noting)
    same(client.funding.cancel(job.job_id), noting)
    same(client.funding.read(job.job_id), noting)


def test_every_bad_row_is_a_problem(client: Client) -> None:
    bad = io.BytesIO(b"destination,amount\n@Ana,x\n")
    with pytest.raises(Invalid) as caught:
        client.funding.create(NewJob(name="n", source="@Pool", currency="USD", precision=100), bad)
    (problem,) = caught.value.problems
    assert (problem.row, problem.field) == (2, "amount")


def test_the_service_itself(client: Client, noting: Noting) -> None:
    client.transactions.create(new())
    same(client.queues(), noting)
    health = client.health()
    same(health, noting)
    assert (health.status, health.checks.workers_alive) == ("DEGRADED", [])
    assert [problem.part for problem in health.problems] == ["broker", "workers"]
    verified = client.verify()
    same(verified, noting)
    assert (verified.ok, verified.transactions) == (True, 1)
