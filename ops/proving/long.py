"""``pacioli bench --long``: what reads, appends, drains and a verification cost on a ledger with a long past."""

import json
import os
import random
import time
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, RemoteDisconnected
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import click
from sqlalchemy import Engine, text

from core import migrations
from core.base.db import connect, reading
from core.base.setting_values import chain_key
from core.ledger import drain
from core.ledger.rules.routing import route_of
from core.ledger.store import queues as queue_store
from core.ledger.store import sizes
from core.ledger.store.sizes import Disk
from core.verification import checkpoints
from core.verification.verify import Effort, verify_all
from ops.proving import core_rates, cpu, made, past, reads
from ops.proving.catching_up import Progress, caught_up
from ops.proving.cpu import metered, metered_with_ended
from ops.proving.past import Shape
from ops.proving.reads import Answer, Timing
from ops.proving.rows import BALANCES, Row
from ops.server.embedded import POSTGRES_SETTINGS, Postgres
from ops.server.keys import CHAIN_KEY_FILE, kept, new_chain_key
from ops.server.temporary import running

_LOOK_S, _IDLE = 2.0, 0.25
"""How often to look whether the service is idle, and the share of a core that it takes then."""

_MORE = 100_000
"""So many rows are appended on top of the past, and drained."""

_FILLED = "filled"
"""This file in the folder says how many rows the ledger there was filled with."""


class Found(NamedTuple):
    """The findings over a ledger with a past of so many rows."""

    rows: int
    work: list[Row]
    """The cost of a row: to fill the ledger, to append and drain more, and to verify."""
    disk: Disk
    reads: list[Timing]


def measure(folder: Path, rows: int, *, quick: bool, progress: Progress) -> Found:
    """Fill a ledger in an empty folder, and measure it: first its database alone, then the whole service on it.

    A ledger that was filled there before is measured again.

    Raises:
        click.ClickException: the ledger that was filled is not right, or it has another number of rows.
    """
    if (folder / "data").exists() and _filled(folder) != rows:
        raise click.ClickException(f"{folder} has no ledger with a past of {rows:,} rows: remove it, or name another")
    shape = Shape(rows, customers=min(100_000, max(1_000, rows // 20)))
    with _Postgres(folder / "data") as server:
        assert server.process is not None
        engine = connect(server.url)
        migrations.upgrade(engine)
        pids = {"bench": os.getpid(), "postgres": server.process.pid}
        work = [] if _filled(folder) else [_fill(engine, shape, pids, progress)]
        (folder / _FILLED).write_text(f"{rows}\n")
        work += _work(engine, shape, pids, 1_000 if quick else _MORE, progress)
        work += caught_up(engine, folder / "data", pids, progress)
        work += _verified(engine, folder, pids["postgres"], progress)  # With the sums and seals, as a service has them.
        with reading(engine) as conn:
            disk, places = sizes.disk(conn), reads.places(conn, shape)
        engine.dispose()
    times = reads.ASKED_QUICKLY if quick else reads.ASKED
    with running(folder) as service:
        client = _Client(service.url, service.headers)
        asked = reads.asked(places) | made.asked(made.make(client.call, places.customers))
        found: list[Timing] = []
        pids = service.state["pids"]
        if not quick:
            _wait_until_idle(pids, progress)
        for timing in reads.timed(asked, client.get, times, lambda name: progress(name, len(found), len(asked)), pids):
            found.append(timing)
    return Found(rows, work, disk, found)


def _filled(folder: Path) -> int:
    """Return the number of rows that the ledger in a folder was filled with; 0 when it was not, or not whole."""
    file = folder / _FILLED
    return int(file.read_text()) if file.exists() else 0


def _fill(engine: Engine, shape: Shape, pids: Mapping[str, int], progress: Progress) -> Row:
    with metered(pids) as cost:
        past.write(engine, shape, bare=True, say=lambda done, of: progress("filling, then its indexes", done, of))
    return Row.costing(f"filling {shape.rows:,} rows", shape.rows, cost)


def _work(engine: Engine, shape: Shape, pids: Mapping[str, int], more: int, progress: Progress) -> Iterator[Row]:
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


def _verified(engine: Engine, folder: Path, postgres: int, progress: Progress) -> Iterator[Row]:
    """Verify the ledger, and say so in a checkpoint, so that the service does not verify it again.

    It goes on where a run before it was killed.
    """
    effort = Effort(jobs=os.cpu_count() or 1, keep=folder / "verifying")
    with metered_with_ended(postgres) as cost:
        report = verify_all(engine, effort=effort, progress=lambda part, n, of: progress(part, n, of))
    if report.problems:
        raise click.ClickException(f"the ledger that was filled is not right: {report.problems[0]}")
    checkpoints.write(engine, report.reached, chain_key(kept(folder / "data" / CHAIN_KEY_FILE, new_chain_key)))
    yield Row.costing("verify, on all cores", report.transactions - (report.went_on_after or 0), cost)


def _wait_until_idle(pids: Mapping[str, int], progress: Progress) -> None:
    """Wait until the service has done what it does once, in the background. It takes as long as it takes."""
    before, quiet = sum(cpu.read(pids).values()), 0
    while quiet < 3:
        progress("the service does its work in the background", 0, 0)
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
            try:
                response, body = self._ask(path)
            except RemoteDisconnected:  # The connection was idle for too long.
                response, body = self._ask(path)
        except (OSError, HTTPException):
            self._connection.close()  # The next request opens it again.
            return Answer(0, False)
        return Answer(response.status, response.headers.get("Truncated") == "true" or b'"truncated":true' in body)

    def call(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Send a body as JSON, and return the status and the answer."""
        headers = self._headers | {"Content-Type": "application/json"}
        self._connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())

    def _ask(self, path: str) -> tuple[HTTPResponse, bytes]:
        self._connection.request("GET", path, headers=self._headers)
        response = self._connection.getresponse()
        return response, response.read()


_CUSTOMERS = """
    SELECT id, 'bln_' || balance_id
    FROM balances
    WHERE id >= :first
    ORDER BY id
    LIMIT :most
"""
