"""``pacioli bench``: rates and ratios, measured in one run, on servers of its own.

The *floor* writes the same rows into the same tables in the same batches as a drain, with no engine and no HTTP. What a
part reaches is given as a ratio to the floor, since the machine may be shared and noisy: compare ratios, not rates.
"""

import gc
import json
import os
import platform
import random
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import click
import requests
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, create_engine, make_url, text

from core import migrations
from core.base.db import begin, connect, reading
from core.base.ids import new_id, new_key
from core.ledger import append, drain
from core.ledger.append import Submission
from core.ledger.rules import chain
from core.ledger.rules.engine import Book, decide
from core.ledger.rules.log_row import LogRow
from core.ledger.rules.model import Balance, Draft, Kind, Outcome, Posting
from core.ledger.rules.routing import route_of
from core.ledger.store import currencies as currency_store
from core.ledger.store import log as log_store
from core.ledger.store import outcomes as outcome_store
from core.ledger.store import queues as queue_store
from ops.proving.load import Load, request, send_all
from ops.server.temporary import running

BALANCES = 10_000
HISTORY = 1_000_000
CONNECTIONS = 64
BULK = 1_000
PACE = 50
"""Requests a second, where it is a time that is measured."""


class Row(NamedTuple):
    """One line of the result. Rates are postings a second."""

    name: str
    rate: float
    against: str = ""
    ratio: float | None = None
    aim: str = ""


