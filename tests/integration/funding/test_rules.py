"""A rule names the balances of a run when it starts, and a top-up adds what is missing."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from core.base.db import begin
from core.funding import dry_run, posting_store, run_store, runs, tries
from core.funding import jobs as funding_jobs
from core.funding.progress import Progress
from core.funding.requests import FundingRule
from core.ledger import drain
from core.lists.requests import FilterClause
from tests.harness.factories import Ledger
from tests.harness.funding import (
    APPLIED,
    HOURLY,
    LATER,
    NOW,
    SOON,
    advance_all,
    balance_of,
    create_job,
    create_ledger,
    funding_request,
    give,
    many_rows,
    paid_pairs,
    posted_by_job,
    posted_by_run,
    read_run,
    read_runs,
    run_short_of_money,
    run_statuses,
    set_piece,
    take_steps,
)

pytestmark = pytest.mark.usefixtures("sound")


def test_a_rule_funds_the_balances_of_a_ledger_in_the_currency_but_not_the_pool(ledger: Ledger) -> None:
    ledger_id, (pool, one, _, two) = create_ledger(ledger, "USD", "USD", "EUR", "USD")
    _, (stranger,) = create_ledger(ledger, "USD")
    job = create_job(ledger, source=pool, currency=None, rule=FundingRule(ledger_id=ledger_id, amount=Decimal("1.5")))
    assert (job.row_count, job.amount) == (None, None)
    advance_all(ledger)
    assert paid_pairs(ledger, job) == [(one, 150), (two, 150)]
    assert stranger not in dict(paid_pairs(ledger, job))


def test_a_rule_by_filters_is_looked_up_when_the_run_starts_and_fixed_then(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_piece(monkeypatch, 2)
    give(ledger, A=5, B=10, C=1, D=2)
    rule = FundingRule(
        filters=[
            FilterClause("balance", "lt", "10"),
            FilterClause("indicator", "in", values=["@A", "@B", "@C", "@D", "@E"]),
        ],
        precise_amount=3,
    )
    job = create_job(ledger, rule=rule, at=SOON)
    give(ledger, C=20, E=1)
    assert runs.claim(ledger.engine, SOON, Progress())
    take_steps(ledger, 2, SOON)
    give(ledger, A=100, D=100, E=100)  # Too late to be left out.
    advance_all(ledger, SOON)
    assert paid_pairs(ledger, job) == [("@A", 3), ("@D", 3), ("@E", 3)]


def test_a_rule_that_nothing_matches_is_a_run_of_no_rows(ledger: Ledger) -> None:
    ledger_id, _ = create_ledger(ledger)
    job = create_job(ledger, rule=FundingRule(ledger_id=ledger_id, amount=Decimal(1)), allow_overdraft=False)
    advance_all(ledger)
    run = read_run(ledger, job)
    assert (run.status, run.row_count, run.posted) == ("COMPLETED", 0, 0)


def test_a_run_of_no_rows_asks_nothing_of_a_pool_that_is_below_the_limit(ledger: Ledger) -> None:
    ledger.post(source="@Pool", destination="@World", precise_amount=5)
    ledger_id, _ = create_ledger(ledger, "EUR")
    fields: dict[str, Any] = {"rule": FundingRule(ledger_id=ledger_id, precise_amount=10), "allow_overdraft": False}
    job = create_job(ledger, **fields)
    advance_all(ledger)
    assert (balance_of(ledger, "@Pool"), run_statuses(ledger, job)) == (-5, ["COMPLETED"])
    tried = dry_run.dry_run_job(ledger.engine, funding_request(**fields), None, ledger.directory, NOW)
    assert (tried.rows, tried.refusal) == (0, None)


def test_balances_are_topped_up_to_an_amount_and_no_further(ledger: Ledger) -> None:
    ledger_id, (pool, full, above, some, empty, below, euros) = create_ledger(ledger, *["USD"] * 6, "EUR")
    for name, amount in ((full, 100), (above, 101), (some, 40)):
        ledger.post(destination=name, precise_amount=amount)
    ledger.post(source=below, precise_amount=7)
    ledger.post(destination=empty, precise_amount=30, inflight=True)
    ledger.post(source=full, precise_amount=50, inflight=True)
    ledger.drain()
    rule = FundingRule(ledger_id=ledger_id, top_up_to=Decimal(1))
    job = create_job(ledger, source=pool, rule=rule)
    advance_all(ledger)
    assert paid_pairs(ledger, job) == [(some, 60), (empty, 70), (below, 107)]
    assert euros not in dict(paid_pairs(ledger, job))


@pytest.mark.parametrize("inflight", [True, False])
def test_two_runs_at_once_do_not_top_up_twice(ledger: Ledger, inflight: bool) -> None:
    ledger_id, names = create_ledger(ledger, *["USD"] * 3)
    rule = FundingRule(ledger_id=ledger_id, precise_top_up_to=10)
    job = create_job(ledger, rule=rule, cron=HOURLY, missed="all", inflight=inflight)
    other = create_job(ledger, rule=rule, at=LATER)
    ledger.post(destination=names[1], precise_amount=4)  # Still in line when the run comes due.
    advance_all(ledger, NOW + timedelta(hours=4))
    advance_all(ledger, LATER)
    assert paid_pairs(ledger, job) == [(names[0], 10), (names[1], 6), (names[2], 10)]
    assert [run.row_count for run in read_runs(ledger, job)][:4] == [3, 0, 0, 0]
    assert paid_pairs(ledger, other) == []


@pytest.mark.parametrize("how", ["taking turns", "paused", "undecided"])
def test_what_another_job_has_yet_to_post_is_not_topped_up_once_more(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    set_piece(monkeypatch, 1)
    ledger_id, names = create_ledger(ledger, *["USD"] * 3)
    rule = FundingRule(ledger_id=ledger_id, precise_top_up_to=10)
    first = create_job(ledger, rule=rule)
    if how == "paused":
        take_steps(ledger, 3)
        funding_jobs.pause(ledger.engine, first.job_id)
    second = create_job(ledger, rule=rule)
    if how == "undecided":  # Somebody posts a piece after all was settled, and has not decided it yet.
        run, progress = read_run(ledger, second), Progress()
        progress.settled.add(run.id)
        take_steps(ledger, 2)
        with begin(ledger.engine) as conn:
            run_store.touch_run(conn, run.id, LATER)
        with monkeypatch.context() as patched:
            patched.setattr(drain, "drain_until", lambda *arguments, **named: set())
            take_steps(ledger, 1)
        with begin(ledger.engine) as conn:
            run_store.touch_run(conn, run.id, NOW - timedelta(hours=1))
        assert all(runs.step(ledger.engine, NOW, progress) for _ in range(2))
        assert (read_run(ledger, first).posted, read_run(ledger, second).row_count) == (2, 0)
    advance_all(ledger)
    if how == "paused":
        assert (run_statuses(ledger, second), paid_pairs(ledger, second)) == (["COMPLETED"], [])
        funding_jobs.resume(ledger.engine, first.job_id, NOW)
        advance_all(ledger)
    assert sorted(paid_pairs(ledger, first) + paid_pairs(ledger, second)) == sorted((name, 10) for name in names)


@pytest.mark.parametrize("then", ["go on", "cancel"])
def test_what_runs_have_posted_and_nobody_has_decided_is_found(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    set_piece(monkeypatch, 2)
    job = create_job(ledger, *many_rows(5, 10))
    take_steps(ledger, 2)
    with monkeypatch.context() as patched:
        patched.setattr(drain, "drain_until", lambda *arguments, **named: set())
        take_steps(ledger, 1)
    if then == "cancel":
        funding_jobs.cancel(ledger.engine, job.job_id, NOW)
    ledger.post(precise_amount=4)
    with begin(ledger.engine) as conn:
        found = posting_store.undecided(conn)
        all_of_them = "SELECT queue, seq FROM log WHERE parent LIKE 'run%' AND seq NOT IN (SELECT seq FROM outcomes)"
        assert found == dict(conn.execute(text(f"{all_of_them} ORDER BY seq")).all()) != {}  # type: ignore[arg-type]
    ledger.drain()
    with begin(ledger.engine) as conn:
        assert posting_store.undecided(conn) == {}


def test_a_retry_tops_up_no_more_than_is_missing_by_then(ledger: Ledger) -> None:
    ledger_id, names = create_ledger(ledger, *["USD"] * 4)
    give(ledger, Pool=40)
    job = create_job(
        ledger, rule=FundingRule(ledger_id=ledger_id, precise_top_up_to=10), allow_overdraft=False, cron=HOURLY
    )
    funding_jobs.run_now(ledger.engine, job.job_id, None, NOW)
    first = run_short_of_money(ledger, job, leaving=10)
    give(ledger, Pool=100)
    for name, amount in ((names[1], 3), (names[2], 10)):
        ledger.post(destination=name, precise_amount=amount)
    retry, _ = tries.retry(ledger.engine, job.job_id, first.run_id, NOW)
    advance_all(ledger)
    assert [(row.destination, row.amount) for row in posted_by_run(ledger, retry)] == [(names[1], 7), (names[3], 10)]
    assert read_runs(ledger, job)[1].row_count == 2


@pytest.mark.parametrize("until_limit", [False, True])
def test_what_another_job_has_yet_to_post_is_not_promised_twice(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, until_limit: bool
) -> None:
    set_piece(monkeypatch, 2)
    give(ledger, Pool=75)
    first = create_job(ledger, *many_rows(9, 10), allow_overdraft=False, until_limit=True)
    second = create_job(ledger, *many_rows(2, 3), allow_overdraft=False, until_limit=until_limit)
    advance_all(ledger)
    assert [row.status for row in posted_by_job(ledger, first)] == [APPLIED] * 7
    assert [row.status for row in posted_by_job(ledger, second)] == ([APPLIED] if until_limit else [])
    refusal = read_run(ledger, second).refusal
    assert until_limit or "can pay 0.05 beside the 0.50 that other runs have yet to post" in (refusal or "")
