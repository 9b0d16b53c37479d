"""``/health`` is true: each fault is seen, named and dated, and an answer comes whatever hangs."""

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from core.base import locks
from core.base.db import begin, connect, reading
from core.base.locks import AdvisoryLock
from core.upkeep import probes
from ops.server.private_redis import Redis as RedisServer
from ops.server.private_redis import find_redis
from tests.harness.api import Api, ok
from tests.harness.databases import QuickPostgres, new_database
from tests.harness.probing import live, started
from tests.harness.programs import needs_program
from tests.harness.redis_servers import redis_server as any_redis_server
from tests.harness.redis_servers import until_ready
from web.probing import facts
from web.probing.checks import Probe
from web.probing.prober import Check, Prober, Severity, Trouble
from web.service import Service

ANSWERED_WITHIN_S = 5.0
SEEN_WITHIN_S = 30.0


FROZEN = """
    UPDATE heartbeats
    SET state = '{"pid": 1, "up_s": 9, "children": [{"pid": 4711, "silent_s": 9, "answers": false}]}'
    WHERE part = 'worker'
"""


class TakesAnything:
    """A Redis in which all is well."""

    def set(self, *_: object, **__: object) -> bool:
        return True

    def ping(self) -> bool:
        return True


@pytest.fixture
def service(app: Flask) -> Service:
    found: Service = app.extensions["pacioli"]
    found.probe._redis = TakesAnything()  # type: ignore[assignment]
    return found


@pytest.fixture
def health(app: Flask, service: Service) -> Callable[[], dict[str, Any]]:
    """Asks for the health, and checks what holds for every answer."""

    def ask() -> dict[str, Any]:
        response = app.test_client().get("/health")
        found: dict[str, Any] = ok(response, 503 if response.get_json()["status"] == "DOWN" else 200)
        for problem in found["problems"]:
            assert datetime.fromisoformat(problem["since"]) <= datetime.now(UTC)
            assert problem["what"] and problem["advice"]
        worst = {problem["status"] for problem in found["problems"]}
        assert found["status"] == ("DOWN" if "DOWN" in worst else "DEGRADED" if worst else "UP")
        assert found.get("reason") == (found["problems"][0]["what"] if found["problems"] else None)
        return found

    return ask


Ask = Callable[[], dict[str, Any]]


def execute(engine: Engine, statement: str) -> None:
    with begin(engine) as conn:
        conn.execute(text(statement))


def only(found: dict[str, Any], part: str, status: str = "DEGRADED") -> dict[str, Any]:
    """The one problem of an answer, which must be of this part."""
    (problem,) = found["problems"]
    assert (problem["part"], problem["status"], found["status"]) == (part, status, status), problem
    assert found["checks"][part] == status
    return dict(problem)


def seen(ask: Ask, part: str) -> dict[str, Any]:
    """Ask until a problem of this part is seen. Each answer comes quickly."""
    deadline = time.monotonic() + SEEN_WITHIN_S
    while True:
        began = time.monotonic()
        found = ask()
        assert time.monotonic() - began < ANSWERED_WITHIN_S
        for problem in found["problems"]:
            if problem["part"] == part:
                return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


