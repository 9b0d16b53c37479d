"""``pacioli torture``: clients post while processes are killed at random. Then every promise is checked.

Each client repeats a request, with the same references, until it has an answer, as a careful user would. What was
acknowledged must be there afterwards, final, once.
"""

import json
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import psutil
import requests
from redis import Redis
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine

from core.base.db import connect, reading
from core.base.errors import TransientError
from core.base.ids import new_id
from core.funding import create, job_store, jobs, run_store
from core.funding.job_store import JobRow
from core.funding.requests import FundingRequest, Recipient
from core.ledger.directory import Directory
from core.ledger.store import due as due_store
from core.verification.verify import verify_all
from ops.server.temporary import Running, running

CLIENTS = 4
NAMES = [f"@t{number}" for number in range(12)]
FUNDED = 200
"""Rows of the funding job that the clients run again and again."""
FINAL = ("APPLIED", "REJECTED", "INFLIGHT", "VOID")


@dataclass
class Result:
    """The counts of a torture, and the faults that it found."""

    blows: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    repeated: int = 0
    """Requests that had to be sent more than once."""
    settled_after_s: float = 0.0
    """The time from the last blow until every acknowledged transaction was final."""
    runs: int = 0
    """The number of runs of the funding job."""
    statuses: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


@click.command()
@click.option(
    "--seconds", type=click.IntRange(min=1), default=60, show_default=True, help="How long processes are killed."
)
@click.option(
    "--seed", type=int, help="The same seed repeats the random choices. [default: a new one, which is printed]"
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def torture(seconds: int, seed: int | None, as_json: bool) -> None:
    """Kill web, worker and beat, flush and stop Redis, restart Postgres, while four clients post.

    The command starts a service of its own in a temporary folder. The exit status is 1 if an acknowledged transaction is
    lost, is there twice, or is not final.

    \b
    Examples:
      pacioli torture
      pacioli torture --seconds 600 --seed 7 --json
    """
    seed = random.randrange(2**32) if seed is None else seed
    console = Console(stderr=True)
    console.print(f"seed {seed}")
    with tempfile.TemporaryDirectory(prefix="pacioli-torture-") as folder, running(Path(folder)) as service:
        result = run(service, seconds=seconds, seed=seed, say=lambda text: console.print(text, highlight=False))
    if as_json:
        click.echo(json.dumps({"seed": seed, **vars(result)}, indent=2))
    else:
        table = Table(title="pacioli torture", show_header=False)
        for name, value in vars(result).items():
            shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Counter) else str(value)
            table.add_row(name.replace("_", " "), shown)
        Console().print(table)
    raise SystemExit(1 if result.wrong else 0)


