"""The rejected rows of a run are posted again under new references, and a job runs once more on demand."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from core.base.db import reading
from core.base.errors import Conflict, InvalidRequest, NotFound
from core.funding import jobs as funding_jobs
from core.funding import posting_store, runs, tries
from core.funding.progress import Progress
from core.ledger import drain
from tests.harness.factories import Ledger
from tests.harness.funding import (
    APPLIED,
    HOURLY,
    LATER,
    NOW,
    REJECTED,
    SOON,
    advance_all,
    balance_of,
    create_job,
    give,
    many_rows,
    posted_by_run,
    read_job,
    read_run,
    read_runs,
    run_short_of_money,
    run_statuses,
    set_piece,
    take_steps,
)

pytestmark = pytest.mark.usefixtures("sound")


def test_only_rejected_rows_are_retried_once_under_new_references_linked_to_the_first(
    ledger: Ledger, threads: ThreadPoolExecutor
) -> None:
    give(ledger, Pool=50)
    job = create_job(ledger, *many_rows(5, 10), allow_overdraft=False)
    first = run_short_of_money(ledger, job, leaving=20)
    give(ledger, Pool=30)
    asked = [threads.submit(tries.retry, ledger.engine, job.job_id, first.run_id, SOON) for _ in range(4)]
    answers = [future.result() for future in asked]
    assert sorted(replayed for _, replayed in answers) == [False, True, True, True]
    second = run_short_of_money(ledger, job, leaving=10, now=SOON)
    assert {run.id for run, _ in answers} == {second.id}
    assert [row.status for row in posted_by_run(ledger, second)] == [APPLIED, REJECTED, REJECTED]
    assert [row.reference for row in posted_by_run(ledger, second)] == [
        f"{job.job_id}_retry_{first.run_id}_{row}" for row in (3, 4, 5)
    ]
    give(ledger, Pool=20)
    third, _ = tries.retry(ledger.engine, job.job_id, second.run_id, LATER)
    advance_all(ledger, LATER)
    assert [(row.destination, row.status) for row in posted_by_run(ledger, third)] == [
        ("@W3", APPLIED),
        ("@W4", APPLIED),
    ]
    with pytest.raises(Conflict, match="nothing to retry"):
        tries.retry(ledger.engine, job.job_id, third.run_id, LATER)
    with reading(ledger.engine) as conn:
        for run, before in ((second, first), (third, second)):
            seqs = {
                each.row: each.seq for each in posting_store.row_states(conn, before, limit=9, after=0, status=None)
            }
            states = posting_store.row_states(
                conn,
                read_runs(ledger, job)[[first, second, third].index(run)]
                if run is not third
                else read_runs(ledger, job)[2],
                limit=9,
                after=0,
                status=None,
            )
            assert [each.first_seq for each in states] == [seqs[each.row] for each in states]
    assert [balance_of(ledger, f"@W{number}") for number in range(5)] == [10] * 5


@pytest.mark.parametrize("until_limit", [False, True])
def test_what_a_retry_could_not_post_for_want_of_money_is_retried_by_the_next(
    ledger: Ledger, until_limit: bool
) -> None:
    give(ledger, Pool=50)
    job = create_job(ledger, *many_rows(5, 10), allow_overdraft=False, until_limit=until_limit)
    first = run_short_of_money(ledger, job, leaving=20)
    give(ledger, Pool=15)
    second, _ = tries.retry(ledger.engine, job.job_id, first.run_id, NOW)
    advance_all(ledger)
    assert len(posted_by_run(ledger, second)) == (1 if until_limit else 0)
    give(ledger, Pool=15)
    third, _ = tries.retry(ledger.engine, job.job_id, second.run_id, SOON)
    advance_all(ledger, SOON)
    assert [row.status for row in posted_by_run(ledger, third)] == [APPLIED] * (2 if until_limit else 3)
    assert [balance_of(ledger, f"@W{number}") for number in range(5)] == [10] * 5
    with pytest.raises(Conflict, match="nothing to retry"):
        tries.retry(ledger.engine, job.job_id, third.run_id, LATER)


def test_a_run_is_retried_only_when_all_of_it_is_decided(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    give(ledger, Pool=50)
    job = create_job(ledger, *many_rows(5, 10), allow_overdraft=False)

    def refused() -> None:
        with pytest.raises(Conflict, match="not decided"):
            tries.retry(ledger.engine, job.job_id, read_run(ledger, job).run_id, NOW)

    refused()
    take_steps(ledger, 1)
    refused()
    ledger.post(source="@Pool", destination="@World", precise_amount=50)
    with monkeypatch.context() as patched:
        patched.setattr(drain, "drain_until", lambda *arguments, **named: set())
        take_steps(ledger, 1)
    refused()
    advance_all(ledger)
    run, _ = tries.retry(ledger.engine, job.job_id, read_run(ledger, job).run_id, NOW)
    assert (run.status, run.retry_of) == ("PENDING", read_runs(ledger, job)[0].id)
    with pytest.raises(NotFound):
        tries.retry(ledger.engine, create_job(ledger, ("@A", 1)).job_id, run.run_id, NOW)


def test_the_states_of_rows_are_paged_and_narrowed(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    set_piece(monkeypatch, 4)
    give(ledger, Pool=60)
    job = create_job(ledger, *many_rows(6, 10), allow_overdraft=False)
    progress = Progress()
    assert runs.step(ledger.engine, NOW, progress)
    ledger.post(source="@Pool", destination="@World", precise_amount=40)
    assert runs.step(ledger.engine, NOW, progress)
    run = read_run(ledger, job)
    with monkeypatch.context() as patched, reading(ledger.engine) as conn:

        def rows(status: str | None, after: int = 0, limit: int = 9) -> list[int]:
            return [each.row for each in posting_store.row_states(conn, run, limit=limit, after=after, status=status)]

        assert (rows(None), rows(None, 2, 3)) == ([1, 2, 3, 4, 5, 6], [3, 4, 5])
        assert (rows("APPLIED"), rows("REJECTED"), rows("UNPOSTED"), rows("QUEUED")) == ([1, 2], [3, 4], [5, 6], [])
        patched.setattr(drain, "drain_until", lambda *arguments, **named: set())
        assert runs.step(ledger.engine, NOW, progress)
        assert (rows("UNPOSTED"), rows("QUEUED")) == ([], [5, 6])


def test_a_job_is_run_once_more_beside_its_schedule_and_once_for_each_reference(
    ledger: Ledger, threads: ThreadPoolExecutor
) -> None:
    job = create_job(ledger, ("@A", 1), cron=HOURLY, count=1)
    asked = [threads.submit(funding_jobs.run_now, ledger.engine, job.job_id, "mine", NOW) for _ in range(4)]
    answers = [future.result() for future in asked]
    assert sorted(replayed for _, replayed in answers) == [False, True, True, True]
    assert len({run.id for run, _ in answers}) == 1
    assert not funding_jobs.run_now(ledger.engine, job.job_id, None, NOW)[1]
    advance_all(ledger, SOON)
    assert run_statuses(ledger, job) == ["COMPLETED"] * 3
    assert (read_job(ledger, job).runs_made, balance_of(ledger, "@A")) == (1, 3)
    funding_jobs.pause(ledger.engine, job.job_id)
    assert funding_jobs.run_now(ledger.engine, job.job_id, "mine", LATER)[1]
    with pytest.raises(Conflict, match="paused"):
        funding_jobs.run_now(ledger.engine, job.job_id, "other", LATER)
    with pytest.raises(InvalidRequest):
        funding_jobs.run_now(ledger.engine, job.job_id, "a\x00", LATER)
