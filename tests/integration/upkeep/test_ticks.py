"""A tick is due by its row and by the database's clock, and one process at a time claims it."""

import threading

import pytest
from freezegun import freeze_time
from sqlalchemy import Engine, text

from core.base.db import begin
from core.upkeep import ticks
from core.upkeep.ticks import RATES, Tick

DAY_S = 86_400


def _claim(engine: Engine, late_s: float = 0.0) -> list[Tick]:
    with begin(engine) as conn:
        return ticks.claim(conn, "me", late_s=late_s)


def _end(engine: Engine, *names: Tick) -> None:
    with begin(engine) as conn:
        for name in names:
            ticks.end(conn, name)


_SET = text("""
    UPDATE ticks
    SET started_at = clock_timestamp() - make_interval(secs => :started),
        ended_at = clock_timestamp() - make_interval(secs => :ended)
    WHERE name = :name
""")

_OTHERS_HAVE_JUST_RUN = text("""
    UPDATE ticks
    SET started_at = clock_timestamp(), ended_at = clock_timestamp()
    WHERE name <> :name
""")


def _set(engine: Engine, name: Tick, *, started_s: float, ended_s: float | None) -> None:
    """Set the times of a tick, in seconds before now."""
    with begin(engine) as conn:
        conn.execute(_SET, {"name": name, "started": started_s, "ended": ended_s})


def _claim_after(
    engine: Engine, name: Tick, *, started_s: float, ended_s: float | None, late_s: float = 0.0
) -> list[Tick]:
    """Claim so many seconds after a tick began and ended, when all others have just run.

    It is one transaction, because a busy machine may take seconds between two, and some ticks are due each second.
    """
    with begin(engine) as conn:
        conn.execute(_OTHERS_HAVE_JUST_RUN, {"name": name})
        conn.execute(_SET, {"name": name, "started": started_s, "ended": ended_s})
        return ticks.claim(conn, "me", late_s=late_s)


def _claim_again(engine: Engine, name: Tick) -> list[Tick]:
    """Claim when all ticks but this one have just run."""
    with begin(engine) as conn:
        conn.execute(_OTHERS_HAVE_JUST_RUN, {"name": name})
        return ticks.claim(conn, "me", late_s=0.0)


@pytest.fixture
def at_rest(engine: Engine) -> Engine:
    """A database in which every tick has just run."""
    assert _claim(engine) == list(Tick)
    _end(engine, *Tick)
    return engine


@pytest.mark.smoke
def test_each_tick_is_claimed_once_and_again_when_its_time_has_come(at_rest: Engine) -> None:
    for name, rate in RATES.items():
        assert _claim_after(at_rest, name, started_s=0, ended_s=0) == []
        if rate.daily_at_s is None:
            assert _claim_after(at_rest, name, started_s=rate.every_s - 0.5, ended_s=0) == [], name
            assert _claim_after(at_rest, name, started_s=rate.every_s, ended_s=0) == [name]
            assert _claim_again(at_rest, name) == []
            _end(at_rest, name)


def test_a_run_whose_process_died_is_claimed_after_its_lease(at_rest: Engine) -> None:
    for name, rate in RATES.items():
        for ended_s in (None, rate.lease_s + 10):
            assert _claim_after(at_rest, name, started_s=rate.lease_s - 1, ended_s=ended_s) == [], name
            assert _claim_after(at_rest, name, started_s=rate.lease_s, ended_s=ended_s) == [name]
            _end(at_rest, name)


def test_snapshots_are_due_once_after_five_past_midnight_however_late_the_asker_is(at_rest: Engine) -> None:
    sql = """
        UPDATE ticks
        SET started_at = date_trunc('day', clock_timestamp() - interval '5 min', 'UTC') + make_interval(secs => 300 + :at),
            ended_at = date_trunc('day', clock_timestamp() - interval '5 min', 'UTC') + make_interval(secs => 300 + :at)
        WHERE name = 'snapshot'
    """
    for at, is_due in ((-1, True), (-DAY_S, True), (-30 * DAY_S, True), (0, False)):
        with begin(at_rest) as conn:
            conn.execute(text(sql), {"at": at})
        assert (_claim(at_rest) == [Tick.SNAPSHOT]) is is_due, at


def test_a_database_clock_that_was_set_back_stops_no_tick(at_rest: Engine) -> None:
    for name in Tick:
        _set(at_rest, name, started_s=-3600, ended_s=-3600)
    assert _claim(at_rest) == list(Tick)


def test_the_clock_of_the_asker_does_not_matter(at_rest: Engine) -> None:
    for wrong in ("2001-01-01", "2101-01-01"):
        with freeze_time(wrong, ignore=["psycopg", "sqlalchemy"]):
            assert _claim_after(at_rest, Tick.SWEEP, started_s=0, ended_s=0) == []
            assert _claim_after(at_rest, Tick.SWEEP, started_s=1, ended_s=1) == [Tick.SWEEP]
            _end(at_rest, Tick.SWEEP)


def test_who_stands_in_leaves_a_tick_that_is_not_late(at_rest: Engine) -> None:
    assert _claim_after(at_rest, Tick.SWEEP, started_s=3, ended_s=3, late_s=3) == []
    assert _claim_after(at_rest, Tick.SWEEP, started_s=4, ended_s=4, late_s=3) == [Tick.SWEEP]


def test_many_who_ask_at_once_claim_a_tick_once(at_rest: Engine) -> None:
    for name in Tick:
        _set(at_rest, name, started_s=2 * DAY_S, ended_s=2 * DAY_S)
    start, claimed = threading.Barrier(6), []

    def ask() -> None:
        start.wait()
        claimed.extend(_claim(at_rest))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(Tick)
