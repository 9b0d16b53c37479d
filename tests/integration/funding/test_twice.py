"""Nobody is paid twice who was not meant to be: a run by hand and a retry of another run know of each other."""

from collections import Counter
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from core.base.db import reading
from core.base.errors import Conflict
from core.funding import jobs, posting_store, runs, tries
from core.funding.job_store import JobRow
from core.funding.progress import Progress
from core.funding.requests import FundingRule
from core.funding.run_store import RunRow
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
    read_run,
    read_runs,
    run_short_of_money,
    set_piece,
)
from tests.harness.searching import search

pytestmark = pytest.mark.usefixtures("sound")


def run(ledger: Ledger, job: JobRow, *, again: bool = False, now: datetime = NOW) -> RunRow:
    return jobs.run_now(ledger.engine, job.job_id, None, now, again=again)[0]


def refused(ledger: Ledger, job: JobRow, *words: str) -> None:
    with pytest.raises(Conflict) as caught:
        run(ledger, job, now=SOON)
    assert caught.value.code == "FND_REPEATED"
    for word in (*words, "again: true"):
        assert word in caught.value.message


def refused_run(ledger: Ledger) -> JobRow:
    job = create_job(ledger, *many_rows(3, 10), allow_overdraft=False)
    advance_all(ledger)
    assert read_run(ledger, job).status == "REFUSED"
    give(ledger, Pool=90)
    return job


def test_a_run_by_hand_after_a_refused_one_pays_each_row_once(ledger: Ledger) -> None:
    job = refused_run(ledger)
    first = read_run(ledger, job)
    run(ledger, job)
    advance_all(ledger)
    with pytest.raises(Conflict, match="run by hand since"):
        tries.retry(ledger.engine, job.job_id, first.run_id, NOW)
    assert balance_of(ledger, "@W0") == 10


def test_a_run_by_hand_after_a_retry_says_that_all_is_paid(ledger: Ledger) -> None:
    job = refused_run(ledger)
    first = read_run(ledger, job)
    tries.retry(ledger.engine, job.job_id, first.run_id, NOW)
    refused(ledger, job, first.run_id, "was retried")
    advance_all(ledger)
    refused(ledger, job, first.run_id, "was retried")
    run(ledger, job, again=True)
    advance_all(ledger)
    assert balance_of(ledger, "@W0") == 20
    run(ledger, job, now=SOON)  # The last run paid all of its rows, so a run by hand can only mean once more.


def test_a_retry_after_a_run_by_hand_says_so(ledger: Ledger) -> None:
    job = refused_run(ledger)
    first = read_run(ledger, job)
    by_hand = run(ledger, job)
    for _ in range(2):
        with pytest.raises(Conflict, match=f"run by hand since, as {by_hand.run_id}.*again: true") as caught:
            tries.retry(ledger.engine, job.job_id, first.run_id, NOW)
        assert caught.value.code == "FND_REPEATED"
        advance_all(ledger)
    assert balance_of(ledger, "@W0") == 10
    tries.retry(ledger.engine, job.job_id, first.run_id, NOW, again=True)
    advance_all(ledger)
    assert balance_of(ledger, "@W0") == 20


def test_a_run_by_hand_that_paid_nothing_does_not_stop_a_retry(ledger: Ledger) -> None:
    job = create_job(ledger, *many_rows(3, 10), allow_overdraft=False)
    advance_all(ledger)
    first = read_run(ledger, job)
    run(ledger, job)
    advance_all(ledger)
    assert [each.status for each in read_runs(ledger, job)] == ["REFUSED", "REFUSED"]
    give(ledger, Pool=30)
    tries.retry(ledger.engine, job.job_id, first.run_id, NOW)
    advance_all(ledger)
    assert balance_of(ledger, "@W0") == 10


def test_rejected_rows_are_left_to_a_retry(ledger: Ledger) -> None:
    give(ledger, Pool=50)
    job = create_job(ledger, *many_rows(5, 10), allow_overdraft=False)
    run_short_of_money(ledger, job, leaving=20)
    refused(ledger, job, "left 3 of its rows unpaid")


def test_a_top_up_is_run_at_any_time(ledger: Ledger) -> None:
    give(ledger, W0=1)
    top_up = FundingRule(filters=[FilterClause("indicator", "eq", "@W0")], precise_top_up_to=9)
    job = create_job(ledger, rule=top_up)
    run(ledger, job)
    advance_all(ledger)
    assert balance_of(ledger, "@W0") == 9


class Died(BaseException):
    """The process was killed."""


_PAID = text("""
SELECT r.id, r.retry_of, log.destination, o.status
FROM funding_runs AS r
JOIN log ON log.parent = 'run_' || r.id
LEFT JOIN outcomes AS o USING (seq)
WHERE r.job = :job
""")

_RUNS = text("SELECT id, retry_of, occurrence, status FROM funding_runs WHERE job = :job ORDER BY id")

ROWS = 4


