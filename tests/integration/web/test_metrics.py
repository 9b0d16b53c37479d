"""``/metrics``: each figure moves when the thing happens, in one process and in several."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from sqlalchemy import Engine, text

from core.base.db import begin, connect
from core.doors import metrics
from core.ledger.store import queues as queue_store
from core.notary.notary import Notary
from core.notary.seals import keypair
from core.upkeep import heartbeats
from core.upkeep.heartbeats import State
from tests.harness.api import Api, close, ok
from tests.harness.keys import KEY
from tests.harness.pages import ROOT
from tests.harness.probing import live
from tests.harness.scraping import Scrape, grown
from web.accept.doorbell import Doorbell
from web.app import create_app
from web.probing.ledger_metrics import LedgerCollector
from web.probing.own import Own
from web.service import Service

Grown = Callable[..., float]


@pytest.fixture
def scrape(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Scrape]:
    monkeypatch.setattr("web.probing.ledger_metrics.KEPT_S", 0)
    monkeypatch.setattr("web.probing.ledger_metrics.WITHIN_S", 30)
    monkeypatch.setattr("web.probing.ledger_metrics.SUMS_KEPT_S", 0)
    monkeypatch.setattr("web.probing.ledger_metrics.SUMS_SHARE", 0)
    monkeypatch.setattr("web.probing.ledger_metrics.SUMS_WAIT_S", 30)

    def read() -> Scrape:
        response = app.test_client().get("/metrics")
        assert response.status_code == 200
        return Scrape(response.text)

    return read


@pytest.fixture
def more(scrape: Callable[[], Scrape]) -> Grown:
    """How much a counter has grown since the test began."""
    return partial(grown, scrape, scrape())


def test_what_is_accepted_waits_and_is_decided_is_counted(api: Api, scrape: Callable[[], Scrape], more: Grown) -> None:
    ok(api.post(), 201)
    waiting = scrape()
    assert waiting.value("pacioli_accepted_total") == 1
    assert waiting.value("pacioli_queue_depth") == 1
    assert waiting.value("pacioli_queue_oldest_age_seconds") > 0
    assert more("pacioli_append_rows_count") == more("pacioli_append_rows_sum") == 1
    assert more("pacioli_append_duration_seconds_count") == 1
    api.drain()
    assert more("pacioli_decided_total", status="APPLIED", reason="") == 1
    assert more("pacioli_drain_rows_sum") == more("pacioli_drain_duration_seconds_count") == 1
    drained = scrape()
    assert (drained.value("pacioli_queue_depth"), drained.value("pacioli_queue_oldest_age_seconds")) == (0, 0)
    assert drained.value("pacioli_queue_decided_total") == 1


def test_a_rejection_is_counted_by_its_reason(api: Api, more: Grown) -> None:
    ok(api.post(source="@A", destination="@B", allow_overdraft=None), 201)
    api.drain()
    assert more("pacioli_decided_total", status="REJECTED") == 1
    assert more("pacioli_decided_total", status="REJECTED", reason="INSUFFICIENT_FUNDS") == 1


def test_holds_are_counted_open_and_overdue(api: Api, engine: Engine, scrape: Callable[[], Scrape]) -> None:
    ok(api.post(inflight=True, inflight_expiry_date="2099-01-01T00:00:00Z"), 201)
    api.drain()
    assert (scrape().value("pacioli_holds_open"), scrape().value("pacioli_holds_overdue")) == (1, 0)
    with begin(engine) as conn:
        conn.execute(text("UPDATE due SET at = clock_timestamp() - interval '1 minute'"))
    assert scrape().value("pacioli_holds_overdue") == 1


def test_the_sum_of_all_balances_is_zero_and_seen_when_it_is_not(
    api: Api, engine: Engine, scrape: Callable[[], Scrape]
) -> None:
    api.done(currency="USD")
    api.done(currency="EUR")
    sums = [each for each in scrape().samples if each.name == "pacioli_balance_sum"]
    assert {each.labels["currency"]: each.value for each in sums} == {"EUR": 0, "USD": 0}
    assert scrape().value("pacioli_balance_sum_age_seconds") < 60
    with begin(engine) as conn:
        conn.execute(text("SET LOCAL session_replication_role = replica"))
        conn.execute(text(_ALTER))
    assert scrape().value("pacioli_balance_sum", currency="USD") == 5


def test_a_scrape_does_not_wait_for_new_sums(
    api: Api, engine: Engine, monkeypatch: pytest.MonkeyPatch, scrape: Callable[[], Scrape]
) -> None:
    api.done()
    assert scrape().value("pacioli_balance_sum", currency="USD") == 0
    monkeypatch.setattr("web.probing.ledger_metrics.SUMS_WAIT_S", 0.01)
    monkeypatch.setattr("web.probing.ledger_metrics.SUMS_WITHIN_S", 60)
    monkeypatch.setattr("web.probing.ledger_metrics.WITHIN_S", 5)
    with begin(engine) as conn:
        conn.execute(text("LOCK TABLE balances"))
        waiting = scrape()
    assert (waiting.value("pacioli_balance_sum", currency="USD"), waiting.value("pacioli_accepted_total")) == (0, 1)


_ALTER = """
    UPDATE balances
    SET balance = balance + 5, credit_balance = credit_balance + 5
    WHERE currency = 'USD' AND indicator = '@A'