@pytest.mark.smoke
def test_all_is_up_when_all_parts_live(engine: Engine, health: Ask) -> None:
    live(engine)
    found = health()
    assert (found["status"], found["problems"]) == ("UP", [])
    assert {value for value in found["checks"].values() if isinstance(value, str)} == {"UP"}
    assert found["checks"]["workers_alive"] == ["celery@a"]


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_server_that_may_lose_what_was_accepted_is_degraded(
    engine: Engine, health: Ask, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    """The server of the tests is one, and says with a setting of its own that nobody minds."""
    live(engine)
    asked = probes._LOSING.replace("<> 'on'", "<> ''").replace("'fsync', 'full_page_writes'", f"'{setting}'")
    monkeypatch.setattr(probes, "_LOSING", asked)
    assert f"{setting} off" in only(health(), "database", "DEGRADED")["what"]


def test_a_web_process_records_its_heartbeat(engine: Engine, health: Ask) -> None:
    health()
    with reading(engine) as conn:
        row = conn.execute(text("SELECT worker, part, host, clock_off_s FROM heartbeats")).one()
    assert row.worker.startswith("web@") and row.part == "web" and row.host
    assert health()["checks"]["workers_alive"] == []


def test_a_ledger_without_workers_is_degraded(engine: Engine, health: Ask) -> None:
    live(engine)
    execute(engine, "UPDATE heartbeats SET at = clock_timestamp() - interval '20 seconds' WHERE part = 'worker'")
    problem = only(health(), "workers")
    assert "no worker" in problem["what"] and "pacioli up" in problem["advice"]
    assert (datetime.now(UTC) - datetime.fromisoformat(problem["since"])).total_seconds() > 10


def test_a_worker_with_frozen_children_is_degraded(engine: Engine, health: Ask) -> None:
    live(engine)
    execute(engine, FROZEN)
    problem = only(health(), "workers")
    assert "celery@a" in problem["what"] and "4711" in problem["what"] and "kill -CONT" in problem["advice"]


def test_missing_ticks_are_degraded_and_say_who_ticked_last(engine: Engine, health: Ask) -> None:
    live(engine)
    execute(engine, "UPDATE ticks SET started_at = clock_timestamp() - interval '1 minute' WHERE name <> 'due'")
    problem = only(health(), "ticks")
    assert "sweep, fund" in problem["what"] and "beat@a" in problem["what"]
    assert (datetime.now(UTC) - datetime.fromisoformat(problem["since"])).total_seconds() > 30


def test_a_beat_that_hangs_is_degraded_although_a_worker_ticks(engine: Engine, health: Ask) -> None:
    live(engine)
    execute(engine, BEAT.format(name="beat@a:1", age=60))
    assert "beat@a:1" in only(health(), "ticks")["what"]
    execute(engine, BEAT.format(name="beat@a:2", age=1))
    assert health()["status"] == "UP"


BEAT = """
    INSERT INTO heartbeats (worker, at, part, host)
    VALUES ('{name}', clock_timestamp() - interval '{age} seconds', 'beat', 'a')
"""


def test_ticks_that_never_came_are_missed_after_a_while(engine: Engine, health: Ask, service: Service) -> None:
    live(engine)
    execute(engine, "DELETE FROM ticks")
    assert health()["status"] == "UP"
    service.probe._known_since = time.monotonic() - 2 * facts.NEVER_S
    only(health(), "ticks")


def test_an_old_line_is_degraded(engine: Engine, health: Ask, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    live(engine)
    ok(api.post(), 201)
    assert health()["status"] == "UP"
    monkeypatch.setattr("web.probing.facts.OLDEST_S", -1)
    found = health()
    assert "waiting" in only(found, "queues")["what"]
    assert found["checks"]["oldest_queued_age_s"] >= 0


def test_a_host_whose_clock_is_off_is_named(engine: Engine, health: Ask) -> None:
    live(engine)
    execute(engine, "UPDATE heartbeats SET clock_off_s = -3600.5 WHERE host = 'a'")
    assert "a by -3600.5 s" in only(health(), "clocks")["what"]
    execute(engine, "UPDATE heartbeats SET clock_off_s = 0.9 WHERE host = 'a'")
    assert health()["status"] == "UP"


def test_a_web_process_measures_its_own_clock(engine: Engine, health: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    live(engine)
    real = time.time
    monkeypatch.setattr("core.base.clock.time.time", lambda: real() + 90)
    health()
    assert "+90." in only(health(), "clocks")["what"]


def test_damage_that_a_verification_found_stays_until_one_of_its_kind_is_sound(engine: Engine, health: Ask) -> None:
    live(engine)

    def verified(kind: str, problems: int) -> None:
        columns = "(at, kind, first_seq, last_seq, complete, problem_count, problems, took_s)"
        values = f"(clock_timestamp(), '{kind}', 5, 9, true, {problems}, '[]', 0.1)"
        execute(engine, f"INSERT INTO verifications {columns} VALUES {values}")

    verified("slice", 2)
    verified("full", 3)
    problem = only(health(), "verification")
    assert "5 problems" in problem["what"] and "pacioli verify" in problem["advice"]
    verified("checkpoint", 0)
    verified("full", 0)
    assert "2 problems" in only(health(), "verification")["what"]
    verified("slice", 0)
    assert health()["status"] == "UP"


def test_missed_verifications_are_degraded(engine: Engine, health: Ask) -> None:
    live(engine)
    execute(engine, "UPDATE verifications SET at = clock_timestamp() - interval '1 day'")
    assert "not verified" in only(health(), "verification")["what"]


def test_a_problem_keeps_its_date_while_it_lasts(engine: Engine, health: Ask) -> None:
    live(engine)
    execute(engine, "UPDATE heartbeats SET clock_off_s = 10")
    first = only(health(), "clocks")
    execute(engine, "UPDATE heartbeats SET clock_off_s = 20 WHERE host = 'a'")
    second = only(health(), "clocks")
    assert second["since"] == first["since"] and second["what"] != first["what"]


def test_a_database_that_is_not_migrated_is_down(postgres: str) -> None:
    admin = create_engine(postgres, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as conn:
        conn.execute(text("CREATE DATABASE unmigrated_health"))
    url = postgres.replace("/pacioli", "/unmigrated_health")
    found = Probe(connect(url, connections=2), TakesAnything()).prober().troubles()  # type: ignore[arg-type]
    assert [(each.part, each.severity) for each in found] == [("database", Severity.DOWN)]
    assert found[0].advice == "run `pacioli migrate`"


def test_a_database_of_an_older_release_is_down(own_database_url: str) -> None:
    engine = connect(own_database_url)
    execute(engine, "ALTER TABLE heartbeats DROP COLUMN clock_off_s")
    engine.dispose()
    (found,) = Probe(engine, TakesAnything()).prober().troubles()  # type: ignore[arg-type]
    assert (found.part, found.severity, found.advice) == ("database", Severity.DOWN, "run `pacioli migrate`")


def test_a_read_only_database_is_down(own_database_url: str) -> None:
    engine = connect(own_database_url)
    live(engine)
    execute(engine, f"ALTER ROLE CURRENT_USER IN DATABASE {engine.url.database} SET default_transaction_read_only = on")
    engine.dispose()
    (found,) = Probe(connect(own_database_url), TakesAnything()).prober().troubles()  # type: ignore[arg-type]
    assert (found.part, found.severity, found.what) == ("database", Severity.DOWN, "the database is read-only")


def test_a_held_append_lock_is_down(
    engine: Engine, health: Ask, service: Service, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(engine)
    monkeypatch.setattr("web.probing.checks.LOCK_WAIT_S", 0.5)
    with started(service.prober):
        assert health()["status"] == "UP"
        with begin(engine) as conn:
            locks.take(conn, AdvisoryLock.APPEND)
            found = seen(health, "append")
            assert "pg_terminate_backend" in only(found, "append", "DOWN")["advice"]
            assert app.test_client().get("/health/ready").status_code == 503
            assert app.test_client().get("/health/live").status_code == 200
        _well(health)
    assert app.test_client().get("/health/ready").status_code == 503


def _well(ask: Ask) -> None:
    deadline = time.monotonic() + SEEN_WITHIN_S
    while (found := ask())["status"] != "UP":
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    if find_redis() is None:
        needs_program("redis-server")
    with RedisServer(tmp_path) as server:
        yield server


def client_of(server: RedisServer) -> "Redis":
    return Redis.from_url(server.url, socket_timeout=2, socket_connect_timeout=1)


def test_a_redis_out_of_memory_is_degraded(engine: Engine, health: Ask, service: Service, tmp_path: Path) -> None:
    live(engine)
    with any_redis_server(tmp_path) as port:
        service.probe._redis = until_ready(f"redis://127.0.0.1:{port}")
        assert health()["status"] == "UP"
        service.probe._redis.config_set("maxmemory", 1)
        problem = only(health(), "broker")
    assert "out of memory" in problem["what"] and "maxmemory" in problem["advice"]


def test_a_redis_that_is_gone_is_degraded(engine: Engine, health: Ask, service: Service, redis_server: Any) -> None:
    live(engine)
    service.probe._redis = client_of(redis_server)
    redis_server.stop()
    assert "cannot be reached" in only(health(), "broker")["what"]


def test_a_redis_that_stands_still_is_degraded(
    engine: Engine, health: Ask, service: Service, redis_server: Any
) -> None:
    live(engine)
    service.probe._redis = client_of(redis_server)
    with started(service.prober):
        _well(health)
        with frozen(redis_server.process.pid):
            only(seen(health, "broker"), "broker")
        _well(health)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop a process and its children, until the block ends."""
    process = psutil.Process(pid)
    stopped = [process, *process.children(recursive=True)]
    for each in stopped:
        each.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for each in stopped:
            with suppress(psutil.NoSuchProcess):  # A process of Postgres that was ending has ended.
                each.send_signal(signal.SIGCONT)


def test_a_postgres_that_stands_still_is_down_and_answered(tmp_path: Path) -> None:
    with QuickPostgres(tmp_path) as server:
        engine = connect(new_database(server.url), connections=2)
        live(engine)
        with started(Probe(engine, TakesAnything()).prober()) as prober:  # type: ignore[arg-type]
            assert prober.troubles() == []
            assert server.process is not None
            with frozen(server.process.pid):
                deadline = time.monotonic() + SEEN_WITHIN_S
                while not (found := prober.troubles()):
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
                began = time.monotonic()
                prober.troubles()
                assert time.monotonic() - began < ANSWERED_WITHIN_S
            assert found[0].severity is Severity.DOWN
            assert found[0].part in ("database", "append")
            deadline = time.monotonic() + SEEN_WITHIN_S
            while prober.troubles():
                assert time.monotonic() < deadline
                time.sleep(0.1)
        engine.dispose()


def fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65536))


def test_a_full_disk_is_down_at_the_next_check(tmp_path: Path) -> None:
    needs_program("mount")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "none", str(disk)], check=False)
    if mounted.returncode != 0:
        pytest.skip("missing program: mount, as root")
    try:
        with QuickPostgres(disk) as server:
            engine = connect(new_database(server.url), connections=2)
            live(engine)
            prober = Probe(engine, TakesAnything()).prober()  # type: ignore[arg-type]
            assert prober.troubles() == []
            with pytest.raises(OSError, match="No space"):
                fill(disk / "ballast")
            found = prober.troubles()
            assert [each.part for each in found] == ["database", "disk"]
            assert (found[0].severity, found[0].what) == (Severity.DOWN, "the disk of the database is full")
            (disk / "ballast").unlink()
            assert prober.troubles() == []
            engine.dispose()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_check_that_hangs_holds_up_its_own_lane_alone() -> None:
    free = threading.Event()

    def hang() -> list[Trouble]:
        free.wait()
        return []

    trouble = Trouble(part="a", severity=Severity.DOWN, what="a hangs", advice="free it")
    quick = Trouble(part="b", severity=Severity.DEGRADED, what="b is odd", advice="mend it")
    lanes = [[Check(name="a", run=hang, hanging=trouble)], [Check(name="b", run=lambda: [quick], hanging=quick)]]
    with started(Prober(lanes, interval_s=0.01)) as prober:
        found = prober.troubles()
        assert [(each.part, each.severity) for each in found] == [("a", Severity.DOWN), ("b", Severity.DEGRADED)]
        assert found[0].what.startswith("a hangs, for ")
        free.set()
        deadline = time.monotonic() + SEEN_WITHIN_S
        while len(prober.troubles()) > 1:
            assert time.monotonic() < deadline


def test_a_check_that_fails_is_a_problem_and_goes_on() -> None:
    rounds = []

    def fail() -> list[Trouble]:
        rounds.append(1)
        raise RuntimeError("a secret")

    trouble = Trouble(part="a", severity=Severity.DEGRADED, what="a hangs", advice="free it")
    with started(Prober([[Check(name="a", run=fail, hanging=trouble)]], interval_s=0.01)) as prober:
        (found,) = prober.troubles()
        assert found.what == "the check failed: RuntimeError"
        deadline = time.monotonic() + SEEN_WITHIN_S
        while len(rounds) < 3:
            assert time.monotonic() < deadline


def test_a_process_that_stops_is_not_ready(app: Flask, engine: Engine, service: Service) -> None:
    live(engine)
    client = app.test_client()
    assert ok(client.get("/health/ready"), 200) == {"status": "UP"}
    service.prober.stop()
    assert ok(client.get("/health/ready"), 503)["status"] == "DOWN"
    assert ok(client.get("/health/live"), 200) == {"status": "UP"}


def test_a_committer_that_is_stuck_is_down(engine: Engine, health: Ask, service: Service) -> None:
    live(engine)
    service.committer.busy_since = time.monotonic() - 60
    assert "this process has been committing for 6" in only(health(), "threads", "DOWN")["what"]
    service.committer.busy_since = time.monotonic()
    assert health()["status"] == "UP"


def test_a_thread_that_fails_again_and_again_is_degraded(engine: Engine, health: Ask, service: Service) -> None:
    live(engine)
    service.doorbell.loop.failures_in_a_row = 5
    assert "doorbell" in only(health(), "threads")["what"]
    service.doorbell.loop.failures_in_a_row = 0
    assert health()["status"] == "UP"
