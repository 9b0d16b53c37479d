"""Rates of the core without HTTP: append and drain, and the floors that they stand on."""

import os
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy import Engine, create_engine, make_url, text

from core import migrations
from core.base import clock
from core.base.db import begin, connect, driver, reading
from core.base.ids import new_id, new_key
from core.flows import rollups
from core.ledger import append, drain
from core.ledger.append import Submission
from core.ledger.rules import chain
from core.ledger.rules.engine import Book, decide
from core.ledger.rules.log_row import LogRow
from core.ledger.rules.model import Balance, Draft, Kind, Outcome, Posting
from core.ledger.rules.routing import route_of
from core.ledger.store import outcomes as outcome_store
from core.ledger.store import queues as queue_store
from core.ledger.store import taking
from core.verification.verify import Effort, verify_all
from ops.proving.cpu import Cost, metered, metered_with_ended
from ops.proving.rows import BALANCES, BULK, Row, Say

HISTORY = 1_000_000


class CoreRates:
    """Appends and drains in this process. Each has a database of its own, so none finds another's rows in its way."""

    def __init__(self, database_url: str, postgres_pid: int | None, scale: float, say: Say) -> None:
        self.database_url, self.scale, self.say = database_url, scale, say
        self.random = random.Random(1)
        self.pids: Mapping[str, int] = {"bench": os.getpid()}
        if postgres_pid is not None:
            self.pids = {**self.pids, "postgres": postgres_pid}

    def measure(self) -> Iterator[Row]:
        rows = int(100_000 * self.scale)
        self.say(f"floors: {rows:,} rows")
        with self._database() as (engine, refs):
            made = drafts(self.random, refs, rows)
            with self._metered() as cost:
                append_all(engine, made)
            log = _rows_of_log(engine)
            with self._metered() as alone:
                _write_log(engine, log)
            append_floor = Row.costing("floor of append: the same rows by COPY", rows, alone)
            yield append_floor
            yield Row.costing("append", rows, cost, append_floor)
            batches = _decide_in_memory(engine)
            with self._metered() as alone:
                _write_decided(engine, batches)
            drain_floor = Row.costing("floor of drain: what it writes", rows, alone)
            yield drain_floor
        self.say(f"drain: {rows:,} rows")
        at_random = Row.costing("drain, random", rows, self._drained(rows), drain_floor, "≥ 0.60")
        yield at_random
        yield Row.costing("drain, one hot source", rows, self._drained(rows, hot=True), at_random, "≥ 1")
        history = int(HISTORY * self.scale)
        self.say(f"drain on {history:,} rows of history")
        cost = self._drained(rows, history=history)
        yield Row.costing(f"drain after {history:,} rows", rows, cost, at_random, "≥ 0.90")
        self.say(f"flows of {rows:,} rows")
        yield Row.costing("flows: adding decided rows to their sums", rows, self._added_up(rows), at_random)
        self.say(f"verify of {rows:,} rows")
        yield Row.costing("verify, on all cores", rows, self._verified(rows), at_random)

    def _drained(self, rows: int, *, hot: bool = False, history: int = 0) -> Cost:
        with self._database() as (engine, refs):
            if history:
                _fill_history(engine, history)
            append_all(engine, drafts(self.random, refs, rows, hot=hot))
            with reading(engine) as conn:
                queues = list(queue_store.cursors(conn))
            with self._metered() as cost:
                for queue in queues:
                    drain.drain(engine, queue)
        return cost

    def _added_up(self, rows: int) -> Cost:
        """Add rows that are drained to the sums of flows, as the tick does beside a drain."""
        with self._database() as (engine, refs):
            self._decided(engine, refs, rows)
            with self._metered() as cost:
                rollups.add_new(engine, for_s=600)
        return cost

    def _verified(self, rows: int) -> Cost:
        """Verify rows that are drained and added to the sums of flows."""
        with self._database() as (engine, refs):
            self._decided(engine, refs, rows)
            rollups.add_new(engine, for_s=600)
            with metered_with_ended(self.pids.get("postgres")) as cost:
                report = verify_all(engine, effort=Effort(jobs=os.cpu_count() or 1))
        assert report.ok, report.problems[0]
        return cost

    def _decided(self, engine: Engine, refs: list[tuple[int, int]], rows: int) -> None:
        """Append rows, and drain them."""
        append_all(engine, drafts(self.random, refs, rows))
        with reading(engine) as conn:
            queues = list(queue_store.cursors(conn))
        for queue in queues:
            drain.drain(engine, queue)

    def _metered(self) -> AbstractContextManager[Cost]:
        return metered(self.pids)

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


def drafts(rng: random.Random, refs: list[tuple[int, int]], count: int, *, hot: bool = False) -> list[Draft]:
    """Draft transfers between balances that are drawn, or all from the first. ``refs`` are pairs of key and route."""
    made = []
    for _ in range(count):
        (source, route), (destination, _) = rng.sample(refs, 2)
        if hot:
            (source, route), (destination, _) = refs[0], rng.choice(refs[1:])
        row = LogRow(
            id=new_id(""),
            reference=new_id("bench_"),
            kind=Kind.TRANSFER,
            source=source,
            destination=destination,
            amount=100,
            currency="USD",
            precision=100,
            description="bench",
            allow_overdraft=True,
        )
        made.append(Draft(row=row, route=route))
    return made


def append_all(engine: Engine, drafts: list[Draft]) -> None:
    """Append in commits of a thousand."""
    for first in range(0, len(drafts), BULK):
        with begin(engine) as conn:
            append.append(conn, [Submission(drafts[first : first + BULK])])


def _rows_of_log(engine: Engine) -> list[bytes]:
    """The rows of the log as COPY writes them."""
    with reading(engine) as conn, driver(conn).cursor().copy("COPY (SELECT * FROM log ORDER BY seq) TO STDOUT") as rows:
        return [bytes(row) for row in rows]


def _write_log(engine: Engine, rows: list[bytes]) -> None:
    """Write rows of the log again into a table like it, in commits of a thousand, and nothing else."""
    with begin(engine) as conn:
        conn.execute(text("CREATE TABLE log_again (LIKE log INCLUDING ALL)"))
    for first in range(0, len(rows), BULK):
        with begin(engine) as conn, driver(conn).cursor().copy("COPY log_again FROM STDIN") as copy:
            copy.write(b"".join(rows[first : first + BULK]))


Batch = tuple[int, list[Posting], list[Outcome], list[Balance]]


def _write_decided(engine: Engine, batches: list[Batch]) -> None:
    """Write what a drain of the log writes, decided beforehand, in the same batches and commits."""
    for queue, postings, outcomes, balances in batches:
        with begin(engine) as conn:
            heads = {queue: chain.START}
            outcome_store.write(conn, outcomes, postings, clock.now(conn), heads)
            outcome_store.write_balances(conn, balances)
            queue_store.advance(conn, [(queue, outcomes[-1].seq, heads[queue], len(outcomes))])


def _decide_in_memory(engine: Engine) -> list[Batch]:
    with reading(engine) as conn:
        waiting = {queue: taking.take(conn, [queue], 10**9, wait=True).postings for queue in queue_store.cursors(conn)}
        touched = {id for postings in waiting.values() for p in postings for id in (p.source, p.destination)}
    with begin(engine) as conn:
        book = Book(outcome_store.lock_balances(conn, touched)[0], {})
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
    with reading(engine) as conn:
        conn.execute(text("SET statement_timeout = 0"))
        conn.execute(text("VACUUM ANALYZE log, outcomes"))
        conn.invalidate()
