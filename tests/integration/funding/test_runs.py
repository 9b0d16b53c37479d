"""A run posts each row once, in pieces, and the runs of many jobs take turns."""

import itertools
import math
import time
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any
from unittest.mock import ANY

import psycopg
import pytest
from msgspec import Raw
from sqlalchemy import Engine, text

from core.base.db import begin, reading
from core.funding import create, job_store, posting, posting_store, row_store, runs
from core.funding import jobs as funding_jobs
from core.funding.files.reader import FileReader
from core.funding.progress import Progress
from core.funding.requests import Recipient
from core.ledger import drain, due
from tests.harness.factories import Ledger
from tests.harness.funding import (
    APPLIED,
    HOURLY,
    INFLIGHT,
    LATER,
    NOW,
    SOON,
    advance_all,
    balance_of,
    create_job,
    funding_request,
    many_rows,
    paid_pairs,
    posted_by_job,
    posted_by_run,
    read_counts,
    read_run,
    read_runs,
    run_statuses,
    set_piece,
    take_steps,
)

pytestmark = pytest.mark.usefixtures("sound")


def test_each_row_is_one_transaction_that_names_job_occurrence_and_row(ledger: Ledger) -> None:
    csv = "destination,amount,description\n@A,1.50,\n\n@B,2,lunch\n"
    made = create.create_job(ledger.engine, funding_request(), FileReader(BytesIO(csv.encode())), ledger.directory, NOW)
    job = made.job
    assert made.run is not None and made.run.status == "PENDING"
    advance_all(ledger)
    run = read_run(ledger, job)
    assert posted_by_run(ledger, run) == [
        (f"{job.job_id}_now_2", "@A", 150, APPLIED),
        (f"{job.job_id}_now_4", "@B", 200, APPLIED),
    ]
    assert (run.status, run.row_count, run.amount, run.posted, run.posted_amount) == ("COMPLETED", 2, 350, 2, 350)
    with reading(ledger.engine) as conn:
        texts = conn.execute(text("SELECT description FROM log ORDER BY seq")).scalars().all()
    assert texts == ["wallets", "lunch"]
    assert balance_of(ledger, "@Pool") == -350


def test_metadata_of_a_row_is_that_of_its_transaction(ledger: Ledger) -> None:
    create_job(ledger, recipients=[Recipient(destination="@A", precise_amount=1, meta_data=Raw(b'{"a":\t"\\n\\\\"}'))])
    advance_all(ledger)
    with reading(ledger.engine) as conn:
        assert conn.execute(text("SELECT meta_data FROM log")).scalar_one() == {"a": "\n\\"}


@pytest.mark.parametrize("rows", [1, 4, 5, 6, 10, 11])
def test_a_run_takes_as_many_pieces_as_it_needs(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    set_piece(monkeypatch, 5)
    job = create_job(ledger, *many_rows(rows))
    advance_all(ledger)
    assert paid_pairs(ledger, job) == many_rows(rows)
    assert run_statuses(ledger, job) == ["COMPLETED"]


@pytest.mark.parametrize("atomic", [False, True])
@pytest.mark.parametrize("squatted", [[2], [1, 2, 3], [3, 5]])
@pytest.mark.parametrize("alike", [True, False])
def test_a_row_whose_reference_is_squatted_is_posted_all_the_same_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, atomic: bool, squatted: list[int], alike: bool
) -> None:
    if not atomic:
        set_piece(monkeypatch, 3)
    job = create_job(ledger, *many_rows(5), atomic=atomic)
    for row in squatted:
        name = f"@W{row - 1}"
        reference = f"{job.job_id}_now_{row}"
        ledger.post(
            source="@Pool", destination=name, reference=reference, description="wallets" if alike else "something else"
        )
    advance_all(ledger)
    assert paid_pairs(ledger, job) == many_rows(5)
    assert [row.reference.startswith(job.job_id) for row in posted_by_job(ledger, job)] == [
        row not in squatted for row in range(1, 6)
    ]
    run = read_run(ledger, job)
    assert read_counts(ledger, job, run)[1:4] == (5, 5, {})
    assert balance_of(ledger, "@Pool") == -5 - len(squatted)


