"""``pacioli bench --long``: what reads, appends, drains and a verification cost on a ledger with a long past."""

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import click
from sqlalchemy import Engine, text

from core import migrations
from core.base.db import connect, reading
from core.ledger import drain
from core.ledger.rules.routing import route_of
from core.ledger.store import queues as queue_store
from core.ledger.store import sizes
from core.ledger.store.sizes import Disk
from core.verification.verify import Effort, verify_all
from ops.proving import core_rates, cpu, past, reads
from ops.proving.cpu import Cost, metered
from ops.proving.past import Shape
from ops.proving.reads import Answer, Timing
from ops.proving.rows import BALANCES, Row
from ops.server.embedded import POSTGRES_SETTINGS, Postgres
from ops.server.temporary import running

Progress = Callable[[str, int, int], None]
"""A function that shows what is going on, how much of it is done, and how much there is."""

_CATCHING_UP_S, _LOOK_S, _IDLE = 1_200.0, 2.0, 0.25
"""The longest time to wait for the service, how often to look, and the share of a core that an idle service takes."""

_MORE = 100_000
"""So many rows are appended on top of the past, and drained."""


class Found(NamedTuple):
    """The findings over a ledger with a past of so many rows."""

    rows: int
    work: list[Row]
    """The cost of a row: to fill the ledger, to append and drain more, and to verify."""
    disk: Disk
    reads: list[Timing]


def measure(folder: Path, rows: int, *, quick: bool, progress: Progress) -> Found:
    """Fill a ledger in an empty folder, and measure it: first its database alone, then the whole service on it.

    Raises:
        click.ClickException: the ledger that was filled is not right.
    """
    shape = Shape(rows, customers=min(100_000, max(1_000, rows // 20)))
    with _Postgres(folder / "data") as server:
        assert server.process is not None
        engine = connect(server.url)
        migrations.upgrade(engine)
        pids = {"bench": os.getpid(), "postgres": server.process.pid}
        work = list(_work(engine, shape, pids, 1_000 if quick else _MORE, progress))
        with reading(engine) as conn:
            disk, places = sizes.disk(conn), reads.places(conn, shape)
        engine.dispose()
    times = reads.ASKED_QUICKLY if quick else reads.ASKED
    names = len(reads.asked(places))
    with running(folder) as service:
        client = _Client(service.url, service.headers)
        found: list[Timing] = []
        pids = service.state["pids"]
        if not quick:
            _wait_until_idle(pids, progress)
        for timing in reads.timed(places, client.get, times, lambda name: progress(name, len(found), names), pids):
            found.append(timing)
    return Found(rows, work, disk, found)


def _work(engine: Engine, shape: Shape, pids: Mapping[str, int], more: int, progress: Progress) -> Iterator[Row]:
    with metered(pids) as cost:
        past.write(engine, shape, bare=True, say=lambda done, of: progress("filling, then its indexes", done, of))
    yield Row.costing(f"filling {shape.rows:,} rows", shape.rows, cost)
    with reading(engine) as conn:
        keys = conn.execute(text(_CUSTOMERS), {"first": past.MERCHANTS.stop, "most": BALANCES}).all()
        queues = list(queue_store.cursors(conn))
    drafts = core_rates.drafts(random.Random(1), [(key, route_of(balance_id)) for key, balance_id in keys], more)
    progress(f"appending and draining {more:,} more", 0, 1)
    with metered(pids) as cost:
        core_rates.append_all(engine, drafts)
    yield Row.costing("append on top of it", more, cost)
    with metered(pids) as cost:
        for queue in queues:
            drain.drain(engine, queue)
    yield Row.costing("drain on top of it", more, cost)
    cost = Cost()
    before = os.times()
    with metered({"postgres": pids["postgres"]}) as cost:
        report = verify_all(
            engine, effort=Effort(jobs=os.cpu_count() or 1), progress=lambda part, n, of: progress(part, n, of)
        )
    after = os.times()
    cost.by_part["bench"] = sum(after[:4]) - sum(before[:4])  # With the processes that verified and have ended.
    if report.problems:
        raise click.ClickException(f"the ledger that was filled is not right: {report.problems[0]}")
    yield Row.costing("verify, on all cores", shape.rows + more, cost)


def _wait_until_idle(pids: Mapping[str, int], progress: Progress) -> None:
    """Wait until the service has sealed and summed up the past, which it does once in the background."""
    before, quiet, ends = sum(cpu.read(pids).values()), 0, time.monotonic() + _CATCHING_UP_S
    while quiet < 3 and time.monotonic() < ends:
        progress("the service catches up", 0, 0)
        time.sleep(_LOOK_S)
        spent = sum(cpu.read(pids).values())
        quiet = quiet + 1 if spent - before < _LOOK_S * _IDLE else 0
        before = spent


class _Postgres(Postgres):
    """The server while the ledger is filled. It keeps less of a journal, because the past takes the disk."""

    settings = POSTGRES_SETTINGS | {"max_wal_size": "1GB"}


class _Client:
    """One connection that stays open."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        address = urlsplit(url)
        self._connection = HTTPConnection(address.hostname or "", address.port, timeout=60)
        self._headers = dict(headers)

    def get(self, path: str) -> Answer:
        """Ask for a path. No answer within a minute has the status 0."""
        try:
            self._connection.request("GET", path, headers=self._headers)
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, HTTPException):
            self._connection.close()  # The next request opens it again.
            return Answer(0, False)
        return Answer(response.status, response.headers.get("Truncated") == "true" or b'"truncated":true' in body)


_CUSTOMERS = """
    SELECT id, 'bln_' || balance_id
    FROM balances
    WHERE id >= :first
    ORDER BY id
    LIMIT :most
"""
