"""Rates over HTTP of a running service: what clients see, and what it costs the service."""

import json
import os
import random
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta

import click
import requests
from sqlalchemy import text

from core.base.db import begin, connect
from core.base.ids import new_id, new_key
from ops.proving.cpu import Cost, metered
from ops.proving.load import Load, request, send_all
from ops.proving.rows import BALANCES, BULK, Row, Say
from ops.server.parts import web_command
from ops.server.temporary import Running

CONNECTIONS = 64
PACE = 50
"""Requests a second, where it is a time that is measured."""


class HttpRates:
    """Posts to a service and waits until all is applied. ``say`` tells what is going on."""

    def __init__(self, service: Running, scale: float, say: Say) -> None:
        self.service, self.url, self.scale, self.say = service, service.url, scale, say
        self.headers = service.headers
        self.random = random.Random(1)

    def measure(self) -> Iterator[Row]:
        ids = self._balances()
        singles = int(20_000 * self.scale)
        self.say("a view that does nothing")
        floor = Row.costing("floor: POST to a view that does nothing", singles, self._trivial(singles))
        yield floor
        self.say("warming up")
        created = [json.loads(body)["transaction_id"] for body in self._singles(ids, singles // 4)[1].bodies]
        self.say(f"GET: {singles // 2:,}, {CONNECTIONS} connections")
        alone = Row.costing("HTTP alone: GET /", singles // 2, self._get(["/"], singles // 2))
        yield alone
        cost = self._get([f"/transactions/{id}" for id in created], singles // 2)
        yield Row.costing("read by id", singles // 2, cost, alone)
        self.say(f"single: {singles:,} POSTs, {CONNECTIONS} connections")
        cost, _ = self._singles(ids, singles)
        single = Row.costing("single, accepted and applied", singles, cost, floor, "≥ 4,000 a second")
        yield single
        cost, _ = self._singles(ids, singles, hot=True)
        yield Row.costing("single, one hot source", singles, cost, single, "≥ 1")
        self.say(f"single, skip_queue: {singles // 2:,} POSTs, {CONNECTIONS} connections")
        cost, _ = self._singles(ids, singles // 2, at_once=True)
        yield Row.costing("single, skip_queue", singles // 2, cost, single, "≥ 0.5")
        cost, _ = self._singles(ids, singles // 2, hot=True, at_once=True)
        yield Row.costing("single, skip_queue, one hot source", singles // 2, cost, single, "≥ 0.5")
        bulks = int(100 * self.scale)
        self.say(f"bulk: {bulks} of {BULK:,}")
        name = f"bulk of {BULK:,}, accepted and applied"
        bulk = Row.costing(name, bulks * BULK, self._bulks(ids, bulks), aim="≥ 15,000")
        yield bulk
        yield Row.costing("bulk, one hot source", bulks * BULK, self._bulks(ids, bulks, hot=True), bulk, "≥ 1")
        cost = self._bulks(ids, bulks, at_once=True)
        yield Row.costing("bulk, skip_queue", bulks * BULK, cost, bulk, "≥ 0.8")
        self.say(f"time to applied at {PACE} requests a second")
        count = max(int(750 * self.scale), 50)
        waits_ms = self._paced(ids, "/transactions?wait=5s", "APPLIED", lambda sent: sent < count)
        yield Row("time to applied, p50", statistics.median(waits_ms))
        yield Row("time to applied, p99", _p99(waits_ms), aim="< 60 ms")
        rows = int(100_000 * self.scale)
        self.say(f"funding: a run of {rows:,}")
        cost = self._funded(ids, rows, lambda over: None)
        yield Row.costing(f"funding run of {rows:,}, posted and applied", rows, cost, bulk, "≥ 0.70")
        self.say(f"time to 201 at {PACE} requests a second, alone and beside a funding run of {rows:,}")
        usual_ms = _p99(self._paced(ids, "/transactions", "QUEUED", lambda sent: sent < count))
        beside_ms: list[float] = []
        self._funded(
            ids,
            rows,
            lambda over: beside_ms.extend(self._paced(ids, "/transactions", "QUEUED", lambda sent: not over.is_set())),
        )
        yield Row("time to 201, p99", usual_ms)
        yield Row("time to 201 beside a funding run, p99", _p99(beside_ms), "alone", _p99(beside_ms) / usual_ms, "≤ 2")

    def _metered(self) -> AbstractContextManager[Cost]:
        return metered(self.service.state["pids"])

    def _trivial(self, count: int) -> Cost:
        """POSTs to a view that does nothing, on a server with the options of the web server."""
        with _floor_server() as (url, pid), metered({"web": pid}) as cost:
            body = self._item(["bln_a", "bln_b"], hot=False).encode()
            load = send_all(url, [request(url, "POST", "/", {}, body)] * count, connections=CONNECTIONS)
        _expect(load, 201, count, "/")
        return cost

    def _funded(self, ids: list[str], rows: int, meanwhile: Callable[[threading.Event], None]) -> Cost:
        """A funding run, from its POST to its end. ``meanwhile`` runs beside it, until the event."""
        lines = "".join(f"{ids[row % len(ids)]},1.00\n" for row in range(rows))
        job = {"name": "bench", "source": "@FundingPool", "currency": "USD", "allow_overdraft": True}
        parts = {
            "job": (None, json.dumps({**job, "allow_duplicates": True, "at": _in(20)}), "application/json"),
            "recipients": ("recipients.csv", f"destination,amount\n{lines}", "text/csv"),
        }
        created = requests.post(f"{self.url}/funding-jobs", files=parts, headers=self.headers, timeout=600)
        if created.status_code != 201:
            raise click.ClickException(f"the funding job was not created: {created.text}")
        path = f"{self.url}/funding-jobs/{created.json()['job_id']}"
        over = threading.Event()
        with ThreadPoolExecutor(1) as pool, self._metered() as cost:
            run = requests.post(f"{path}/run", json={}, headers=self.headers, timeout=60).json()
            beside = pool.submit(meanwhile, over)
            try:
                while run["status"] not in ("COMPLETED", "REFUSED", "CANCELLED"):
                    run = requests.get(
                        f"{path}/runs/{run['run_id']}?wait=60s", headers=self.headers, timeout=120
                    ).json()
            finally:
                over.set()
            beside.result()
        requests.post(f"{path}/cancel", headers=self.headers, timeout=60)
        if run["rows_applied"] != rows:
            raise click.ClickException(f"expected {rows} rows applied, got {run}")
        created_at, ended_at = (datetime.fromisoformat(run[name]) for name in ("created_at", "ended_at"))
        cost.seconds = (ended_at - created_at).total_seconds()
        return cost

    def _balances(self) -> list[str]:
        """Create the balances straight in the database: they are not what is measured."""
        engine = connect(self.service.state["database_url"])
        with begin(engine) as conn:
            keys = [new_key() for _ in range(BALANCES)]
            conn.execute(
                text(
                    "INSERT INTO balances (balance_id, ledger, currency) SELECT key, 1, 'USD' "
                    "FROM unnest(CAST(:keys AS uuid[])) AS key"
                ),
                {"keys": keys},
            )
            conn.execute(
                text("INSERT INTO currencies (currency, precision) VALUES ('USD', 100) ON CONFLICT DO NOTHING")
            )
        engine.dispose()
        return [f"bln_{key}" for key in keys]

    def _item(self, ids: list[str], *, hot: bool) -> str:
        source, destination = self.random.sample(ids, 2)
        if hot:
            source, destination = ids[0], self.random.choice(ids[1:])
        return (
            f'{{"precise_amount":100,"precision":100,"currency":"USD","reference":"{new_id("b_")}",'
            f'"source":"{source}","destination":"{destination}","description":"bench","allow_overdraft":true}}'
        )

    def _get(self, paths: list[str], count: int) -> Cost:
        asked = [request(self.url, "GET", paths[n % len(paths)], self.headers) for n in range(count)]
        with self._metered() as cost:
            load = send_all(self.url, asked, connections=CONNECTIONS)
        _expect(load, 200, count, paths[0])
        return cost

    def _singles(self, ids: list[str], count: int, *, hot: bool = False, at_once: bool = False) -> tuple[Cost, Load]:
        bodies = [_with(self._item(ids, hot=hot), at_once) for _ in range(count)]
        return self._posted("/transactions", bodies, CONNECTIONS)

    def _bulks(self, ids: list[str], count: int, *, hot: bool = False, at_once: bool = False) -> Cost:
        items = [",".join(self._item(ids, hot=hot) for _ in range(BULK)) for _ in range(count)]
        bodies = [_with(f'{{"transactions":[{each}]}}', at_once) for each in items]
        return self._posted("/transactions/bulk", bodies, 4)[0]

    def _posted(self, path: str, bodies: list[str], connections: int) -> tuple[Cost, Load]:
        """Post them all, and wait until all that was accepted is applied."""
        posts = [request(self.url, "POST", path, self.headers, body.encode()) for body in bodies]
        started = time.perf_counter()
        with self._metered() as cost:
            load = send_all(self.url, posts, connections=connections)
            _expect(load, 201, len(bodies), path)
            while any(queue["depth"] for queue in self._queues()):
                if time.perf_counter() - started > 600:
                    raise click.ClickException("the postings are not decided after ten minutes: is a worker running?")
                time.sleep(0.01)
        return cost, load

    def _queues(self) -> list[dict[str, int]]:
        found: list[dict[str, int]] = requests.get(f"{self.url}/queues", headers=self.headers, timeout=60).json()
        return found

    def _paced(self, ids: list[str], path: str, status: str, more: Callable[[int], bool]) -> list[float]:
        """Milliseconds that each POST takes, in order of size, at an even pace, while ``more(sent)``."""
        session = requests.Session()
        session.headers.update({"Content-Type": "application/json", **self.headers})
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=20))

        def submit(body: bytes) -> float:
            started = time.perf_counter()
            answer = session.post(f"{self.url}{path}", body, timeout=10)
            waited = time.perf_counter() - started
            if answer.json().get("status") != status:
                raise click.ClickException(f"not {status}: {answer.text}")
            return waited * 1000

        with ThreadPoolExecutor(20) as pool:
            waits: list[Future[float]] = []
            next_at = time.perf_counter()
            while more(len(waits)):
                waits.append(pool.submit(submit, self._item(ids, hot=False).encode()))
                next_at += 1 / PACE
                time.sleep(max(0.0, next_at - time.perf_counter()))
            return sorted(wait.result() for wait in waits)


def _with(body: str, at_once: bool) -> str:
    return f'{body[:-1]},"skip_queue":true}}' if at_once else body


def _p99(waits_ms: list[float]) -> float:
    return waits_ms[int(len(waits_ms) * 0.99)]


def _in(minutes: int) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()


def _expect(load: Load, status: int, count: int, path: str) -> None:
    if load.counts != {status: count}:
        raise click.ClickException(f"expected {count} answers {status} from {path}, got {dict(load.counts)}")


@contextmanager
def _floor_server() -> Iterator[tuple[str, int]]:
    """A server of `ops.proving.floor`: its URL and process ID."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = [*web_command(listener), "--app", "ops.proving.floor:create_app"]
        process = subprocess.Popen(
            command,
            env={**os.environ, "PACIOLI_INSECURE": "on"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                requests.get(f"http://127.0.0.1:{port}", timeout=1)
                break
            except requests.RequestException:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise click.ClickException("the server of the floor did not start") from None
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(30)