def test_a_reference_that_a_scheduled_transaction_has_is_left_to_it(ledger: Ledger) -> None:
    job = create_job(ledger, *many_rows(2))
    at = datetime.now(UTC) + timedelta(hours=1)
    ledger.post(reference=f"{job.job_id}_now_1", scheduled_for=at.isoformat())
    advance_all(ledger)
    assert paid_pairs(ledger, job) == many_rows(2)
    due.accept_due(ledger.engine, at)
    assert ledger.drain() is None
    assert balance_of(ledger, "@A") == 1


def test_the_database_refuses_a_second_posting_of_a_row(ledger: Ledger) -> None:
    job = create_job(ledger, *many_rows(1))
    advance_all(ledger)
    run = read_run(ledger, job)
    row = row_store.FundingRow(1, 1, 1, None, None)
    with pytest.raises(psycopg.errors.UniqueViolation), begin(ledger.engine) as conn:
        posting_store.record_postings(conn, run.id, [(row, 99)], NOW)


# Turns


def test_the_runs_of_a_job_follow_each_other(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    set_piece(monkeypatch, 2)
    job = create_job(ledger, *many_rows(5), cron=HOURLY, missed="all")
    assert runs.claim(ledger.engine, NOW + timedelta(hours=3), Progress())
    funding_jobs.run_now(ledger.engine, job.job_id, None, NOW + timedelta(hours=3, minutes=1))
    open_ = ("PENDING", "COMPLETED")
    progress = Progress()
    while runs.step(ledger.engine, LATER, progress):
        statuses = run_statuses(ledger, job)
        assert sum(status not in open_ for status in statuses) <= 1
        assert statuses == sorted(statuses, key=lambda status: (status != "COMPLETED", status == "PENDING"))
    assert run_statuses(ledger, job) == ["COMPLETED"] * 4
    assert paid_pairs(ledger, job) == many_rows(5) * 4


def test_a_run_that_has_begun_is_not_overtaken_by_one_that_was_due_before_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_piece(monkeypatch, 1)
    job = create_job(ledger, *many_rows(3), cron=HOURLY)
    funding_jobs.run_now(ledger.engine, job.job_id, None, SOON + timedelta(milliseconds=200))
    take_steps(ledger, 2, SOON + timedelta(milliseconds=300))
    assert runs.claim(ledger.engine, SOON + timedelta(seconds=1), Progress())
    take_steps(ledger, 1)
    assert [(run.status, run.posted) for run in read_runs(ledger, job)] == [("POSTING", 2), ("PENDING", 0)]
    advance_all(ledger, SOON)
    assert run_statuses(ledger, job) == ["COMPLETED"] * 2


def test_a_run_is_completed_when_all_that_it_posted_is_decided(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    job = create_job(ledger, *many_rows(3), cron=HOURLY, missed="all")
    assert runs.claim(ledger.engine, NOW + timedelta(hours=2), Progress())
    with monkeypatch.context() as patched:
        patched.setattr(drain, "drain_until", lambda *arguments, **named: set())
        take_steps(ledger, 5)
    assert run_statuses(ledger, job) == ["POSTED", "PENDING"]
    advance_all(ledger)
    assert run_statuses(ledger, job) == ["COMPLETED", "COMPLETED"]


def test_a_huge_run_and_a_small_one_take_turns(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    set_piece(monkeypatch, 2)
    huge = create_job(ledger, *many_rows(60))
    take_steps(ledger, 4)
    small = [create_job(ledger, *many_rows(6)) for _ in range(2)]
    progress = Progress()
    for minute in range(16):
        assert runs.step(ledger.engine, NOW + timedelta(minutes=minute), progress)
    assert [read_run(ledger, job).posted for job in small] == [6, 6]
    assert 8 < read_run(ledger, huge).posted <= 20
    advance_all(ledger, LATER)
    assert run_statuses(ledger, huge) == ["COMPLETED"]


def test_whoever_advances_stops_after_its_time_and_says_that_there_is_more(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_piece(monkeypatch, 2)
    job = create_job(ledger, *many_rows(9))
    ticks = itertools.count()
    progress = runs.advance(ledger.engine, now=NOW, for_s=3, clock=lambda: next(ticks))
    assert (progress.more, progress.posted) == (True, 4)
    assert not advance_all(ledger).more
    assert paid_pairs(ledger, job) == many_rows(9)


# Holds


@pytest.mark.parametrize("how", ["at a date", "after some seconds", "by hand"])
def test_a_job_may_hold_the_money_until_a_date(ledger: Ledger, how: str) -> None:
    fields: dict[str, Any] = {
        "at a date": {"inflight_commit_date": (SOON + timedelta(minutes=1))},
        "after some seconds": {"inflight_commit_after_s": 60},
        "by hand": {},
    }[how]
    job = create_job(ledger, *many_rows(3), inflight=True, at=SOON, **fields)
    late = SOON + timedelta(seconds=30)  # The seconds count from when it was due.
    advance_all(ledger, late)
    run = read_run(ledger, job)
    assert [row.status for row in posted_by_run(ledger, run)] == [INFLIGHT] * 3
    assert (run.status, read_counts(ledger, job, run).applied, balance_of(ledger, "@Pool")) == ("COMPLETED", 3, 0)
    due.accept_due(ledger.engine, SOON + timedelta(seconds=59))
    ledger.drain()
    assert balance_of(ledger, "@Pool") == 0
    for _ in range(2):
        due.accept_due(ledger.engine, SOON + timedelta(seconds=60))
        ledger.drain()
    assert balance_of(ledger, "@Pool") == (0 if how == "by hand" else -3)
    assert posted_by_run(ledger, run)[0].reference == f"{job.job_id}_2030-01-01T13:00:00Z_1"


# In company


def test_pieces_are_small_while_others_post_and_large_when_nobody_else_has_for_a_while(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "PIECE", 10)
    monkeypatch.setattr(posting, "PIECE_IN_COMPANY", 2)
    job = create_job(ledger, *many_rows(42))

    def pieces(count: int, alone_after_s: float) -> None:
        """Advance by so many pieces in one call, which takes others for dead after so long."""
        monkeypatch.setattr(posting, "ALONE_AFTER_S", alone_after_s)
        progress = Progress()
        for _ in range(count):
            runs.step(ledger.engine, NOW, progress)

    pieces(2, 1e6)  # The start, and a piece: nobody is there.
    ledger.post()
    pieces(2, 1e6)  # Somebody was.
    pieces(1, 0.0)  # That was long ago.
    monkeypatch.setattr(posting, "ALONE_AFTER_S", 1e6)
    progress = Progress(last_seq=0, company_at=-math.inf)
    for _ in range(2):  # The first of these pieces sees by its place that somebody came, the next one is small.
        runs.step(ledger.engine, NOW, progress)
    with reading(ledger.engine) as conn:
        sql = text("SELECT count(*) FROM log WHERE parent = :run GROUP BY accepted_at ORDER BY accepted_at")
        sizes = conn.execute(sql, {"run": read_run(ledger, job).run_id}).scalars().all()
    assert sizes == [10, 2, 2, 10, 10, 2]


def test_a_piece_is_posted_while_the_one_before_it_is_being_decided_if_nobody_else_posts(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_piece(monkeypatch, 3)
    create_job(ledger, *many_rows(14))
    decide, seen = drain.drain_until, []

    def once_the_next_is_there(engine: Engine, queue: int, seq: int, **fields: Any) -> set[int]:
        for _ in range(3000 if seq in (6, 9, 12) else 20):
            if (last := _last_seq(engine)) > seq:
                break
            time.sleep(0.01)
        seen.append((seq, last))
        return decide(engine, queue, seq, **fields)

    monkeypatch.setattr(drain, "drain_until", once_the_next_is_there)
    advance_all(ledger)
    assert seen == [(3, 3), (6, 9), (9, 12), (12, 14), (14, 14)]

    create_job(ledger, *many_rows(9))
    seen.clear()
    monkeypatch.setattr(posting, "ALONE_AFTER_S", 1e6)
    ledger.post()
    advance_all(ledger)
    assert seen == [(18, 18), (21, 21), (24, 24)]


def _last_seq(engine: Engine) -> int:
    with reading(engine) as conn:
        last: int = conn.execute(text("SELECT max(seq) FROM log")).scalar_one()
    return last


def test_nothing_is_asked_for_twice_where_nothing_is_to_do(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_store, "lock_due_job", None)
    monkeypatch.setattr(runs, "try_take", None)
    assert advance_all(ledger) == Progress(company_at=ANY)