def run(service: Running, *, seconds: float, seed: int, say: Callable[[str], None] = lambda text: None) -> Result:
    """Torture a running service for a while, and check what became of everything it acknowledged."""
    result = Result()
    stop = threading.Event()
    engine = connect(service.state["database_url"])
    job = _create_job(engine)
    clients = [_Client(service.url, random.Random(seed + number), stop, engine, job) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    _strike(service, random.Random(seed), seconds, result, say)
    last_blow = time.monotonic()
    stop.set()
    for client in clients:
        client.join()
    acknowledged = {reference: id for client in clients for reference, id in client.acknowledged.items()}
    result.acknowledged = len(acknowledged) + sum(len(client.children) for client in clients)
    result.repeated = sum(client.repeated for client in clients)
    result.wrong += [text for client in clients for text in client.wrong]
    say(f"{len(acknowledged)} acknowledged; waiting until all are final")
    engine.dispose()  # The connections that the last blow may have cut.
    _await_final(service.url, engine, max(client.last_date for client in clients), result)
    result.settled_after_s = round(time.monotonic() - last_blow, 1)
    children = {id for client in clients for id in client.children}
    _compare(service.url, acknowledged, children, {id for client in clients for id in client.expiring}, result)
    _check_runs(engine, job, {id for client in clients for id in client.runs}, result)
    report = verify_all(engine)  # Which also looks at each row of a run.
    engine.dispose()
    result.wrong += [str(problem) for problem in report.problems]
    return result


# Blows


def _strike(service: Running, dice: random.Random, seconds: float, result: Result, say: Callable[[str], None]) -> None:
    """A blow every second or so. Each kind comes once before any comes twice."""
    kinds: list[Callable[[Running, random.Random], str]] = [_kill("web"), _kill("worker"), _kill("beat")]
    kinds += [_flush_redis, _stop_redis, _restart_postgres]
    until = time.monotonic() + seconds
    waiting: list[Callable[[Running, random.Random], str]] = []
    while time.monotonic() < until:
        if not waiting:
            waiting = dice.sample(kinds, len(kinds))
        time.sleep(dice.uniform(0.3, 1.5))
        try:
            what = waiting.pop()(service, dice)
        except (psutil.Error, OSError, KeyError) as error:
            what = f"missed: {type(error).__name__}"  # It was being started again just then.
        result.blows[what] += 1
        say(what)


def _kill(part: str) -> Callable[[Running, random.Random], str]:
    def strike(service: Running, dice: random.Random) -> str:
        """The part's main process, or one of its children."""
        process = psutil.Process(service.state["pids"][part])
        dice.choice([process, *process.children(recursive=True)]).kill()
        return f"kill -9 {part}"

    return strike


def _flush_redis(service: Running, dice: random.Random) -> str:
    with suppress(Exception):
        Redis.from_url(service.state["redis_url"], socket_timeout=2).flushall()
    return "FLUSHALL"


def _stop_redis(service: Running, dice: random.Random) -> str:
    """Frozen for some seconds, which is worse than gone: connections stay open and nothing answers."""
    pid = service.state["pids"]["redis"]
    os.kill(pid, signal.SIGSTOP)
    time.sleep(dice.uniform(1, 3))
    os.kill(pid, signal.SIGCONT)
    if dice.random() < 0.5:
        os.kill(pid, signal.SIGKILL)
        return "Redis frozen, then killed"
    return "Redis frozen"


def _restart_postgres(service: Running, dice: random.Random) -> str:
    """A fast shutdown, or a crash."""
    how = dice.choice([signal.SIGINT, signal.SIGQUIT])
    os.kill(service.state["pids"]["postgres"], how)
    return "Postgres restarted" if how == signal.SIGINT else "Postgres crashed"


# Clients


class _Client(threading.Thread):
    """Posts all kinds of transactions, and repeats each request until it is answered."""

    def __init__(self, url: str, dice: random.Random, stop: threading.Event, engine: Engine, job: JobRow) -> None:
        super().__init__(daemon=True)
        self.url, self.dice, self.stopped = url, dice, stop
        self.engine, self.job = engine, job
        self.runs: list[str] = []
        """Acknowledged, of the funding job."""
        self.acknowledged: dict[str, str] = {}
        self.repeated = 0
        self.wrong: list[str] = []
        self.children: list[str] = []
        """Acknowledged by their ids alone: settlements of the legs of a split, whose references are the ledger's."""
        self.expiring: list[str] = []
        """Holds that nobody settles but their date."""
        self.last_date = datetime.now(UTC)
        """After it, all that is scheduled or expires is due."""
        self._holds: list[str] = []
        self._refundable: list[str] = []
        self._session = requests.Session()

    def run(self) -> None:
        posts = [self._single, self._single, self._single, self._hold, self._settle, self._bulk]
        posts += [self._split, self._scheduled, self._expiring, self._refund, self._fund]
        while not self.stopped.is_set():
            try:
                self.dice.choice(posts)()
            except Exception as error:
                self.wrong.append(f"client: {error!r}")
                return

    def _single(self) -> None:
        if id := self._accept(self._item(skip_queue=self.dice.random() < 0.2)):
            self._refundable.append(id)

    def _hold(self) -> None:
        if id := self._accept({**self._item(), "inflight": True, "allow_overdraft": True}):
            self._holds.append(id)

    def _settle(self) -> None:
        if not self._holds:
            return
        hold = self._holds.pop(self.dice.randrange(len(self._holds)))
        status = self.dice.choice(["commit", "void"])
        reference = new_id("ref_")
        answer = self._send("PUT", f"/transactions/inflight/{hold}", {"status": status, "reference": reference})
        if answer.status_code == 200:
            body = answer.json()
            if "destinations" in body:
                self.children += body.get("child_transactions") or [body["child_transaction"]]
            else:
                self.acknowledged[reference] = body["child_transaction"]

    def _split(self) -> None:
        """Transfers or holds, which are settled and refunded whole."""
        item = self._item(inflight=self.dice.random() < 0.5, atomic=self.dice.random() < 0.5)
        names = [name for name in NAMES if name != item["source"]]
        shares = zip(self.dice.sample(names, 3), ("25%", "33.33", "left"), strict=True)
        item["destinations"] = [{"identifier": name, "distribution": share} for name, share in shares]
        item["precise_amount"] = self.dice.randint(10_000, 20_000)
        del item["destination"]
        if id := self._accept(item):
            (self._holds if item["inflight"] else self._refundable).append(id)

    def _scheduled(self) -> None:
        self._accept(self._item(scheduled_for=self._soon()))

    def _expiring(self) -> None:
        item = self._item(inflight=True, allow_overdraft=True, inflight_expiry_date=self._soon())
        if self.dice.random() < 0.3:
            item["scheduled_for"] = self._soon()
        if id := self._accept(item):
            self.expiring.append(id)

    def _soon(self) -> str:
        at = datetime.now(UTC) + timedelta(seconds=self.dice.uniform(0, 5))
        self.last_date = max(self.last_date, at)
        return at.isoformat()

    def _refund(self) -> None:
        """Refund all of a transaction under its default reference, or one minor unit under a new one.

        A transaction that is not decided yet has nothing to refund, so a refusal is no fault.
        """
        if not self._refundable:
            return
        id = self.dice.choice(self._refundable[-50:])
        reference = new_id("ref_") if self.dice.random() < 0.5 else None
        body = {"reference": reference, "precise_amount": 1} if reference else {}
        answer = self._send("POST", f"/refund-transaction/{id}", body)
        if answer.status_code in (200, 201):
            self.acknowledged[answer.json()["reference"]] = answer.json()["transaction_id"]
        elif answer.status_code not in (400, 404, 409):
            self.wrong.append(f"refund: {answer.status_code} {answer.text[:200]}")

    def _fund(self) -> None:
        if self.dice.random() < 0.7:
            return  # A run is as much as hundreds of the others.
        with suppress(TransientError):  # Whether it was accepted is not known, and will be seen.
            now = datetime.now(UTC)
            self.runs.append(jobs.run_now(self.engine, self.job.job_id, new_id("ref_"), now)[0].run_id)

    def _bulk(self) -> None:
        items = [self._item() for _ in range(self.dice.randint(2, 30))]
        answer = self._send("POST", "/transactions/bulk", {"transactions": items, "atomic": self.dice.random() < 0.5})
        if answer.status_code in (200, 201):
            self.acknowledged |= dict.fromkeys((item["reference"] for item in items), "")
        else:
            self.wrong.append(f"bulk: {answer.status_code} {answer.text[:200]}")

    def _item(self, **fields: Any) -> dict[str, Any]:
        source, destination = self.dice.sample(NAMES, 2)
        return {
            "precise_amount": self.dice.randint(1, 100),
            "precision": 100,
            "currency": "USD",
            "reference": new_id("ref_"),
            "description": "torture",
            "source": source,
            "destination": destination,
            "allow_overdraft": self.dice.random() < 0.5,
            **fields,
        }

    def _accept(self, item: dict[str, Any]) -> str:
        answer = self._send("POST", "/transactions", item)
        if answer.status_code in (200, 201):
            id: str = answer.json()["transaction_id"]
            self.acknowledged[item["reference"]] = id
            return id
        rejected = answer.json()["error_detail"].get("details") or {}
        if item.get("skip_queue") and "transaction_id" in rejected:
            self.acknowledged[item["reference"]] = rejected["transaction_id"]
        else:
            self.wrong.append(f"single: {answer.status_code} {answer.text[:200]}")
        return ""

    def _send(self, method: str, path: str, body: dict[str, Any]) -> requests.Response:
        """Until it is answered. A 503 says that it is not known whether it was accepted, like no answer at all."""
        for attempt in range(1000):
            with suppress(requests.RequestException):
                answer = self._session.request(method, self.url + path, json=body, timeout=20)
                if answer.status_code != 503:
                    return answer
            self.repeated += attempt == 0
            time.sleep(0.1)
        raise TimeoutError(f"no answer from {path}")


# The funding job


def _create_job(engine: Engine) -> JobRow:
    recipients = [Recipient(destination=NAMES[row % len(NAMES)], precise_amount=1) for row in range(FUNDED)]
    request = FundingRequest(
        name="torture",
        source="@FundingPool",
        currency="USD",
        precision=Decimal(100),
        allow_overdraft=True,
        allow_duplicates=True,
        recipients=recipients,
    )
    return create.create_job(engine, request, None, Directory(engine), datetime.now(UTC)).job


def _check_runs(engine: Engine, job: JobRow, acknowledged: set[str], result: Result) -> None:
    """Every run that was acknowledged is there, and each is posted whole."""
    with reading(engine) as conn:
        runs = run_store.list_runs(conn, job.id, limit=1_000_000, after=None)
    result.runs = len(runs)
    result.wrong += [f"lost: {run}" for run in acknowledged - {run.run_id for run in runs}]
    result.wrong += [
        f"{run.run_id} is {run.status} with {run.posted} rows"
        for run in runs
        if (run.status, run.posted) != ("COMPLETED", FUNDED)
    ]


# Afterwards


def _await_final(url: str, engine: Engine, last_date: datetime, result: Result) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(requests.RequestException, KeyError, TransientError), reading(engine) as conn:
            now = datetime.now(UTC)
            (job,) = job_store.list_jobs(conn, limit=1, after=None, status=None)
            waiting = now < last_date or any(due_store.waiting(conn, now)) or job.unfinished
            # In this order: what is due no more is in a queue, until it is decided.
            if not waiting and not _is_anything_queued(url):
                return
        time.sleep(0.1)
    result.wrong.append("a minute after the last blow some queues are not empty, or something due is not accepted")


def _is_anything_queued(url: str) -> bool:
    """Whether a queue has something to decide.

    Raises:
        requests.RequestException: there is no answer, or one that says why not, which a restart of Postgres brings about.
    """
    answer = requests.get(f"{url}/queues", timeout=5)
    answer.raise_for_status()
    return any(queue["depth"] for queue in answer.json())


def _page(url: str, after: int) -> list[dict[str, Any]]:
    """The next of the log, asked for again where the answer is 503: a web process may not have met the new Postgres."""
    for _ in range(10):
        answer = requests.get(f"{url}/transactions?sort_order=asc&limit=1000&after={after}", timeout=30)
        if answer.status_code != 503:
            break
        time.sleep(0.1)
    if answer.status_code != 200:
        raise click.ClickException(f"GET /transactions: {answer.text}")
    rows: list[dict[str, Any]] = answer.json()
    return rows


def _compare(url: str, acknowledged: dict[str, str], children: set[str], expiring: set[str], result: Result) -> None:
    """Walk the whole log over HTTP: everything acknowledged is there once, under the id that was given, and final."""
    found: Counter[str] = Counter()
    lost = set(children)
    after = 0
    while True:
        page = _page(url, after)
        if not page:
            break
        for row in page:
            found[row["reference"]] += 1
            result.statuses[row["status"]] += 1
            given = acknowledged.get(row["reference"])
            if given and given != row["transaction_id"]:
                result.wrong.append(f"{row['reference']} was acknowledged as {given} and is {row['transaction_id']}")
            lost.discard(row["transaction_id"])
            if row["status"] not in FINAL or (row["transaction_id"] in expiring and row["status"] != "VOID"):
                result.wrong.append(f"{row['transaction_id']} is {row['status']}")
        after = page[-1]["sequence"]
    lost |= {reference for reference in acknowledged if found[reference] == 0}
    twice = [reference for reference, count in found.items() if count > 1]
    result.wrong += [f"lost: {reference}" for reference in lost] + [f"twice: {reference}" for reference in twice]