"""


def test_ticks_verification_clocks_and_processes_are_told(engine: Engine, scrape: Callable[[], Scrape]) -> None:
    live(engine)
    with begin(engine) as conn:
        conn.execute(text("UPDATE heartbeats SET clock_off_s = -7"))
        conn.execute(text("UPDATE ticks SET started_at = clock_timestamp() - interval '1 hour' WHERE name = 'due'"))
        conn.execute(text("UPDATE verifications SET at = clock_timestamp() - interval '1 day', problem_count = 3"))
    found = scrape()
    assert found.value("pacioli_tick_age_seconds", tick="due") > 3599
    assert found.value("pacioli_tick_age_seconds", tick="sweep") < 600
    assert found.value("pacioli_verification_age_seconds") > 80_000
    assert found.value("pacioli_verification_problems") == 3
    assert found.value("pacioli_clock_offset_seconds", host="a") == -7
    assert found.value("pacioli_processes_alive", part="worker") == 1
    assert found.value("pacioli_processes_alive", part="beat") == 0


def test_the_notary_is_told_and_so_is_its_absence(api: Api, engine: Engine, scrape: Callable[[], Scrape]) -> None:
    def notaries(found: Scrape) -> float:
        return found.value("pacioli_processes_alive", part="notary")

    live(engine)
    before = scrape()
    assert notaries(before) == 0
    assert "pacioli_seal_age_seconds" not in before.names
    ok(api.post(), 201)
    with begin(engine) as conn:
        heartbeats.record(conn, "notary@a:1", "notary", State(pid=1, up_s=1.0))
    assert Notary(engine, keypair(bytes(32))).seal() is not None
    ok(api.post(), 201)
    found = scrape()
    assert (notaries(found), found.value("pacioli_unsealed_rows")) == (1, 1)
    assert 0 <= found.value("pacioli_seal_age_seconds") < 600
    with begin(engine) as conn:
        conn.execute(text("UPDATE heartbeats SET at = at - interval '10 minutes' WHERE part = 'notary'"))
    found = scrape()
    assert (notaries(found), found.value("pacioli_unsealed_rows")) == (0, 1)


def test_requests_are_counted_by_route_and_not_by_path(api: Api, more: Grown) -> None:
    for number in range(3):
        api.client.get(f"/transactions/txn_{number}")
    api.client.get("/nowhere")
    assert more("pacioli_http_requests_total", route="/transactions/<transaction_id>", method="GET", status="404") == 3
    assert more("pacioli_http_request_duration_seconds_count", route="/transactions/<transaction_id>") == 3
    assert more("pacioli_http_requests_total", route="none", status="404") == 1


def test_doorbells_threads_and_pools_are_told_after_a_check(app: Flask, scrape: Callable[[], Scrape]) -> None:
    service: Service = app.extensions["pacioli"]
    app.test_client().get("/health")
    more = partial(grown, scrape, scrape())
    service.doorbell.rung += 2
    service.doorbell.coalesced += 3
    service.doorbell.failed += 4
    service.committer.refused += 5
    service.committer.loop.failures += 6
    app.test_client().get("/health")
    assert more("pacioli_doorbells_rung_total") == 2
    assert more("pacioli_doorbells_coalesced_total") == 3
    assert more("pacioli_doorbells_failed_total") == 4
    assert more("pacioli_append_refused_total") == 5
    assert more("pacioli_thread_failures_total", thread="committer") == 6
    assert scrape().value("pacioli_database_connections", pool="begin", state="limit") >= 1
    app.test_client().get("/health")
    assert more("pacioli_doorbells_rung_total") == 2


def test_failures_of_threads_are_counted_once_however_many_look(app: Flask, scrape: Callable[[], Scrape]) -> None:
    service: Service = app.extensions["pacioli"]
    looks = [Own(service.engine, service.committer, service.doorbell) for _ in range(2)]
    for own in looks:
        list(own.check())
    more = partial(grown, scrape, scrape())
    service.committer.loop.failures += 6
    for own in looks:
        list(own.check())
    assert more("pacioli_thread_failures_total", thread="committer") == 6


def test_a_doorbell_that_was_lost_is_counted_by_the_sweep(
    api: Api, engine: Engine, more: Grown, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worker import tasks

    monkeypatch.setattr(tasks, "engine", lambda: engine)
    monkeypatch.setattr(tasks, "OVERDUE_S", 0.0)
    rung: list[int] = []
    monkeypatch.setattr(tasks, "ring", rung.append)
    ok(api.post(), 201)
    tasks.sweep()
    assert more("pacioli_doorbells_lost_total") == 1
    with begin(engine) as conn:  # Somebody drains it, so its bell was heard.
        queue_store.lock_heads(conn, rung, wait=True)
        tasks.sweep()
    assert more("pacioli_doorbells_lost_total") == 1 and len(rung) == 2
    api.drain()
    ok(api.post(), 201)
    monkeypatch.setattr(tasks, "OVERDUE_S", 0.0)
    tasks.sweep()
    assert len(rung) == 3


def test_funding_is_counted(more: Grown) -> None:
    metrics.count_funding(7, ["COMPLETED", "COMPLETED", "REFUSED"])
    assert more("pacioli_funding_rows_total") == 7
    assert more("pacioli_funding_runs_total", status="COMPLETED") == 2
    assert more("pacioli_funding_runs_total", status="REFUSED") == 1


def test_a_database_that_is_away_leaves_its_figures_out_and_is_counted() -> None:
    collector = LedgerCollector(connect("postgresql://nobody@127.0.0.1:1/nothing", connections=1, within_s=1.0))
    before = Scrape(metrics.text().decode()).value("pacioli_scrape_errors_total")
    assert list(collector.collect()) == []
    assert Scrape(metrics.text().decode()).value("pacioli_scrape_errors_total") == before + 1


def test_a_database_that_hangs_holds_a_scrape_up_for_a_moment(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    collector = LedgerCollector(engine)
    monkeypatch.setattr("web.probing.ledger_metrics.WITHIN_S", 0.1)
    goes_on = threading.Event()

    def hang() -> list[Any]:
        goes_on.wait(60)
        return []

    monkeypatch.setattr(collector, "_read", hang)
    began = time.monotonic()
    assert list(collector.collect()) == list(collector.collect()) == []
    assert time.monotonic() - began < 30
    goes_on.set()


def test_metrics_want_the_key_in_either_header(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Doorbell, "ring", lambda self, queues: None)
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY})
    client = app.test_client()
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert client.get("/metrics", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
    assert client.get("/metrics", headers={"X-Blnk-Key": KEY}).status_code == 200
    assert client.get("/queues", headers={"Authorization": f"Bearer {KEY}"}).status_code == 401
    close(app)


def test_names_follow_the_conventions_of_prometheus(scrape: Callable[[], Scrape], engine: Engine) -> None:
    live(engine)
    for family in scrape().families:
        assert re.fullmatch(r"pacioli(_[a-z]+)+", family.name), family.name
        assert family.documentation, family.name
        assert not re.search(r"_(ms|minutes|hours|percent|kb|mb)$", family.name)
        for sample in family.samples:
            if family.type == "counter":
                assert sample.name.endswith(("_total", "_created")), sample.name
            else:
                assert not sample.name.endswith("_total"), sample.name


WRITER = """
import sys, os, time
from core.doors import metrics as m
for _ in range(int(sys.argv[1])):
    m.RUNG.inc()
