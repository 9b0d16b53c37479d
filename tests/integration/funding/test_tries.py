"""Tries pay the rows that a run did not pay: each row at most once over all of them, and exactly once after enough."""

import os
from collections import Counter
from contextlib import suppress
from itertools import count
from random import Random
from typing import Any

import pytest
from sqlalchemy import text

from core.base.db import begin, reading
from core.base.errors import Conflict, InvalidRequest
from core.funding import jobs as funding_jobs
from core.funding import posting_store, runs, tries, views
from core.funding.job_store import JobRow
from core.funding.progress import Progress
from core.funding.run_store import RunRow
from core.funding.views import Try
from core.ledger import drain
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
    posted_by_run,
    read_job,
    read_run,
    read_runs,
    run_short_of_money,
    set_piece,
    take_steps,
)

EXAMPLES = int(os.environ.get("PACIOLI_EXAMPLES", "100"))

pytestmark = pytest.mark.usefixtures("sound")


def retry(ledger: Ledger, job: JobRow, run: RunRow, only: str | None = None) -> RunRow:
    made, replayed = tries.retry(ledger.engine, job.job_id, run.run_id, NOW, only)
    assert not replayed
    return made


def tree(ledger: Ledger, job: JobRow, run: RunRow) -> list[Try]:
    with reading(ledger.engine) as conn:
        return views.tries_of(conn, read_job(ledger, job), run)


def left(ledger: Ledger, job: JobRow, run: RunRow) -> int:
    return sum(each.left for each in tree(ledger, job, run))


