"""Each row is posted once, whatever dies, and however many advance at once.

To search longer:

    PACIOLI_EXAMPLES=1000 pytest --long tests/integration/funding/test_crashes.py -k any
"""

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from decimal import Decimal
from functools import partial
from random import Random
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from core.base import fence
from core.base.db import begin
from core.base.errors import Conflict, TransientError
from core.funding import job_store, runs, tries
from core.funding import jobs as funding_jobs
from core.funding.progress import Progress
from core.funding.requests import FundingRule
from core.ledger import drain
from core.ledger.rules.model import RejectReason
from core.lists.requests import FilterClause
from tests.harness.factories import Ledger
from tests.harness.funding import (
    HOURLY,
    NOW,
    SOON,
    advance_all,
    balance_of,
    create_job,
    give,
    many_rows,
    paid_pairs,
    posted_by_job,
    read_counts,
    read_job,
    read_runs,
    run_statuses,
    set_piece,
)

pytestmark = pytest.mark.usefixtures("sound")

EXAMPLES = int(os.environ.get("PACIOLI_EXAMPLES", "25"))


class Died(BaseException):
    """The process was killed. Nothing catches this."""


@contextmanager
def _dying(monkeypatch: pytest.MonkeyPatch, commit: int, *, before: bool) -> Iterator[None]:
    """Die right before or after this commit of a run, or of the decisions between its pieces."""
    numbers = itertools.count()

    @contextmanager
    def begin_and_die(engine: Engine, *, within_s: float | None = None) -> Iterator[Connection]:
        number = next(numbers)
        with begin(engine) as conn:
            yield conn
            if before and number == commit:
                raise Died
        if number == commit:
            raise Died

    with monkeypatch.context() as patched:
        patched.setattr(runs, "begin", begin_and_die)
        patched.setattr(fence, "begin", begin_and_die)
        yield


@pytest.mark.parametrize("before", [True, False], ids=["before the commit", "after the commit"])
@pytest.mark.parametrize("fields", [{}, {"overdraft_limit": Decimal(1)}, {"atomic": True}], ids=str)
def test_each_row_is_posted_once_whenever_the_process_dies(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, before: bool, fields: dict[str, Any]
) -> None:
    set_piece(monkeypatch, 3)
    deaths = 0
    for commit in itertools.count():
        ledger.post(source="@Pool")  # Something to be decided before the run starts.
        job = create_job(ledger, *many_rows(8), at=SOON, **fields)
        try:
            with _dying(monkeypatch, commit, before=before):
                advance_all(ledger, SOON)
            died = False
        except Died:
            died = True
        deaths += died
        advance_all(ledger, SOON)
        assert paid_pairs(ledger, job) == many_rows(8)
        prefix = f"{job.job_id}_2030-01-01T13:00:00Z"
        assert [row.reference for row in posted_by_job(ledger, job)] == [f"{prefix}_{row}" for row in range(1, 9)]
        assert run_statuses(ledger, job) == ["COMPLETED"]
        ledger.post(source="@World", destination="@Pool", precise_amount=9)
        ledger.drain()
        assert balance_of(ledger, "@Pool") == 0
        if not died:
            break
    assert deaths >= 7


def test_two_who_advance_at_once_and_two_more_post_each_row_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, threads: ThreadPoolExecutor
) -> None:
    set_piece(monkeypatch, 7)
    jobs = [create_job(ledger, *many_rows(40), at=SOON) for _ in range(3)]
    jobs.append(create_job(ledger, *many_rows(40), at=SOON, overdraft_limit=Decimal(10), source="@Other"))
    together = threading.Barrier(4)

    def advance_until_all_is_done() -> int:
        together.wait()
        claimed = 0
        while any(read_job(ledger, job).next_due or read_job(ledger, job).unfinished for job in jobs):
            claimed += runs.advance(ledger.engine, now=SOON, for_s=0.01).claimed
        return claimed

    claimed = [future.result() for future in [threads.submit(advance_until_all_is_done) for _ in range(4)]]
    assert sum(claimed) == 4
    for job in jobs:
        assert paid_pairs(ledger, job) == many_rows(40)
        assert run_statuses(ledger, job) == ["COMPLETED"]
    assert (balance_of(ledger, "@Pool"), balance_of(ledger, "@Other"), balance_of(ledger, "@W39")) == (-120, -40, 4)