m.CONNECTIONS.labels("begin", "used").set(3)
m.APPEND_ROWS.observe(5)
if sys.argv[2] == "fork":
    if os.fork() == 0:
        m.RUNG.inc(1000)
        os._exit(0)
    os.wait()
print("written", flush=True)
sys.stdin.read()
"""


def test_several_processes_and_their_forks_are_added_up(tmp_path: Path) -> None:
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics")}
    command = [sys.executable, "-c", WRITER]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [
        subprocess.Popen([*command, str(number), how], cwd=ROOT, env=env, **pipes)
        for number, how in ((10, "fork"), (20, "alone"), (30, "alone"))
    ]
    try:
        for process in processes:
            assert process.stdout.readline() == "written\n"
        assert _told(env).value("pacioli_doorbells_rung_total") == 1060
        assert _told(env).value("pacioli_database_connections", pool="begin", state="used") == 9
    finally:
        for process in processes:
            process.communicate("")
    _told(env)  # It puts them together.
    ended = _told(env)
    assert ended.value("pacioli_append_rows_count") == 3 and ended.value("pacioli_append_rows_sum") == 15
    assert ended.value("pacioli_append_rows_bucket", le="5.0") == 3
    assert ended.value("pacioli_append_rows_bucket", le="2.0") == 0
    assert ended.value("pacioli_doorbells_rung_total") == 1060
    assert ended.value("pacioli_database_connections") == 0
    assert _told(env).value("pacioli_doorbells_rung_total") == 1060
    # One file for all who had died when the last one told, and its own.
    assert len(list((tmp_path / "metrics").glob("counter_*.db"))) == 2
    for path in (tmp_path / "metrics").glob("counter_*.db"):
        assert path.stat().st_blocks * 512 >= path.stat().st_size  # All of its room is taken from the disk.


def _told(env: dict[str, str]) -> Scrape:
    program = "import sys; from core.doors import metrics as m; sys.stdout.buffer.write(m.text())"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, check=True)
    lines = done.stdout.decode().splitlines(keepends=True)
    return Scrape("".join(line for line in lines if line.startswith(("#", "pacioli"))))


def test_a_folder_that_cannot_be_written_leaves_a_process_its_own_metrics(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = _told({**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "file" / "metrics")})
    assert found.value("pacioli_doorbells_rung_total") == 0 and "pacioli_doorbells_rung_total" in found.names


def test_the_port_of_a_worker_wants_the_key_or_is_for_this_machine_alone() -> None:
    for key, address in ((KEY, "0.0.0.0"), (None, "127.0.0.1")):
        server = metrics.serve(0, key)
        assert server is not None
        try:
            assert server.server_address[0] == address
            url = f"http://127.0.0.1:{server.server_port}/metrics"
            for headers in ({}, {"X-Blnk-Key": "wrong"}, {"Authorization": f"Bearer {KEY}x"}):
                assert requests.get(url, headers=headers, timeout=30).status_code == (401 if key else 200)
            for headers in ({"X-Blnk-Key": KEY}, {"Authorization": f"Bearer {KEY}"}):
                answer = requests.get(url, headers=headers, timeout=30)
                assert answer.status_code == 200
                assert "pacioli_decided_total" in Scrape(answer.text).names
        finally:
            server.shutdown()
            server.server_close()