@click.command()
@click.option("--quick", is_flag=True, help="A tenth of the work: shows that it runs, not how fast.")
@click.option("--only", type=click.Choice(["core", "http"]), help="Leave out the other half.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def bench(quick: bool, only: str | None, as_json: bool) -> None:
    """Measure the hot paths: floor, drain, single and bulk POSTs, time to applied.

    Starts a Postgres, a Redis and the whole service of its own, in a temporary folder, and takes some minutes.
    """
    scale = 0.1 if quick else 1.0
    console = Console(stderr=True)
    rows: list[Row] = []
    gc.set_threshold(100_000, 20, 20)  # As the workers have it.
    with (
        tempfile.TemporaryDirectory(prefix="pacioli-bench-") as folder,
        running(Path(folder)) as service,
        console.status("") as status,
    ):
        measure = _Measure(service.url, service.state["database_url"], scale, status.update)
        if only != "http":
            rows += measure.core()
        if only != "core":
            rows += measure.http()
    machine = _machine()
    if as_json:
        click.echo(json.dumps({"machine": machine, "rows": [row._asdict() for row in rows]}, indent=2))
        return
    table = Table(title="pacioli bench", caption=machine)
    for column, justify in (("", "left"), ("per second", "right"), ("ratio", "right"), ("to", "left"), ("aim", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        unit = f"{row.rate:,.0f}" if row.rate >= 1000 or not row.name.startswith("time") else f"{row.rate:.1f} ms"
        table.add_row(row.name, unit, ratio, row.against, row.aim)
    Console().print(table)


class _Measure:
    """All measurements of one run. ``say`` tells what is going on."""

    def __init__(self, url: str, database_url: str, scale: float, say: Callable[[str], None]) -> None:
        self.url, self.database_url, self.scale, self.say = url, database_url, scale, say
        self.random = random.Random(1)

    # Without HTTP: a database of its own for each, so that none finds the other's rows in its way.

    def core(self) -> Iterator[Row]:
        rows = int(100_000 * self.scale)
        self.say(f"floor: {rows:,} rows")
        with self._database() as (engine, refs):
            drafts = self._drafts(refs, rows)
            appended = _append(engine, drafts)
            floor = _floor(engine, rows)
        yield Row("append", rows / appended)
        yield Row("floor", rows / floor)
        floor_rate = rows / floor
        self.say(f"drain: {rows:,} rows")
        with self._database() as (engine, refs):
            _append(engine, self._drafts(refs, rows))
            random_rate = rows / _drain(engine)
            yield Row("drain, random", random_rate, "floor", random_rate / floor_rate, "≥ 0.60")
        with self._database() as (engine, refs):
            _append(engine, self._drafts(refs, rows, hot=True))
            hot_rate = rows / _drain(engine)
            yield Row("drain, one hot source", hot_rate, "random", hot_rate / random_rate, "≥ 1")
        history = int(HISTORY * self.scale)
        self.say(f"drain on {history:,} rows of history")
        with self._database() as (engine, refs):
            _fill_history(engine, history)
            _append(engine, self._drafts(refs, rows))
            rate = rows / _drain(engine)
            yield Row(f"drain after {history:,} rows", rate, "random", rate / random_rate, "≥ 0.90")

    def _drafts(self, refs: list[tuple[int, int]], count: int, *, hot: bool = False) -> list[Draft]:
        made = []
        for _ in range(count):
            (source, route), (destination, _) = self.random.sample(refs, 2)
            if hot:
                (source, route), (destination, _) = refs[0], self.random.choice(refs[1:])
            reference = new_id("bench_")
            made.append(
                Draft(
                    row=LogRow(
                        id=new_id(""),
                        reference=reference,
                        kind=Kind.TRANSFER,
                        source=source,
                        destination=destination,
                        amount=100,
                        currency="USD",
                        precision=100,
                        description="bench",
                        allow_overdraft=True,
                    ),
                    route=route,
                )
            )
        return made

    @contextmanager
    def _database(self) -> Iterator[tuple[Engine, list[tuple[int, int]]]]:
        """A fresh database with balances: pairs of key and route."""
        name = f"bench_{time.time_ns()}"
        admin = create_engine(self.database_url, isolation_level="AUTOCOMMIT")
        with admin.connect() as conn:
            conn.execute(text(f"CREATE DATABASE {name}"))
        engine = connect(make_url(self.database_url).set(database=name).render_as_string(hide_password=False))
        migrations.upgrade(engine)
        with begin(engine) as conn:
            rows = conn.execute(
                text(
                    "INSERT INTO balances (balance_id, ledger, currency) SELECT key, 1, 'USD' "
                    "FROM unnest(CAST(:keys AS uuid[])) AS key RETURNING id, balance_id"
                ),
                {"keys": [new_key() for _ in range(BALANCES)]},
            )
            refs = [(key, route_of(f"bln_{balance_id}")) for key, balance_id in rows]
        yield engine, refs
        engine.dispose()
        with admin.connect() as conn:
            conn.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()

    # Over HTTP, against the running service.

    def http(self) -> Iterator[Row]:
        ids = self._balances()
        singles = int(20_000 * self.scale)
        self.say("warming up")
        load, _ = self._post_singles(ids, singles // 4, hot=False)
        self.say(f"GET: {singles // 2:,}, {CONNECTIONS} connections")
        alone = self._get(["/"], singles // 2)
        yield Row("HTTP alone: GET /", alone)
        created = [json.loads(body)["transaction_id"] for body in load.bodies]
        read_rate = self._get([f"/transactions/{id}" for id in created], singles // 2)
        yield Row("read by id", read_rate, "HTTP alone", read_rate / alone)
        self.say(f"single: {singles:,} POSTs, {CONNECTIONS} connections")
        _, seconds = self._post_singles(ids, singles, hot=False)
        random_rate = singles / seconds
        yield Row("single, accepted and applied", random_rate, "HTTP alone", random_rate / alone, "≥ 4,000 a second")
        _, seconds = self._post_singles(ids, singles, hot=True)
        hot_rate = singles / seconds
        yield Row("single, one hot source", hot_rate, "random", hot_rate / random_rate, "≥ 1")
        bulks = int(100 * self.scale)
        self.say(f"bulk: {bulks} of {BULK:,}")
        bulk_rate = bulks * BULK / self._post_bulks(ids, bulks, hot=False)
        yield Row(f"bulk of {BULK:,}, accepted and applied", bulk_rate, aim="≥ 15,000")
        hot_rate = bulks * BULK / self._post_bulks(ids, bulks, hot=True)
        yield Row("bulk, one hot source", hot_rate, "random", hot_rate / bulk_rate, "≥ 1")
        self.say(f"time to applied at {PACE} requests a second")
        count = max(int(750 * self.scale), 50)
        waits_ms = self._paced(ids, "/transactions?wait=5s", "APPLIED", lambda sent: sent < count)
        yield Row("time to applied, p50", statistics.median(waits_ms))
        yield Row("time to applied, p99", _p99(waits_ms), aim="< 60 ms")
        rows = int(100_000 * self.scale)
        self.say(f"funding: a run of {rows:,}")
        rate = self._funded(ids, rows, lambda over: None)
        yield Row(f"funding run of {rows:,}, posted and applied", rate, "bulk", rate / bulk_rate, "≥ 0.70")
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

    def _funded(self, ids: list[str], rows: int, meanwhile: Callable[[threading.Event], None]) -> float:
        """Rows a second of a funding run, from its POST to its end. ``meanwhile`` runs beside it, until the event."""
        lines = "".join(f"{ids[row % len(ids)]},1.00\n" for row in range(rows))
        job = {"name": "bench", "source": "@FundingPool", "currency": "USD", "allow_overdraft": True}
        parts = {
            "job": (None, json.dumps({**job, "allow_duplicates": True, "at": _in(20)}), "application/json"),
            "recipients": ("recipients.csv", f"destination,amount\n{lines}", "text/csv"),
        }
        created = requests.post(f"{self.url}/funding-jobs", files=parts, timeout=600)
        if created.status_code != 201:
            raise click.ClickException(f"the funding job was not created: {created.text}")
        path = f"{self.url}/funding-jobs/{created.json()['job_id']}"
        over = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            run = requests.post(f"{path}/run", json={}, timeout=60).json()
            beside = pool.submit(meanwhile, over)
            try:
                while run["status"] not in ("COMPLETED", "REFUSED", "CANCELLED"):
                    run = requests.get(f"{path}/runs/{run['run_id']}?wait=60s", timeout=120).json()
            finally:
                over.set()
            beside.result()
        requests.post(f"{path}/cancel", timeout=60)
        if run["rows_applied"] != rows:
            raise click.ClickException(f"expected {rows} rows applied, got {run}")
        created_at, ended_at = (datetime.fromisoformat(run[name]) for name in ("created_at", "ended_at"))
        return rows / (ended_at - created_at).total_seconds()

    def _balances(self) -> list[str]:
        """Create the balances straight in the database: they are not what is measured."""
        engine = connect(self.database_url)
        with begin(engine) as conn:
            keys = [new_key() for _ in range(BALANCES)]
            conn.execute(
                text(
                    "INSERT INTO balances (balance_id, ledger, currency) SELECT key, 1, 'USD' "
                    "FROM unnest(CAST(:keys AS uuid[])) AS key"
                ),
                {"keys": keys},
            )
            currency_store.fix_precision(conn, "USD", 100)
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

    def _get(self, paths: list[str], count: int) -> float:
        """GETs a second."""
        requests_ = iter([request(self.url, "GET", paths[n % len(paths)]) for n in range(count)])
        load = send_all(self.url, lambda: next(requests_, None), connections=CONNECTIONS)
        if load.statuses != {200: count}:
            raise click.ClickException(f"expected {count} answers 200 from {paths[0]}, got {load.statuses}")
        return count / load.seconds

    def _post_singles(self, ids: list[str], count: int, *, hot: bool) -> tuple[Load, float]:
        """The answers, and the seconds until all were accepted and applied."""
        return self._posted("/transactions", [self._item(ids, hot=hot) for _ in range(count)], CONNECTIONS)

    def _post_bulks(self, ids: list[str], count: int, *, hot: bool) -> float:
        items = [",".join(self._item(ids, hot=hot) for _ in range(BULK)) for _ in range(count)]
        return self._posted("/transactions/bulk", [f'{{"transactions":[{each}]}}' for each in items], 4)[1]

    def _posted(self, path: str, bodies: list[str], connections: int) -> tuple[Load, float]:
        posts = iter([request(self.url, "POST", path, body.encode()) for body in bodies])
        started = time.perf_counter()
        load = send_all(self.url, lambda: next(posts, None), connections=connections)
        if load.statuses != {201: len(bodies)}:
            raise click.ClickException(f"expected {len(bodies)} answers 201 from {path}, got {load.statuses}")
        while any(queue["depth"] for queue in requests.get(f"{self.url}/queues", timeout=60).json()):
            if time.perf_counter() - started > 600:
                raise click.ClickException("the postings are not decided after ten minutes: is a worker running?")
            time.sleep(0.01)
        return load, time.perf_counter() - started

    def _paced(self, ids: list[str], path: str, status: str, more: Callable[[int], bool]) -> list[float]:
        """Milliseconds that each POST takes, in order of size, at an even pace, while ``more(sent)``."""
        session = requests.Session()
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=20))

        def submit(body: bytes) -> float:
            started = time.perf_counter()
            answer = session.post(f"{self.url}{path}", body, headers={"Content-Type": "application/json"}, timeout=10)
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


def _p99(waits_ms: list[float]) -> float:
    return waits_ms[int(len(waits_ms) * 0.99)]


def _in(minutes: int) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()


def _append(engine: Engine, drafts: list[Draft]) -> float:
    """Seconds to append, in commits of a thousand."""
    started = time.perf_counter()
    for first in range(0, len(drafts), BULK):
        with begin(engine) as conn:
            append.append(conn, [Submission(drafts[first : first + BULK])])
    return time.perf_counter() - started


def _drain(engine: Engine) -> float:
    """Seconds to drain every queue, one after the other, on one connection."""
    with reading(engine) as conn:
        queues = list(queue_store.cursors(conn))
    started = time.perf_counter()
    for queue in queues:
        drain.drain(engine, queue)
    return time.perf_counter() - started


def _floor(engine: Engine, rows: int) -> float:
    """Seconds to write what a drain of the log writes, decided beforehand, in the same batches and commits."""
    batches = _decide_in_memory(engine)
    assert sum(len(outcomes) for _, _, outcomes, _ in batches) == rows
    started = time.perf_counter()
    for queue, postings, outcomes, balances in batches:
        with begin(engine) as conn:
            heads = {queue: chain.START}
            outcome_store.write(conn, outcomes, postings, outcome_store.clock(conn), heads)
            outcome_store.write_balances(conn, balances)
            queue_store.advance(conn, heads, outcomes[-1].seq, Counter({queue: len(outcomes)}))
    return time.perf_counter() - started


def _decide_in_memory(engine: Engine) -> list[tuple[int, list[Posting], list[Outcome], list[Balance]]]:
    with reading(engine) as conn:
        waiting = {queue: log_store.read_batch(conn, {queue: 0}, 10**9) for queue in queue_store.cursors(conn)}
        touched = {id for postings in waiting.values() for p in postings for id in (p.source, p.destination)}
    with begin(engine) as conn:
        book = Book(outcome_store.lock_balances(conn, touched), {})
    batches = []
    for queue, postings in waiting.items():
        for first in range(0, len(postings), drain.BATCH):
            batch: list[Posting] = postings[first : first + drain.BATCH]
            outcomes = []
            for posting in batch:
                outcomes.append(decide(posting, book))
                book.write(outcomes[-1])
            ids = {id for posting in batch for id in (posting.source, posting.destination)}
            batches.append((queue, batch, outcomes, [book.balances[id] for id in ids]))
    return batches


def _fill_history(engine: Engine, rows: int) -> None:
    """Rows of the past, made by the database. Their versions are far below any that a drain will write."""
    with begin(engine) as conn:
        conn.execute(text("SET LOCAL statement_timeout = 0"))
        conn.execute(
            text(
                "INSERT INTO log (seq, id, reference, kind, queue, source, destination, amount, currency, precision, "
                "description, allow_overdraft, accepted_at) "
                "SELECT n, gen_random_uuid(), 'history_' || n, 1, n % 8, 1 + n % :balances, "
                "1 + (n * 7 + 1) % :balances, 100, 'USD', 100, 'history', true, "
                "now() FROM generate_series(1, :rows) AS n WHERE 1 + n % :balances <> 1 + (n * 7 + 1) % :balances"
            ),
            {"rows": rows, "balances": BALANCES},
        )
        conn.execute(
            text(
                "INSERT INTO outcomes SELECT seq, 1, 100, source, -2 * seq, 0, destination, -2 * seq - 1, 0, NULL, NULL, "
                "now() FROM log"
            )
        )
        conn.execute(text("UPDATE queues SET cursor = :rows"), {"rows": rows})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("SET statement_timeout = 0"))
        conn.execute(text("VACUUM ANALYZE log, outcomes"))
        conn.invalidate()


def _machine() -> str:
    """What this ran on, in a line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(": ")[2] for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {model}, {memory_gib:.0f} GiB, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, Postgres 18 and load generator on the same machine"
    )