@pytest.mark.parametrize("seed", range(max(1, EXAMPLES // 25)))
def test_any_changes_of_jobs_while_runs_go_on_and_transactions_are_lost_leave_each_row_posted_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, threads: ThreadPoolExecutor, seed: int
) -> None:
    set_piece(monkeypatch, 5)
    give(ledger, Pool=300)
    jobs = [create_job(ledger, *many_rows(23), cron=HOURLY, missed="all", count=3) for _ in range(2)]
    jobs.append(create_job(ledger, *many_rows(23), allow_overdraft=False, until_limit=True))
    jobs.append(
        create_job(ledger, rule=FundingRule(filters=[FilterClause("indicator", "like", "@W%")], precise_top_up_to=9))
    )
    stop = threading.Event()

    def attempt(do: Callable[[], Any]) -> None:
        with suppress(TransientError, Conflict):
            do()

    def advance() -> None:
        while not stop.is_set():
            attempt(lambda: runs.advance(ledger.engine, now=NOW + timedelta(hours=4), for_s=0.02))

    def change() -> None:
        dice = Random(seed)
        for number in range(60):
            job = dice.choice(jobs)
            match dice.randrange(7):
                case 0 | 1:
                    attempt(partial(funding_jobs.pause, ledger.engine, job.job_id))
                case 2 | 3:
                    attempt(partial(funding_jobs.resume, ledger.engine, job.job_id, NOW))
                case 4:
                    attempt(partial(funding_jobs.run_now, ledger.engine, job.job_id, f"r{number}", NOW))
                case 5 if number > 40:
                    attempt(partial(funding_jobs.cancel, ledger.engine, job.job_id, NOW))
                case _:
                    attempt(lambda: _cancel_a_statement(ledger.engine, dice))

    advancing = [threads.submit(advance) for _ in range(2)]
    try:
        change()
    finally:
        stop.set()
    for future in advancing:
        future.result()
    for job in jobs:
        attempt(partial(funding_jobs.resume, ledger.engine, job.job_id, NOW))
    advance_all(ledger, NOW + timedelta(hours=4))
    assert {status for job in jobs for status in run_statuses(ledger, job)} <= {"COMPLETED", "CANCELLED"}
    for job in jobs:
        for run in read_runs(ledger, job):
            if run.status == "COMPLETED" and (rejected := read_counts(ledger, job, run).rejected):
                assert set(rejected) == {RejectReason.INSUFFICIENT_FUNDS}
                attempt(partial(tries.retry, ledger.engine, job.job_id, run.run_id, NOW))
    advance_all(ledger, NOW + timedelta(hours=4))


def _cancel_a_statement(engine: Engine, dice: Random) -> None:
    """Another's transaction claims the run and is then lost."""
    sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start < now()"
    with begin(engine) as conn:
        if pids := conn.execute(text(sql)).scalars().all():
            conn.execute(text("SELECT pg_cancel_backend(:pid)"), {"pid": dice.choice(pids)})


def test_two_who_claim_at_once_make_one_run_of_an_occurrence(ledger: Ledger, threads: ThreadPoolExecutor) -> None:
    jobs = [create_job(ledger, ("@A", 1), at=SOON) for _ in range(10)]
    together = threading.Barrier(4)

    def claim_all() -> int:
        together.wait()
        return sum(1 for _ in iter(lambda: runs.claim(ledger.engine, SOON, Progress()), False))

    assert sum(future.result() for future in [threads.submit(claim_all) for _ in range(4)]) == 10
    assert [run_statuses(ledger, job) for job in jobs] == [["PENDING"]] * 10
    assert {read_job(ledger, job).runs_made for job in jobs} == {1}


def test_a_job_that_somebody_has_locked_does_not_keep_the_others_waiting(ledger: Ledger) -> None:
    first, second = (create_job(ledger, ("@A", 1), at=SOON) for _ in range(2))
    with begin(ledger.engine) as conn:
        job_store.find_job(conn, first.job_id, lock=True)
        assert advance_all(ledger, SOON).claimed == 1
        assert (run_statuses(ledger, first), run_statuses(ledger, second)) == ([], ["COMPLETED"])
    advance_all(ledger, SOON)
    assert run_statuses(ledger, first) == ["COMPLETED"]


def test_a_run_starts_though_what_came_before_it_takes_a_whole_turn_to_decide(ledger: Ledger) -> None:
    job = create_job(ledger, ("@A", 1), overdraft_limit=Decimal(10))
    for _ in range(20):
        ledger.post(source="@Pool")
        runs.advance(ledger.engine, now=NOW, for_s=0)
    assert run_statuses(ledger, job) == ["COMPLETED"]


def rows_posted_by_four_calls(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, stand_still: Callable[..., Any]) -> int:
    """Advance the runs four times with a drain that fails, and count the rows of the log."""
    with monkeypatch.context() as patch:
        patch.setattr(drain, "drain_until", stand_still)
        for _ in range(4):
            with pytest.raises(ZeroDivisionError):
                runs.advance(ledger.engine, now=SOON)
    with begin(ledger.engine) as conn:
        return int(conn.execute(text("SELECT count(*) FROM log")).scalar_one())


def test_a_run_whose_queue_stands_still_posts_no_more_than_one_piece(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_piece(monkeypatch, 3)
    job = create_job(ledger, *many_rows(8), at=SOON)

    def stand_still(*args: Any, **fields: Any) -> Any:
        raise ZeroDivisionError

    assert rows_posted_by_four_calls(ledger, monkeypatch, stand_still) == 3
    advance_all(ledger, SOON)
    assert run_statuses(ledger, job) == ["COMPLETED"]


def test_a_run_whose_queue_comes_to_stand_still_posts_one_piece_more(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_piece(monkeypatch, 3)
    job = create_job(ledger, *many_rows(30), at=SOON)
    decide = drain.drain_until

    def stand_still(engine: Engine, queue: int, seq: int, **fields: Any) -> set[int]:
        if seq > 3:
            raise ZeroDivisionError
        return decide(engine, queue, seq, **fields)

    assert rows_posted_by_four_calls(ledger, monkeypatch, stand_still) == 9
    advance_all(ledger, SOON)
    assert run_statuses(ledger, job) == ["COMPLETED"]
    assert paid_pairs(ledger, job) == many_rows(30)
