"""A job runs when it is due, until it is paused, cancelled or at its end."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from core.base.db import begin
from core.base.errors import Conflict
from core.funding import forecast, job_store, run_store, runs
from core.funding import jobs as funding_jobs
from core.funding import missed as missed_runs
from core.funding import views as funding_views
from core.funding.job_store import JobRow
from core.funding.missed import Due
from core.funding.progress import Progress
from core.funding.schedule import Schedule
from tests.harness.factories import Ledger, start_until_blocked
from tests.harness.funding import (
    HOURLY,
    LATER,
    NOW,
    SOON,
    advance_all,
    balance_of,
    create_job,
    many_rows,
    paid_pairs,
    posted_by_job,
    read_counts,
    read_job,
    read_run,
    read_runs,
    run_statuses,
    set_piece,
    take_steps,
)

pytestmark = pytest.mark.usefixtures("sound")


def test_a_job_waits_for_its_time_and_is_then_claimed_once(ledger: Ledger) -> None:
    job = create_job(ledger, ("@A", 1), at=SOON)
    assert advance_all(ledger, SOON - timedelta(seconds=1)).claimed == 0
    assert advance_all(ledger, SOON).claimed == 1
    assert advance_all(ledger, LATER).claimed == 0
    job = read_job(ledger, job)
    assert (job.next_due, job.runs_made, funding_views.job_status(job), read_run(ledger, job).due_at) == (
        None,
        1,
        "FINISHED",
        SOON,
    )


@pytest.mark.parametrize(("missed", "hours", "skipped"), [("skip", [3], 2), ("once", [3], 2), ("all", [1, 2, 3], 0)])
def test_after_a_downtime_a_job_runs_as_it_was_told(
    ledger: Ledger, missed: str, hours: list[int], skipped: int
) -> None:
    job = create_job(ledger, ("@A", 1), cron=HOURLY, missed=missed)
    now = NOW + timedelta(hours=3, seconds=30)
    advance_all(ledger, now)
    assert [run.due_at for run in read_runs(ledger, job)] == [NOW + timedelta(hours=hour) for hour in hours]
    assert run_statuses(ledger, job) == ["COMPLETED"] * len(hours)
    job = read_job(ledger, job)
    assert (job.runs_made, job.skipped, job.next_due) == (len(hours), skipped, NOW + timedelta(hours=4))
    assert len({row.reference for row in posted_by_job(ledger, job)}) == len(hours)


def test_what_is_too_late_is_skipped_where_that_is_wanted(ledger: Ledger) -> None:
    job = create_job(ledger, ("@A", 1), cron=HOURLY, missed="skip")
    advance_all(ledger, NOW + timedelta(hours=3, minutes=5))
    assert read_runs(ledger, job) == []
    assert (read_job(ledger, job).skipped, read_job(ledger, job).next_due) == (3, NOW + timedelta(hours=4))


def test_a_job_ends_after_its_count(ledger: Ledger) -> None:
    job = create_job(ledger, ("@A", 1), cron=HOURLY, count=3, missed="all")
    for hours in (2, 9, 20):
        advance_all(ledger, NOW + timedelta(hours=hours))
    job = read_job(ledger, job)
    assert [run.due_at.hour for run in read_runs(ledger, job)] == [13, 14, 15]
    assert (job.next_due, funding_views.job_status(job), forecast.next_occurrences(job)) == (None, "FINISHED", [])
    assert balance_of(ledger, "@A") == 3


def test_a_job_ends_with_its_last_day_and_that_moment_counts(ledger: Ledger) -> None:
    job = create_job(ledger, ("@A", 1), cron=HOURLY, ends_at=NOW + timedelta(hours=2), missed="all")
    assert forecast.next_occurrences(job) == [NOW + timedelta(hours=1), NOW + timedelta(hours=2)]
    advance_all(ledger, LATER)
    assert [run.due_at.hour for run in read_runs(ledger, job)] == [13, 14]
    assert funding_views.job_status(read_job(ledger, job)) == "FINISHED"


def test_the_next_occurrences_are_those_that_come_and_no_more_than_the_count(ledger: Ledger) -> None:
    job = create_job(ledger, ("@A", 1), cron=HOURLY)
    assert forecast.next_occurrences(job) == [NOW + timedelta(hours=hour) for hour in range(1, 11)]
    job = create_job(ledger, ("@A", 1), cron=HOURLY, count=3)
    advance_all(ledger, SOON)
    assert forecast.next_occurrences(read_job(ledger, job)) == [NOW + timedelta(hours=hour) for hour in (2, 3)]


def test_a_paused_job_claims_and_posts_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    set_piece(monkeypatch, 2)
    waiting = create_job(ledger, ("@A", 1), at=SOON)
    running = create_job(ledger, *many_rows(5))
    take_steps(ledger, 2)
    for job in (waiting, running):
        funding_jobs.pause(ledger.engine, job.job_id)
        assert funding_jobs.pause(ledger.engine, job.job_id).status == "PAUSED"
    progress = advance_all(ledger, LATER)
    assert (progress.claimed, progress.posted) == (0, 0)
    assert (len(read_runs(ledger, waiting)), paid_pairs(ledger, running)) == (0, many_rows(2))
    assert funding_views.run_status(read_job(ledger, running), read_run(ledger, running)) == "PAUSED"
    for job in (waiting, running):
        assert funding_jobs.resume(ledger.engine, job.job_id, LATER).status == "ACTIVE"
    advance_all(ledger, LATER)
    assert (len(posted_by_job(ledger, waiting)), paid_pairs(ledger, running)) == (1, many_rows(5))


def test_what_came_while_a_job_was_paused_is_skipped(ledger: Ledger) -> None:
    job = create_job(ledger, ("@A", 1), cron=HOURLY, missed="all", count=2)
    funding_jobs.pause(ledger.engine, job.job_id)
    resumed = funding_jobs.resume(ledger.engine, job.job_id, NOW + timedelta(hours=3, minutes=1))
    assert (resumed.next_due, resumed.skipped, resumed.runs_made) == (NOW + timedelta(hours=4), 3, 0)
    again = funding_jobs.resume(ledger.engine, job.job_id, NOW + timedelta(hours=6))  # It is not paused.
    assert (again.next_due, again.skipped) == (NOW + timedelta(hours=4), 3)
    advance_all(ledger, NOW + timedelta(hours=6))
    assert [run.due_at.hour for run in read_runs(ledger, job)] == [16, 17]


def test_a_single_time_that_came_while_its_job_was_paused_still_comes(ledger: Ledger) -> None:
    job = create_job(ledger, ("@A", 1), at=SOON)
    funding_jobs.pause(ledger.engine, job.job_id)
    assert funding_jobs.resume(ledger.engine, job.job_id, LATER).next_due == SOON
    advance_all(ledger, LATER)
    assert run_statuses(ledger, job) == ["COMPLETED"]


def test_what_is_not_posted_of_a_cancelled_job_stays_unposted(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    set_piece(monkeypatch, 2)
    job = create_job(ledger, *many_rows(5))
    take_steps(ledger, 2)
    assert funding_jobs.cancel(ledger.engine, job.job_id, NOW).status == "CANCELLED"
    assert funding_jobs.cancel(ledger.engine, job.job_id, LATER).status == "CANCELLED"
    advance_all(ledger, LATER)
    run = read_run(ledger, job)
    assert (run.status, run.ended_at, run.posted, paid_pairs(ledger, job)) == ("CANCELLED", NOW, 2, many_rows(2))
    assert read_counts(ledger, job, run).unposted == 3
    for change in (funding_jobs.pause, lambda engine, id: funding_jobs.resume(engine, id, NOW)):
        with pytest.raises(Conflict):
            change(ledger.engine, job.job_id)
    with pytest.raises(Conflict):
        funding_jobs.run_now(ledger.engine, job.job_id, None, NOW)


def test_a_job_that_is_cancelled_before_its_time_never_comes(ledger: Ledger) -> None:
    job = create_job(ledger, ("@A", 1), cron=HOURLY)
    assert funding_jobs.cancel(ledger.engine, job.job_id, NOW).next_due is None
    assert advance_all(ledger, LATER).claimed == 0
    assert read_runs(ledger, job) == []


@pytest.mark.parametrize("change", ["cancel", "pause"])
def test_a_job_is_not_stopped_in_the_middle_of_a_piece_and_nothing_is_posted_after_the_answer(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, threads: ThreadPoolExecutor, change: str
) -> None:
    set_piece(monkeypatch, 2)
    job = create_job(ledger, *many_rows(5))
    take_steps(ledger, 1)

    def stop() -> int:
        if change == "cancel":
            funding_jobs.cancel(ledger.engine, job.job_id, NOW)
        else:
            funding_jobs.pause(ledger.engine, job.job_id)
        return read_run(ledger, job).posted

    with begin(ledger.engine) as conn:
        found = run_store.lock_next_run(conn)
        assert found is not None
        runs._advance_run(conn, *found, NOW, Progress())
        stopping = start_until_blocked(ledger.engine, threads, stop)
        assert not stopping.done()
    assert stopping.result() == 2
    advance_all(ledger)
    assert paid_pairs(ledger, job) == many_rows(2)


def test_a_run_that_meets_a_cancellation_in_the_making_posts_nothing(
    ledger: Ledger, threads: ThreadPoolExecutor
) -> None:
    job, other = (create_job(ledger, *many_rows(5)) for _ in range(2))
    with begin(ledger.engine) as conn:
        job_store.find_job(conn, job.job_id, lock=True)
        advancing = start_until_blocked(ledger.engine, threads, lambda: advance_all(ledger))
        assert [run.job for run in advancing.result().ended] == [other.id]
        run_store.cancel_runs(conn, job.id, NOW)
        job_store.update_job(conn, job._replace(status="CANCELLED", next_due=None, runs_made=0, skipped=0))
    assert advance_all(ledger).posted == 0
    assert run_statuses(ledger, job) == ["CANCELLED"]


@pytest.mark.parametrize("rows", [2, 3])
def test_a_run_that_is_posted_whole_is_completed_whatever_becomes_of_its_job(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    set_piece(monkeypatch, 3)
    job = create_job(ledger, *many_rows(rows))
    take_steps(ledger, 2)
    funding_jobs.cancel(ledger.engine, job.job_id, NOW)
    advance_all(ledger)
    assert run_statuses(ledger, job) == ["COMPLETED"]
    job = create_job(ledger, *many_rows(rows))
    take_steps(ledger, 2)
    funding_jobs.pause(ledger.engine, job.job_id)
    advance_all(ledger)
    assert run_statuses(ledger, job) == ["COMPLETED"]


def test_a_job_whose_zone_is_known_no_more_is_paused_and_does_not_stop_the_others(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = create_job(ledger, ("@A", 1), cron=HOURLY, timezone="Europe/Berlin")
    others = [create_job(ledger, ("@B", 1), cron=HOURLY, count=1) for _ in range(3)]
    real = missed_runs.due

    def due_or_lost(schedule_: Schedule, **arguments: Any) -> Due:
        if schedule_.zone != "UTC":
            raise LookupError("No time zone found with key Europe/Berlin")
        return real(schedule_, **arguments)

    monkeypatch.setattr(missed_runs, "due", due_or_lost)
    with pytest.raises(LookupError, match="Europe/Berlin"):
        advance_all(ledger, SOON)
    assert [run_statuses(ledger, job) for job in others] == [["COMPLETED"]] * 3
    assert (read_job(ledger, lost).status, read_job(ledger, lost).next_due) == ("PAUSED", SOON)
    advance_all(ledger, SOON)  # It is not found again.
    monkeypatch.undo()
    funding_jobs.resume(ledger.engine, lost.job_id, SOON - timedelta(seconds=1))
    advance_all(ledger, SOON)
    assert run_statuses(ledger, lost) == ["COMPLETED"]


def test_a_run_that_fails_does_not_stop_the_others_and_is_told(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    set_piece(monkeypatch, 2)
    bad = create_job(ledger, *many_rows(9))
    others = [create_job(ledger, *many_rows(9)) for _ in range(2)]
    real = runs.post_piece

    def post_or_fail(conn: Connection, job: JobRow, *rest: Any) -> Any:
        if job.id == bad.id:
            raise ZeroDivisionError
        return real(conn, job, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(runs, "post_piece", post_or_fail)
        with pytest.raises(ZeroDivisionError):
            advance_all(ledger)
    assert [run_statuses(ledger, job) for job in (bad, *others)] == [["POSTING"], ["COMPLETED"], ["COMPLETED"]]
    advance_all(ledger)
    assert paid_pairs(ledger, bad) == many_rows(9)
