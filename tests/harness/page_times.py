"""``python -m tests.harness.page_times`` prints how long the server takes for each page of the dashboard with a long history.

It fills a ledger on a server of its own, which takes a minute for a million transactions, and asks for every page in this
process, one after the other. ``--url`` takes the ledger of a database that is there already. Wall time counts, as a reader
waits for it, so the machine should have nothing else to do.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil
from sqlalchemy import Engine

from core.base.db import connect, driver, reading
from core.flows.rollups import add_new
from ops.proving.past import Shape, write
from tests.harness.databases import QuickPostgres, new_database
from tests.harness.keys import HEADERS, KEY
from web.app import create_app
from web.dashboard.nav import PAGES

ROWS, TIMES, WARM = 1_000_000, 20, 3
LIMIT_MS = 200.0

Row = tuple[str, str, dict[str, str]]
"""The name of each page here, its path, and the headers of the request."""


def pages(client: Any) -> Iterator[Row]:
    """List the pages: those of the menu, then those of one thing, searches, and what a page that is open asks for."""
    for page in PAGES:
        yield page.title, page.path, {}

    def first(path: str, **body: Any) -> Any:
        rows = client.post(path, json={"limit": 1, **body}, headers=HEADERS).json
        return rows[0] if rows else None

    pool = first("/balances/filter", sort_by="debit_balance", sort_order="desc")
    customer = first("/balances/filter", filters=[{"field": "indicator", "operator": "isnull"}])
    for what, row in (("the busiest balance", pool), ("a customer", customer)):
        if row:
            path = f"/dashboard/balances/{row['balance_id']}"
            for period in ("day", "week", "month", "all"):
                yield f"{what}, {period}", f"{path}?period={period}", {}
            yield f"transactions of {what}", f"/dashboard/transactions?balance={row['balance_id']}", {}
    for status in ("APPLIED", "REJECTED", "INFLIGHT"):
        clause = {"field": "status", "operator": "eq", "value": status}
        yield f"transactions, {status.lower()}", f"/dashboard/transactions?status={status}", {}
        if row := first("/transactions/filter", filters=[clause]):
            yield f"one transaction, {status.lower()}", f"/dashboard/transactions/{row['transaction_id']}", {}
            yield "transactions by reference", f"/dashboard/transactions?q={row['reference']}", {}
    yield "transactions by metadata", "/dashboard/transactions?meta=order=7", {}
    yield "transactions by amount", "/dashboard/transactions?least=900&most=901", {}
    yield "balances by name", "/dashboard/balances?q=Merchant1", {}
    yield "balances below zero", "/dashboard/balances?below=on&sort=balance&order=asc", {}
    for period in ("hour", "day", "week", "month"):
        yield f"money map, {period}", f"/dashboard/map?period={period}", {}
    yield "money map, all of it", "/dashboard/map?period=own&from=1990-01-01T00:00&nodes=50", {}
    for node in client.get("/flows?from=1990-01-01T00:00:00Z", headers=HEADERS).json["nodes"][:20]:
        if node["kind"] != "others" and (node["kind"] == "ledger" or node["name"].startswith("@FundingPool")):
            yield f"money map of {node['name']}, month", f"/dashboard/map/{node['id']}?period=month", {}
    for path, part in (("/dashboard", "now"), ("/dashboard", "runs"), ("/dashboard", "books"), ("/dashboard/queues", "queues"),
                       ("/dashboard/health", "health"), ("/dashboard/map", "map")):  # fmt: skip
        yield f"{path}, the part {part} alone", path, {"HX-Request": "true", "HX-Target": part}


class Took(NamedTuple):
    """The times of a page: the median and the slowest request, and the CPU time of this process and of Postgres for each."""

    page: str
    p50_ms: float
    p99_ms: float
    own_ms: float
    postgres_ms: float
    size: int


def measure(database_url: str, *, times: int = TIMES, warm: int = WARM) -> list[Took]:
    """Measure each page, after it was asked for ``warm`` times.

    The CPU time of Postgres is 0 if it is not on this machine.
    """
    app = create_app({"DATABASE_URL": database_url, "PACIOLI_SECRET_KEY": KEY})
    client = app.test_client()
    client.post("/dashboard/sign-in", data={"key": KEY})
    engine = app.extensions["pacioli"].engine
    found = []
    for name, path, headers in pages(client):
        for _ in range(warm):
            client.get(path, headers=headers)
        began_own, began_postgres = time.thread_time(), _backends_s(engine)
        took = []
        for _ in range(times):
            began = time.perf_counter()
            response = client.get(path, headers=headers)
            took.append((time.perf_counter() - began) * 1000)
            assert response.status_code == 200, (name, path, response.status_code)
        own, postgres = time.thread_time() - began_own, max(_backends_s(engine) - began_postgres, 0.0)
        each_ms = 1000 / times
        found.append(Took(name, median(took), max(took), own * each_ms, postgres * each_ms, len(response.data)))
    engine.dispose()
    return found


def _backends_s(engine: Engine) -> float:
    """Add up the CPU time of the sessions of this ledger."""
    with reading(engine) as conn:
        pids = [pid for (pid,) in driver(conn).execute(_SESSIONS)]
    total = 0.0
    for pid in pids:
        with suppress(psutil.Error):
            spent = psutil.Process(pid).cpu_times()
            total += spent.user + spent.system
    return total


_SESSIONS = """
    SELECT pid
    FROM pg_stat_activity
    WHERE datname = current_database()
"""


def fill(database_url: str, rows: int, *, customers: int = 100_000) -> None:
    """Write a past that ends now, and add it to the sums of flows."""
    engine = connect(database_url)
    now = datetime.now(UTC)
    write(engine, Shape(rows, customers, first=now - timedelta(days=730), last=now), bare=True)
    while add_new(engine, for_s=60.0):
        pass
    engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--url", help="a database that has a ledger already")
    asked = parser.parse_args()
    if asked.url:
        show(measure(asked.url))
        return
    with tempfile.TemporaryDirectory() as folder, QuickPostgres(Path(folder)) as server:
        url = new_database(server.url)
        fill(url, asked.rows)
        show(measure(url))


def show(found: list[Took]) -> None:
    """Print the table, and mark what is slower than it should be."""
    print("| page | p50 ms | p99 ms | CPU ms, web | CPU ms, Postgres | kB |\n|---|--:|--:|--:|--:|--:|")
    for each in found:
        slow = " **slow**" if each.p50_ms > LIMIT_MS else ""
        print(
            f"| {each.page}{slow} | {each.p50_ms:.0f} | {each.p99_ms:.0f} | {each.own_ms:.1f} | {each.postgres_ms:.1f} "
            f"| {each.size / 1000:.0f} |"
        )


if __name__ == "__main__":
    main()