class Changes(RuleBasedStateMachine):
    """Somebody who runs, retries, pauses and cancels one job in any order, while it comes due and processes die."""

    ledger: Ledger
    patched: pytest.MonkeyPatch
    number = 0

    @initialize(cron=st.booleans(), until_limit=st.booleans(), money=st.integers(0, ROWS + 2))
    def begin(self, cron: bool, until_limit: bool, money: int) -> None:
        Changes.number += 1
        self.pool, self.now = f"Twice{Changes.number}", NOW
        self.give(money)
        rows = [(f"@T{Changes.number}_{row}", 10) for row in range(ROWS)]
        fields: dict[str, Any] = {"cron": HOURLY, "missed": "all"} if cron else {}
        self.job = create_job(
            self.ledger, *rows, source=f"@{self.pool}", allow_overdraft=False, until_limit=until_limit, **fields
        )

    @rule(money=st.integers(1, ROWS + 2))
    def give(self, money: int) -> None:
        if money:
            give(self.ledger, **{self.pool: money * 10})

    @rule(money=st.integers(1, ROWS))
    def take(self, money: int) -> None:
        self.ledger.post(source=f"@{self.pool}", destination="@World", precise_amount=money * 10)

    @rule(hours=st.integers(0, 2))
    def pass_time(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule()
    def advance(self) -> None:
        runs.advance(self.ledger.engine, now=self.now, for_s=600)

    @rule(due=st.booleans())
    def step(self, due: bool) -> None:
        if due:
            runs.claim(self.ledger.engine, self.now, Progress())
        runs.step(self.ledger.engine, self.now, Progress())

    @rule()
    def die_before_the_commit(self) -> None:
        def recorded(*given: Any) -> None:
            raise Died

        with self.patched.context() as patched, suppress(Died):
            patched.setattr(posting_store, "record_postings", recorded)
            runs.step(self.ledger.engine, self.now, Progress())

    @rule()
    def die_before_the_decision(self) -> None:
        def decided(*given: Any, **named: Any) -> set[int]:
            raise Died

        with self.patched.context() as patched, suppress(Died):
            patched.setattr(runs.drain, "drain_until", decided)
            runs.step(self.ledger.engine, self.now, Progress())

    @rule(change=st.sampled_from(["pause", "resume", "resume", "cancel"]))
    def change(self, change: str) -> None:
        given = [] if change == "pause" else [self.now]
        with suppress(Conflict):
            getattr(jobs, change)(self.ledger.engine, self.job.job_id, *given)

    @rule(again=st.sampled_from([False, False, True]))
    def run_by_hand(self, again: bool) -> None:
        self.now += timedelta(milliseconds=1)
        all_runs, paid = self.seen()
        last = [(id, status) for id, retry_of, _, status in all_runs if retry_of is None][-1:]
        retried = {id for id, _ in last} & {retry_of for _, retry_of, *_ in all_runs}
        with suppress(Conflict):
            jobs.run_now(self.ledger.engine, self.job.job_id, None, self.now, again=again)
            # After a retry, or where one would pay the rest, nobody is paid again unless the words are there.
            assert again or not retried
            for id, status in last:
                is_open = status in ("PENDING", "POSTING", "POSTED")
                assert again or is_open or len(self.to(paid, id)) in (0, ROWS)

    @rule(which=st.integers(0, 9), again=st.sampled_from([False, False, True]))
    def retry(self, which: int, again: bool) -> None:
        all_runs, paid = self.seen()
        if not all_runs:
            return
        tried = all_runs[which % len(all_runs)][0]
        by_hand = [id for id, _, occurrence, _ in all_runs if occurrence.startswith("run_") and id > tried]
        with suppress(Conflict):
            _, replayed = tries.retry(self.ledger.engine, self.job.job_id, f"run_{tried}", self.now, again=again)
            assert again or replayed or not any(self.to(paid, id) for id in by_hand)

    @invariant()
    def each_row_is_paid_once(self) -> None:
        if hasattr(self, "job"):
            _, paid = self.seen()
            assert not paid or max(paid.values()) == 1

    def teardown(self) -> None:
        self.each_row_is_paid_once()
        runs.advance(self.ledger.engine, now=self.now, for_s=600)
        self.each_row_is_paid_once()
        with suppress(Conflict):
            jobs.cancel(self.ledger.engine, self.job.job_id, self.now)

    def seen(self) -> tuple[list[Any], Counter[tuple[UUID, int]]]:
        """Return all runs, and how often each balance was paid, or is about to be, for each run that retries no other."""
        with reading(self.ledger.engine) as conn:
            all_runs = [tuple(row) for row in conn.execute(_RUNS, {"job": self.job.id})]
            posted = [tuple(row) for row in conn.execute(_PAID, {"job": self.job.id})]
        above = {id: retry_of for id, retry_of, *_ in all_runs}

        def root(id: UUID) -> UUID:
            return id if above[id] is None else root(above[id])

        return all_runs, Counter((root(id), to) for id, _, to, status in posted if status != 4)

    @staticmethod
    def to(paid: Counter[tuple[UUID, int]], run: UUID) -> set[int]:
        return {to for id, to in paid if id == run}


def test_no_order_of_changes_pays_a_row_of_an_occurrence_twice(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    set_piece(monkeypatch, 2)
    Changes.ledger, Changes.patched = ledger, monkeypatch
    run_state_machine_as_test(Changes, settings=settings(search(4), stateful_step_count=25))
