"""A round of ticks: those without work end together, and the others are run, each by itself."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from core.base import clock
from core.base.db import begin, reading
from core.base.errors import TransientError
from core.funding import runs
from core.ledger.store import due as due_store
from core.upkeep.ticks import RATES, Tick
from tests.harness.factories import Ledger
from tests.harness.funding import create_job, run_statuses
from worker import tasks, ticking

EACH_SECOND = [Tick.SWEEP, Tick.DUE, Tick.FUND, Tick.FLOWS]


@pytest.fixture
def ran(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> list[Tick]:
    """The ticks that were run. They do nothing."""
    found: list[Tick] = []
    for module in tasks, ticking:
        monkeypatch.setattr(module, "engine", lambda: ledger.engine)
    for name in RATES:
        monkeypatch.setitem(ticking.RUNS, name, lambda name=name: found.append(name))
    monkeypatch.setattr(tasks, "OVERDUE_S", 0.0)
    monkeypatch.setattr(ticking, "ENDS_ITSELF", set())
    ticking.run_due()
    found.clear()
    return found


def again(ledger: Ledger) -> None:
    """Let time pass, so that the ticks of each second are due."""
    with begin(ledger.engine) as conn:
        conn.execute(
            text("UPDATE ticks SET started_at = started_at - interval '2 s' WHERE name = ANY(:names)"),
            {"names": EACH_SECOND},
        )


def open_ticks(ledger: Ledger) -> list[str]:
    with reading(ledger.engine) as conn:
        return list(
            conn.execute(text("SELECT name FROM ticks WHERE ended_at IS NULL OR ended_at < started_at")).scalars()
        )


def test_ticks_without_work_end_in_one_commit(ledger: Ledger, ran: list[Tick], monkeypatch: pytest.MonkeyPatch) -> None:
    again(ledger)
    commits: list[tuple[Tick, ...]] = []
    end = ticking.end

    def note(*names: Tick) -> None:
        commits.append(names)
        end(*names)

    monkeypatch.setattr(ticking, "end", note)
    assert ticking.run_due() == EACH_SECOND
    assert (ran, [set(names) for names in commits]) == ([], [set(EACH_SECOND)])
    assert open_ticks(ledger) == []


def test_ticks_with_work_are_run(ledger: Ledger, ran: list[Tick]) -> None:
    ledger.post()
    again(ledger)
    ticking.run_due()
    assert ran == [Tick.SWEEP, Tick.FLOWS]
    ledger.drain()
    ran.clear()
    with reading(ledger.engine) as conn:
        soon = clock.now(conn) + timedelta(hours=1)
    ledger.post(scheduled_for=soon)
    for _ in range(2):
        again(ledger)
        ticking.run_due()
    assert ran == [Tick.FLOWS] * 2
    ran.clear()
    with begin(ledger.engine) as conn:
        conn.execute(text("UPDATE scheduled SET due_at = clock_timestamp()"))
    again(ledger)
    ticking.run_due()
    assert ran == [Tick.DUE, Tick.FLOWS]
    assert open_ticks(ledger) == []


def test_funding_is_run_for_a_job_that_is_due_and_for_a_run_that_is_not_over(ledger: Ledger, ran: list[Tick]) -> None:
    def is_run() -> bool:
        again(ledger)
        assert Tick.FUND in ticking.run_due()
        found = Tick.FUND in ran
        ran.clear()
        return found

    with reading(ledger.engine) as conn:
        now = clock.now(conn)
    hour = timedelta(hours=1)
    create_job(ledger, ("@A", 1), now=now, at=now + hour)
    assert not is_run()
    for at in now - hour, None:
        job = create_job(ledger, ("@A", 1), now=now - 2 * hour, at=at)
        assert run_statuses(ledger, job) == ([] if at else ["PENDING"])
        assert is_run()
        runs.advance(ledger.engine)
        assert run_statuses(ledger, job) == ["COMPLETED"]
        assert not is_run()


def test_a_look_that_fails_leaves_the_ticks_to_the_next_round(
    ledger: Ledger, ran: list[Tick], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(conn: Connection, now: Any) -> tuple[bool, bool]:
        raise TransientError("away")

    again(ledger)
    monkeypatch.setattr(due_store, "waiting", fail)
    with pytest.raises(TransientError):
        ticking.run_due()
    assert (ran, set(open_ticks(ledger))) == ([], set(EACH_SECOND))
    monkeypatch.undo()
