"""Ticks happen without beat, without a broker, and with frozen or dead children; beat needs no files."""

import os
import signal
import time
from datetime import timedelta
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine, text

from core.base import clock
from core.base.db import begin, reading
from core.doors.names import Names
from core.ledger.store import waiting as waiting_store
from core.upkeep import heartbeats
from core.upkeep.heartbeats import State
from tests.harness import parts
from tests.harness.factories import Ledger
from tests.harness.processes import wait_until


def _status(ledger: Ledger, transaction_id: str) -> str:
    return str(ledger.transaction(transaction_id).status)


def _worker(engine: Engine) -> State | None:
    """The state of the worker that was heard of last."""
    with reading(engine) as conn:
        found = [each for each in heartbeats.every(conn) if each.part == "worker"]
    return min(found, key=lambda each: each.age_s).state if found else None


def _ticked(engine: Engine) -> set[str]:
    """The ticks that have ended."""
    with reading(engine) as conn:
        return set(conn.execute(text("SELECT name FROM ticks WHERE ended_at IS NOT NULL")).scalars())


def test_a_worker_alone_does_all_that_is_due(env: dict[str, str], ledger: Ledger, engine: Engine, folder: Path) -> None:
    now = clock.now_of(engine)
    scheduled = ledger.post(scheduled_for=now + timedelta(seconds=1))
    hold = ledger.post(inflight=True, inflight_expiry_date=now + timedelta(seconds=2))
    queued = ledger.post()
    with parts.worker(folder, env) as worker:
        wait_until(lambda: _status(ledger, queued.transaction_id) == "APPLIED")
        wait_until(lambda: _status(ledger, scheduled.transaction_id) == "APPLIED")
        wait_until(lambda: _status(ledger, hold.transaction_id) == "VOID")
        wait_until(
            lambda: (
                _ticked(engine) == {"sweep", "due", "fund", "flows", "slice", "verify", "forget", "spans", "snapshot"}
            )
        )
        wait_until(lambda: (state := _worker(engine)) is not None and state.standing_in)
        assert worker.stop() == 0
    assert _worker(engine) is None, "a worker that ends as it should is forgotten"


def test_frozen_and_dead_children_are_seen_and_their_work_is_done(
    env: dict[str, str], ledger: Ledger, engine: Engine, folder: Path
) -> None:
    with parts.worker(folder, env, children=2, app="tests.harness.patient_worker") as worker:
        wait_until(lambda: " ready." in worker.log)
        wait_until(lambda: (state := _worker(engine)) is not None and len(state.children) == 2)
        first = worker.children[0].pid
        os.kill(first, signal.SIGKILL)
        wait_until(
            lambda: (state := _worker(engine)) is not None and first not in [each.pid for each in state.children]
        )
        wait_until(
            lambda: (state := _worker(engine)) is not None and [each.answers for each in state.children] == [True] * 2
        )
        for child in worker.children:
            child.suspend()
        queued = ledger.post()
        wait_until(lambda: _status(ledger, queued.transaction_id) == "APPLIED")
        wait_until(lambda: (state := _worker(engine)) is not None and not any(each.answers for each in state.children))
        for child in worker.children:
            child.resume()
        wait_until(lambda: (state := _worker(engine)) is not None and all(each.answers for each in state.children))


def test_frozen_children_are_replaced(env: dict[str, str], ledger: Ledger, engine: Engine, folder: Path) -> None:
    with parts.worker(folder, env, children=2, app="tests.harness.hasty_worker") as worker:
        wait_until(lambda: (state := _worker(engine)) is not None and len(state.children) == 2)
        frozen = worker.children
        for child in frozen:
            child.suspend()
        wait_until(lambda: not any(child.is_running() for child in frozen))
        wait_until(
            lambda: (state := _worker(engine)) is not None and [each.answers for each in state.children] == [True] * 2
        )
        assert worker.log.count("a child gives no sign of life, and is replaced") >= 2
        assert worker.stop() == 0


def test_a_worker_goes_on_without_a_broker_and_with_it_again(
    env: dict[str, str], ledger: Ledger, engine: Engine, folder: Path, redis: Redis, names: Names
) -> None:
    away = env | {"REDIS_URL": "redis://127.0.0.1:1/0"}
    with parts.worker(folder, away):
        queued = ledger.post()
        wait_until(lambda: _status(ledger, queued.transaction_id) == "APPLIED")
    with parts.worker(folder / "again", env) as worker:
        wait_until(lambda: " ready." in worker.log)
        redis.client_kill_filter(_type="normal", skipme=True)
        redis.flushall()
        queued = ledger.post()
        wait_until(lambda: _status(ledger, queued.transaction_id) == "APPLIED")
        with parts.beat(folder / "beat", env):
            wait_until(lambda: (state := _worker(engine)) is not None and any(each.ended for each in state.children))
        assert worker.process.poll() is None
        assert not redis.llen(names.prefix + names.ticks)


def test_beat_needs_no_file_and_takes_none(
    env: dict[str, str], engine: Engine, folder: Path, redis: Redis, names: Names
) -> None:
    folder.mkdir()
    for name in ("celerybeat-schedule", "celerybeat-schedule.db", "celerybeat.pid"):
        (folder / name).write_bytes(os.urandom(64))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    ticks = names.prefix + names.ticks
    with parts.beat(folder, env) as first, parts.beat(folder / "twice", env) as second:
        folder.chmod(0o500)
        wait_until(lambda: redis.llen(ticks) > 0)
        for _ in range(3):
            redis.delete(ticks)
            wait_until(lambda: redis.llen(ticks) > 0)
        time.sleep(2.5)
        assert redis.llen(ticks) <= 2, "ticks do not pile up while no worker takes them"
        first.kill()
        redis.delete(ticks)
        wait_until(lambda: redis.llen(ticks) > 0)
        assert second.process.poll() is None
    folder.chmod(0o700)
    after = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != "log"}
    assert after == before


@pytest.mark.smoke
def test_queues_that_stand_still_are_seen_whatever_the_clock_of_the_database_did(
    ledger: Ledger, engine: Engine
) -> None:
    ledger.post()
    ledger.drain()
    ledger.post()
    for hours in (-1, 1):
        with begin(engine) as conn:
            conn.execute(text("SET LOCAL session_replication_role = replica"))
            conn.execute(
                text("UPDATE queues SET drained_at = clock_timestamp() + make_interval(hours => :h)"), {"h": hours}
            )
            conn.execute(
                text("UPDATE log SET accepted_at = clock_timestamp() + make_interval(hours => :h)"), {"h": hours}
            )
        with reading(engine) as conn:
            still_s = waiting_store.still_s(conn)
            assert still_s is not None
            assert still_s > 3000
            assert waiting_store.with_work(conn, older_than_s=1.0)
