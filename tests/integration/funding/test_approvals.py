"""A funding job above a sum waits for a key of another owner, who approves what was seen, and nothing else."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from core.base.actors import Actor, Part, acting_for, with_all_rights
from core.base.db import begin, reading
from core.base.errors import Conflict, InvalidRequest
from core.funding import approvals, create, job_store, jobs, tries
from core.funding.approvals import Approval
from core.funding.job_store import JobRow
from core.funding.requests import FundingRule
from core.lists.requests import FilterClause
from tests.harness.databases import as_owner
from tests.harness.factories import Ledger
from tests.harness.funding import (
    HOURLY,
    LATER,
    NOW,
    SOON,
    advance_all,
    funding_request,
    give,
    paid_pairs,
    read_job,
    read_run,
    read_runs,
    run_statuses,
)

MAKER, CHECKER = with_all_rights("key_maker"), with_all_rights("key_checker")
ROWS = [("@A", 6_000), ("@B", 4_001)]


def ask(
    ledger: Ledger, *rows: tuple[str, int], above: Any = Decimal(100), actor: Actor = MAKER, **fields: Any
) -> JobRow:
    with acting_for(actor):
        made = create.create_job(
            ledger.engine, funding_request(*rows, **fields), None, ledger.directory, NOW, approve_above=above
        )
    return made.job


def seen(ledger: Ledger, job: JobRow) -> Approval:
    found = approvals.read(ledger.engine, read_job(ledger, job))
    assert found is not None
    return found


def approve(ledger: Ledger, job: JobRow, actor: Actor = CHECKER, now: Any = NOW, digest: str = "") -> JobRow:
    if not digest:
        found = seen(ledger, job)
        assert found.seen is not None
        digest = found.seen.digest.hex()
    with acting_for(actor):
        return approvals.approve(ledger.engine, job.job_id, digest, now)


def change(ledger: Ledger, statement: str) -> None:
    with begin(ledger.engine) as conn:
        conn.execute(text(statement))


def audited(ledger: Ledger) -> list[tuple[str, str]]:
    with reading(ledger.engine) as conn:
        return [tuple(row) for row in conn.execute(text("SELECT actor, action FROM audit ORDER BY id"))]


@pytest.mark.usefixtures("sound")
def test_a_job_waits_until_a_key_of_another_owner_has_approved_it(ledger: Ledger) -> None:
    job = ask(ledger, *ROWS)
    assert (job.status, run_statuses(ledger, job)) == ("WAITING_APPROVAL", ["PENDING"])
    advance_all(ledger, LATER)
    assert paid_pairs(ledger, job) == []
    found = seen(ledger, job)
    assert found.seen is not None
    assert (found.seen.rows, found.seen.amount, found.row.asked_by) == (2, 10_001, "key_maker")
    assert approve(ledger, job).status == "ACTIVE"
    assert approve(ledger, job, digest=found.seen.digest.hex()).status == "ACTIVE"
    advance_all(ledger)
    assert paid_pairs(ledger, job) == ROWS
    assert (seen(ledger, job).row.status, seen(ledger, job).row.decided_by) == ("APPROVED", "key_checker")
    assert ("key_checker", "funding_job.approved") in audited(ledger)
    assert [action for _, action in audited(ledger)].count("funding_job.approved") == 1


@pytest.mark.parametrize(
    ("above", "waits"),
    [
        (None, False), (Decimal(0), True), (Decimal("100.00"), True), (Decimal("100.01"), False),
        ({"USD": Decimal("100.01")}, False), ({"EUR": Decimal(1_000_000)}, True),
    ],
)  # fmt: skip
def test_the_sum_of_its_rows_decides(ledger: Ledger, above: Any, waits: bool) -> None:
    job = ask(ledger, *ROWS, above=above)
    assert (job.status == "WAITING_APPROVAL") == waits
    assert (approvals.read(ledger.engine, job) is not None) == waits


def test_neither_who_asked_nor_another_key_of_that_owner_approves(ledger: Ledger) -> None:
    job = ask(ledger, *ROWS)
    sister = Actor(key_id="key_sister", owner="key_maker", rights=MAKER.rights)
    for actor in (MAKER, sister, MAKER.through(Part.FUNDING)):
        with pytest.raises(Conflict, match="asked for by key_maker, and only a key of another owner than key_maker"):
            approve(ledger, job, actor)
        with acting_for(actor), pytest.raises(Conflict, match="only a key of another owner"):
            approvals.refuse(ledger.engine, job.job_id, None, NOW)
    assert read_job(ledger, job).status == "WAITING_APPROVAL"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE funding_rows SET amount = amount + 1 WHERE row = 2",
        "UPDATE funding_rows SET destination = (SELECT id FROM balances WHERE indicator = '@A')",
        "DELETE FROM funding_rows WHERE row = 1",
    ],
)
def test_other_rows_than_were_seen_are_neither_approved_nor_posted(ledger: Ledger, statement: str) -> None:
    job = ask(ledger, *ROWS)
    found = seen(ledger, job)
    assert found.seen is not None
    change(ledger, statement)
    with pytest.raises(Conflict, match="would now post something else than was seen"):
        approve(ledger, job, digest=found.seen.digest.hex())
    other = ask(ledger, *ROWS)
    approve(ledger, other)
    change(ledger, statement)
    advance_all(ledger)
    run = read_run(ledger, other)
    assert run.status == "REFUSED"
    assert "ALTERED" in str(run.refusal)  # It is compared with what was accepted before it is with what was approved.
    assert paid_pairs(ledger, other) == []


def test_other_terms_than_were_seen_are_neither_approved_nor_posted(ledger: Ledger) -> None:
    job, other = ask(ledger, *ROWS), ask(ledger, *ROWS)
    found = seen(ledger, job)
    assert found.seen is not None
    approve(ledger, other)
    with as_owner(ledger.engine) as owner, begin(owner) as conn:
        conn.execute(text("""UPDATE funding_jobs SET terms = (terms::jsonb || '{"description": "other"}')::json"""))
    with pytest.raises(Conflict, match="would now post something else than was seen"):
        approve(ledger, job, digest=found.seen.digest.hex())
    advance_all(ledger)
    assert run_statuses(ledger, other) == ["REFUSED"]


@pytest.mark.parametrize("digest", ["", "xyz", "abc", "00", "0x" * 32, "00" * 33])
def test_a_digest_that_is_none_is_refused(ledger: Ledger, digest: str) -> None:
    job = ask(ledger, *ROWS)
    with acting_for(CHECKER), pytest.raises(InvalidRequest, match="digest"):
        approvals.approve(ledger.engine, job.job_id, digest, NOW)


def test_a_job_that_waits_is_only_cancelled(ledger: Ledger) -> None:
    job = ask(ledger, *ROWS)
    for attempt in (
        jobs.pause,
        lambda *given: jobs.resume(*given, NOW),
        lambda *given: jobs.run_now(*given, None, NOW),
    ):
        with pytest.raises(Conflict, match="waits for approval"):
            attempt(ledger.engine, job.job_id)
    assert jobs.cancel(ledger.engine, job.job_id, NOW).status == "CANCELLED"
    with pytest.raises(Conflict, match="is CANCELLED, and waits for no approval"):
        approve(ledger, job, digest="00" * 32)
    with pytest.raises(Conflict, match="waits for approval"):
        tries.retry(ledger.engine, job.job_id, read_run(ledger, job).run_id, NOW)
    advance_all(ledger)
    assert paid_pairs(ledger, job) == []


def test_a_refused_job_is_cancelled_with_its_reason(ledger: Ledger) -> None:
    job = ask(ledger, *ROWS)
    with acting_for(CHECKER):
        for _ in range(2):
            assert approvals.refuse(ledger.engine, job.job_id, "last month's list", NOW).status == "CANCELLED"
    assert (seen(ledger, job).row.status, seen(ledger, job).row.reason) == ("REFUSED", "last month's list")
    with pytest.raises(Conflict, match="is REFUSED, and waits for no approval"):
        approve(ledger, job, digest="00" * 32)
    with pytest.raises(Conflict, match="was refused"):
        tries.retry(ledger.engine, job.job_id, read_run(ledger, job).run_id, NOW)
    assert ("key_checker", "funding_job.refused") in audited(ledger)


def test_a_job_made_active_by_hand_is_refused_when_it_starts(ledger: Ledger) -> None:
    job = ask(ledger, *ROWS)
    change(ledger, "UPDATE funding_jobs SET status = 'ACTIVE'")
    advance_all(ledger)
    assert read_run(ledger, job).status == "REFUSED"
    assert "NOT_APPROVED" in str(read_run(ledger, job).refusal)


@pytest.mark.usefixtures("sound")
def test_an_approval_covers_the_schedule_and_no_run_beside_it(ledger: Ledger) -> None:
    job = ask(ledger, *ROWS, cron=HOURLY)
    assert job.next_due == NOW + timedelta(hours=1)
    approve(ledger, job, now=SOON + timedelta(minutes=1))
    assert read_job(ledger, job).next_due == SOON + timedelta(hours=1)
    for at in (SOON + timedelta(hours=1), SOON + timedelta(hours=2)):
        advance_all(ledger, at)
    assert paid_pairs(ledger, job) == ROWS * 2
    with pytest.raises(Conflict, match="approved for the runs of its schedule alone"):
        jobs.run_now(ledger.engine, job.job_id, None, LATER)


@pytest.mark.usefixtures("sound")
def test_a_rule_that_finds_others_than_were_seen_is_refused_unless_it_runs_by_cron(ledger: Ledger) -> None:
    give(ledger, A=1)
    rule = {"rule": FundingRule(ledger_id="general_ledger_id", precise_amount=5), "inflight": True}
    once, hourly = ask(ledger, **rule, at=SOON), ask(ledger, **rule, cron=HOURLY)
    for job in (once, hourly):
        assert job.status == "WAITING_APPROVAL"
        approve(ledger, job)
    assert (seen(ledger, once).covers_rows, seen(ledger, hourly).covers_rows) == (True, False)
    give(ledger, New=1)
    advance_all(ledger, SOON)
    assert run_statuses(ledger, once) == ["REFUSED"]
    assert "NOT_AS_APPROVED" in str(read_run(ledger, once).refusal)
    with pytest.raises(Conflict, match=r"something else than was approved.*make a new job"):
        tries.retry(ledger.engine, once.job_id, read_run(ledger, once).run_id, LATER)
    advance_all(ledger, SOON)
    assert paid_pairs(ledger, once) == []
    assert run_statuses(ledger, hourly) == ["COMPLETED"]


@pytest.mark.usefixtures("sound")
def test_rows_that_nobody_approved_are_not_paid_by_a_retry_after_a_want_of_money(ledger: Ledger) -> None:
    give(ledger, A=1)
    rule = FundingRule(filters=[FilterClause("indicator", "in", values=["@A", "@New"])], precise_amount=10_001)
    job = ask(ledger, rule=rule, at=SOON, allow_overdraft=False)
    approve(ledger, job)
    give(ledger, New=1)
    advance_all(ledger, SOON)
    give(ledger, Pool=100_000)
    with pytest.raises(Conflict, match="something else than was approved"):
        tries.retry(ledger.engine, job.job_id, read_run(ledger, job).run_id, LATER)
    advance_all(ledger, LATER)
    assert paid_pairs(ledger, job) == []


def test_a_page_of_jobs_shows_those_that_wait(ledger: Ledger) -> None:
    job, _ = ask(ledger, *ROWS), ask(ledger, ("@A", 1))
    with reading(ledger.engine) as conn:
        listed = job_store.list_jobs(conn, limit=10, after=None, status="WAITING_APPROVAL")
    assert [each.job_id for each in listed] == [job.job_id]
    assert len(read_runs(ledger, job)) == 1
