"""A job says what its next run will leave, and a run says how far it is."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from core.base.db import reading
from core.funding import forecast as funding_forecast
from core.funding import job_store, runs
from core.funding import jobs as funding_jobs
from core.funding.progress import Progress
from core.funding.requests import FundingRule, Recipient
from tests.harness.factories import Ledger
from tests.harness.funding import (
    HOURLY,
    LATER,
    NOW,
    SOON,
    advance_all,
    balance_of,
    create_job,
    create_ledger,
    give,
    many_rows,
    read_counts,
    read_run,
    set_piece,
)

pytestmark = pytest.mark.usefixtures("sound")


@pytest.mark.parametrize(
    ("fields", "after", "runs_left"),
    [
        ({}, 70, None),
        ({"allow_overdraft": False}, 70, 3),
        ({"overdraft_limit": Decimal("0.25")}, 70, 4),
        ({"inflight": True}, 100, None),
        ({"allow_overdraft": False, "recipients": [Recipient(destination="@A", precise_amount=101)]}, 100, 0),
    ],
)
def test_the_forecast_is_the_pool_after_the_next_run_and_how_many_it_carries(
    ledger: Ledger, fields: dict[str, Any], after: int, runs_left: int | None
) -> None:
    give(ledger, Pool=100)
    job = create_job(ledger, *many_rows(3, 10), **{"at": SOON, **fields})
    with reading(ledger.engine) as conn:
        forecast = funding_forecast.forecast(conn, job)
    assert (forecast.balance, forecast.balance_after, forecast.runs_left) == (100, after, runs_left)
    advance_all(ledger, SOON)
    assert balance_of(ledger, "@Pool") == after


@pytest.mark.parametrize("by_rule", [True, False])
@pytest.mark.parametrize(("has", "after"), [(0, 0), (9, 9), (10, 0), (25, 5), (100, 70)])
def test_the_forecast_of_a_run_that_goes_as_far_as_the_money_is_what_it_leaves(
    ledger: Ledger, by_rule: bool, has: int, after: int
) -> None:
    if has:
        give(ledger, Pool=has)
    fields: dict[str, Any] = {"at": SOON, "allow_overdraft": False, "until_limit": True}
    if by_rule:
        ledger_id, _ = create_ledger(ledger, *["USD"] * 3)
        job = create_job(ledger, rule=FundingRule(ledger_id=ledger_id, precise_top_up_to=10), **fields)
    else:
        job = create_job(ledger, *many_rows(3, 10), **fields)
    with reading(ledger.engine) as conn:
        assert funding_forecast.forecast(conn, job).balance_after == after
    advance_all(ledger, SOON)
    assert balance_of(ledger, "@Pool") == after


def test_the_forecast_of_a_rule_is_by_the_balances_as_they_are(ledger: Ledger) -> None:
    ledger_id, names = create_ledger(ledger, *["USD"] * 3)
    job = create_job(ledger, rule=FundingRule(ledger_id=ledger_id, precise_top_up_to=10), cron=HOURLY)
    ledger.post(destination=names[0], precise_amount=4)
    ledger.drain()
    with reading(ledger.engine) as conn:
        assert funding_forecast.forecast(conn, job)[:4] == (3, 26, 0, -26)


def test_the_counts_of_a_run_say_how_far_it_is_and_how_long_the_rest_takes(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_piece(monkeypatch, 5)
    job = create_job(ledger, *many_rows(20, 3))
    assert read_counts(ledger, job, read_run(ledger, job)) == (None, 0, 0, {}, 0, 0, 0.0, None)
    progress = Progress()
    assert runs.step(ledger.engine, NOW, progress)
    assert runs.step(ledger.engine, NOW + timedelta(seconds=1), progress)
    counts = read_counts(ledger, job, read_run(ledger, job), NOW + timedelta(seconds=2))
    assert counts == (20, 5, 5, {}, 0, 15, 2.5, 6.0)
    assert counts.unposted == 15
    paused = funding_jobs.pause(ledger.engine, job.job_id)
    assert read_counts(ledger, paused, read_run(ledger, job), LATER)[-2:] == (5.0, None)
    funding_jobs.resume(ledger.engine, job.job_id, NOW)
    advance_all(ledger, NOW + timedelta(seconds=4))
    assert read_counts(ledger, job, read_run(ledger, job), LATER) == (20, 20, 20, {}, 0, 60, 5.0, None)


def test_what_waits_for_a_job_that_pays_from_a_pool_is_listed_in_the_order_in_which_it_comes(ledger: Ledger) -> None:
    later = create_job(ledger, ("@A", 1), at=LATER)
    soon = create_job(ledger, ("@A", 1), cron=HOURLY)
    create_job(ledger, ("@A", 1), at=SOON, source="@Other")
    for stop in (funding_jobs.pause, lambda engine, id: funding_jobs.cancel(engine, id, NOW)):
        stop(ledger.engine, create_job(ledger, ("@A", 1), at=SOON).job_id)
    with reading(ledger.engine) as conn:
        found = job_store.active_jobs_of(conn, soon.source, 9)
        assert [job.id for job in found] == [soon.id, later.id]
        assert [job.id for job in job_store.list_jobs(conn, limit=2, after=None, status="ACTIVE")][1] == soon.id