def test_what_the_limit_left_out_is_paid_alone(ledger: Ledger) -> None:
    give(ledger, Pool=25)
    job = create_job(ledger, *many_rows(5, 10), allow_overdraft=False, until_limit=True)
    advance_all(ledger)
    first = read_run(ledger, job)
    assert (first.posted, left(ledger, job, first)) == (2, 3)
    give(ledger, Pool=25)
    second = retry(ledger, job, first)
    advance_all(ledger)
    assert [row.destination for row in posted_by_run(ledger, second)] == ["@W2", "@W3", "@W4"]
    assert left(ledger, job, first) == 0


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_what_a_cancel_left_out_is_paid_alone_and_the_schedule_stays_over(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    set_piece(monkeypatch, 2)
    job = create_job(ledger, *many_rows(5, 10), cron=HOURLY)
    funding_jobs.run_now(ledger.engine, job.job_id, None, NOW)
    take_steps(ledger, steps)
    funding_jobs.cancel(ledger.engine, job.job_id, NOW)
    first = read_run(ledger, job)
    assert (first.status, left(ledger, job, first)) == ("CANCELLED", 5 - 2 * max(steps - 1, 0))
    retry(ledger, job, first)
    advance_all(ledger, SOON)
    assert sorted(paid_pairs(ledger, job)) == many_rows(5, 10)
    assert (read_job(ledger, job).status, read_job(ledger, job).next_due) == ("ACTIVE", None)


def test_a_try_that_is_cancelled_before_it_starts_gives_its_rows_to_the_next(ledger: Ledger) -> None:
    job = create_job(ledger, *many_rows(3, 10))
    funding_jobs.cancel(ledger.engine, job.job_id, NOW)
    first = read_run(ledger, job)
    second = retry(ledger, job, first)
    assert left(ledger, job, first) == 0
    funding_jobs.cancel(ledger.engine, job.job_id, NOW)
    assert left(ledger, job, first) == 3
    third = retry(ledger, job, first)
    advance_all(ledger)
    assert [row.destination for row in posted_by_run(ledger, third)] == ["@W0", "@W1", "@W2"]
    assert [each.run.id for each in tree(ledger, job, first)] == [first.id, second.id, third.id]


def test_one_kind_of_rows_is_tried_and_then_the_other_and_then_none(ledger: Ledger) -> None:
    give(ledger, Pool=35)
    job = create_job(ledger, *many_rows(5, 10), allow_overdraft=False, until_limit=True)
    first = run_short_of_money(ledger, job, leaving=20)
    assert [row.status for row in posted_by_run(ledger, first)] == [1, 1, 4]
    give(ledger, Pool=10)
    rejected = retry(ledger, job, first, "rejected")
    advance_all(ledger)
    assert [row.destination for row in posted_by_run(ledger, rejected)] == ["@W2"]
    assert tries.retry(ledger.engine, job.job_id, first.run_id, NOW, "rejected")[1]
    unposted = retry(ledger, job, first, "unposted")
    give(ledger, Pool=15)
    advance_all(ledger)
    assert [row.destination for row in posted_by_run(ledger, unposted)] == ["@W3"]
    last = retry(ledger, job, first)  # The row that the try of the unposted ones left out.
    assert last.retry_of == first.id
    give(ledger, Pool=10)
    advance_all(ledger)
    assert sorted(paid_pairs(ledger, job)) == sorted([*many_rows(5, 10), ("@W2", 10)])
    again, replayed = tries.retry(ledger.engine, job.job_id, first.run_id, NOW)
    assert (again.id, replayed) == (last.id, True)
    with reading(ledger.engine) as conn:
        (state,) = posting_store.row_states(conn, read_runs(ledger, job)[1], limit=9, after=0, status=None)
        found = conn.execute(text("SELECT status FROM outcomes WHERE seq = :seq"), {"seq": state.first_seq})
        assert found.scalar_one() == 4


def test_what_cannot_be_retried_says_why(ledger: Ledger) -> None:
    job = create_job(ledger, *many_rows(2, 10))
    run = read_run(ledger, job)
    with pytest.raises(Conflict, match="not decided yet"):
        tries.retry(ledger.engine, job.job_id, run.run_id, NOW)
    advance_all(ledger)
    for only, says in ((None, "rejected or left out"), ("rejected", "was rejected"), ("unposted", "was unposted")):
        with pytest.raises(Conflict, match=says):
            tries.retry(ledger.engine, job.job_id, run.run_id, NOW, only)
    with pytest.raises(InvalidRequest):
        tries.retry(ledger.engine, job.job_id, run.run_id, NOW, "applied")
    other = create_job(ledger, *many_rows(2, 10), allow_overdraft=None)
    advance_all(ledger)
    funding_jobs.pause(ledger.engine, other.job_id)
    with pytest.raises(Conflict, match="is paused"):
        tries.retry(ledger.engine, other.job_id, read_run(ledger, other).run_id, NOW)


class Killed(Exception):
    """The end of a worker in the middle of its work."""


def _die(*_: Any, **__: Any) -> Any:
    raise Killed


class Machine:
    """A job that is run, stopped, killed and retried in any order, and whose pool fills and empties meanwhile."""

    ROWS = 7

    def __init__(self, ledger: Ledger, dice: Random, patch: pytest.MonkeyPatch) -> None:
        self.ledger, self.dice, self.patch = ledger, dice, patch
        terms = dice.choice(({"until_limit": True}, {}))
        give(ledger, Pool=dice.choice((1, 30, 70, 100)))
        rows = many_rows(self.ROWS, 10)
        self.job = create_job(ledger, *rows, allow_overdraft=False, atomic=not terms and dice.random() < 0.2, **terms)
        self.root = read_run(ledger, self.job)

    def act(self) -> None:
        engine, job_id = self.ledger.engine, self.job.job_id
        with suppress(Conflict, Killed):
            match self.dice.randrange(10):
                case 0 | 1 | 2:
                    runs.step(engine, NOW, Progress())
                case 3:
                    funding_jobs.pause(engine, job_id)
                case 4 | 5:
                    funding_jobs.resume(engine, job_id, NOW)
                case 6:
                    funding_jobs.cancel(engine, job_id, NOW)
                case 7:
                    with self.patch.context() as patch:
                        where, name = self.dice.choice(((drain, "drain_until"), (posting_store, "record_postings")))
                        patch.setattr(where, name, _die)
                        runs.step(engine, NOW, Progress())
                case 8:
                    run = self.dice.choice(read_runs(self.ledger, self.job))
                    tries.retry(engine, job_id, run.run_id, NOW, self.dice.choice((None, "rejected", "unposted")))
                case 9:
                    source, destination = self.dice.choice((("@World", "@Pool"), ("@Pool", "@World")))
                    self.ledger.post(
                        source=source, destination=destination, precise_amount=self.dice.choice((10, 25, 40))
                    )

    def paid(self) -> Counter[str]:
        """How often each destination was paid or may still be: a row of the log that is not rejected."""
        sql = (
            "SELECT indicator FROM log JOIN balances ON balances.id = log.destination LEFT JOIN outcomes USING (seq) "
            "WHERE parent LIKE 'run\\_%' AND status IS DISTINCT FROM 4"
        )
        with reading(self.ledger.engine) as conn:
            return Counter(conn.execute(text(sql)).scalars())

    def finish(self) -> int:
        """Retry until nothing is left, with enough money. Returns the number of retries."""
        give(self.ledger, Pool=1_000)
        for number in count():
            with suppress(Conflict):
                funding_jobs.resume(self.ledger.engine, self.job.job_id, NOW)
            advance_all(self.ledger)
            self.ledger.drain()
            try:
                _, replayed = tries.retry(self.ledger.engine, self.job.job_id, self.root.run_id, NOW)
            except Conflict:  # The run paid all at once, so there is no try.
                return number
            if replayed:
                return number
        raise AssertionError


@pytest.mark.parametrize("seed", range(max(1, EXAMPLES // 8)))
def test_in_any_order_each_row_is_paid_at_most_once_and_after_enough_tries_exactly_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    set_piece(monkeypatch, 2)
    machine = Machine(ledger, Random(seed), monkeypatch)
    for _ in range(40):
        machine.act()
        assert max(machine.paid().values(), default=0) <= 1
    assert machine.finish() <= 2
    assert machine.paid() == Counter({name: 1 for name, _ in many_rows(Machine.ROWS)})
    assert [balance_of(ledger, name) for name, _ in many_rows(Machine.ROWS)] == [10] * Machine.ROWS
    assert left(ledger, machine.job, machine.root) == 0


def test_the_database_refuses_a_row_that_is_taken_twice(ledger: Ledger) -> None:
    job = create_job(ledger, *many_rows(1, 10), allow_overdraft=None)
    advance_all(ledger)
    first = read_run(ledger, job)
    retry(ledger, job, first)
    sql = text("INSERT INTO funding_retries (retry, row, run) VALUES (gen_random_uuid(), 1, :run)")
    with pytest.raises(Exception, match="funding_retries_run_key"), begin(ledger.engine) as conn:
        conn.execute(sql, {"run": first.id})
