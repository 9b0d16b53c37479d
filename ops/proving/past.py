"""Fills an empty ledger with a long past, so that it can be measured over millions of rows.

The engine decides the rows, and the code that appends and drains writes their lines and their digests, so the ledger can be
verified like any other. It is quick because there is no index meanwhile, and because the database stores one piece of the
rows while this process makes the next.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, Engine, text

from core.base.actors import MASTER
from core.base.db import begin, driver, reading
from core.base.rows import copy_text
from core.ledger.rules import chain
from core.ledger.rules.engine import Book, decide
from core.ledger.rules.log_row import DIGEST_VERSION, LogRow, text_of_new
from core.ledger.rules.model import COMMIT_INFLIGHT, HOLD, TRANSFER, Balance, Posting
from core.ledger.rules.routing import queue_of, route_of
from core.ledger.store import log as log_store
from core.ledger.store import outcomes as outcome_store
from core.ledger.store import queues as queue_store

Say = Callable[[int, int], None]
"""A function that is told how many rows there are, and how many there will be."""

POOL, FEES = 1, 2
MERCHANTS = range(3, 203)
"""The keys of the named balances: the pool that most money comes from, the fees, and the merchants. Then come customers."""

BATCH = 1_000
"""The number of transactions that were sent together, where they were."""

_PIECE = 20_000
_WITHIN_S = 4 * 3600.0


class Shape(NamedTuple):
    """The size of a past."""

    rows: int
    customers: int = 100_000
    undecided: int = 0
    """So many of the last rows wait."""
    first: datetime = datetime(2024, 11, 1, tzinfo=UTC)
    last: datetime = datetime(2026, 11, 1, tzinfo=UTC)


def write(engine: Engine, shape: Shape, *, bare: bool = False, say: Say = lambda done, of: None) -> None:
    """Fill an empty ledger, as its owner. With ``bare`` there is no index meanwhile, which is quicker for millions."""
    with begin(engine) as conn:
        conn.execute(text("INSERT INTO currencies VALUES ('USD', 100) ON CONFLICT DO NOTHING"))
        conn.execute(text(_BALANCES), {"customers": shape.customers, "at": shape.first})
        ids = conn.execute(text("SELECT id, 'bln_' || balance_id FROM balances ORDER BY id")).all()
        queues = len(queue_store.cursors(conn))
    dropped = _drop_indexes(engine) if bare else []
    past = _Past(shape, {key: queue_of(route_of(balance_id), queues) for key, balance_id in ids})
    with ThreadPoolExecutor(1) as storing:
        stored: Future[None] | None = None
        while past.seq < shape.rows:
            piece = past.piece()
            if stored is not None:
                stored.result()
            stored = storing.submit(_store, engine, piece)
            say(past.seq, shape.rows)
        if stored is not None:
            stored.result()
    with begin(engine, within_s=_WITHIN_S) as conn:
        conn.execute(text("SET LOCAL statement_timeout = 0"))
        copy_text(conn, "holds", "seq, amount, committed, voided, settled_at, source, destination", past.holds())
        outcome_store.write_balances(conn, list(past.book.balances.values()))
        last = shape.rows - shape.undecided
        queue_store.advance(conn, [(queue, last, head, past.decided[queue]) for queue, head in past.heads.items()])
    with ThreadPoolExecutor(max(1, len(dropped))) as making:
        list(making.map(lambda statements: _make_indexes(engine, statements), dropped))
    with reading(engine, within_s=_WITHIN_S) as conn:
        conn.execute(text("SET statement_timeout = 0"))
        conn.execute(text("VACUUM ANALYZE"))
        conn.invalidate()


class _Piece(NamedTuple):
    """The lines of some rows of the log, and of their outcomes."""

    log: list[bytes]
    outcomes: list[str]


def _store(engine: Engine, piece: _Piece) -> None:
    with begin(engine, within_s=_WITHIN_S) as conn:
        conn.execute(text("SET LOCAL statement_timeout = 0"))
        conn.execute(text("SET LOCAL synchronous_commit = off"))
        log_store.append(conn, piece.log)
        copy_text(conn, "outcomes", outcome_store.OUTCOME, piece.outcomes)


class _Past:
    """Makes the rows of a past, piece by piece. ``queues`` has the queue of each balance."""

    def __init__(self, shape: Shape, queues: dict[int, int]) -> None:
        self.shape, self.queues = shape, queues
        self.random = random.Random(15)
        self.seq, self.digest = 0, chain.START
        self.book = Book({key: Balance(key, 0, 0, 0, 0, 1, 0) for key in queues}, {})
        self.heads = dict.fromkeys(set(queues.values()), chain.START)
        self.decided: Counter[int] = Counter()
        self.step = (shape.last - shape.first) / shape.rows
        self.open: list[tuple[int, int, int, str]] = []
        """The holds that are open: seq, source, destination and ID."""
        self.settled: dict[int, datetime] = {}
        self.sides: dict[int, str] = {}
        """The balances of holds, as COPY takes them."""
        self.left = 0
        """So many more belong to the batch."""
        self.parent: str | None = None
        self.request = ""
        """The request that brought the row."""

    def holds(self) -> Iterator[str]:
        """Yield the lines of all holds."""
        for seq, amount, committed, voided in self.book.holds.values():
            at = self.settled[seq].isoformat() if seq in self.settled else r"\N"
            yield f"{seq}\t{amount}\t{committed}\t{voided}\t{at}\t{self.sides[seq]}"

    def piece(self) -> _Piece:
        """Make the next rows."""
        log: list[bytes] = []
        outcomes: list[str] = []
        shape, book, queues, heads, digest = self.shape, self.book, self.queues, self.heads, self.digest
        decided_up_to = shape.rows - shape.undecided
        for seq in range(self.seq + 1, min(self.seq + _PIECE, shape.rows) + 1):
            at = shape.first + self.step * seq
            row = self._row(seq, at)
            line = text_of_new(row)
            digest = chain.digest(digest, chain.leaf_of_text(DIGEST_VERSION, line))
            log.append(log_store.line_of(line, digest))
            if seq > decided_up_to:
                continue
            source, destination = row.source, row.destination
            assert source is not None and destination is not None
            queue = queues[source]
            posting = Posting(
                seq,
                row.kind,
                queue,
                source,
                destination,
                row.amount,
                row.allow_overdraft,
                None,
                row.hold_seq,
                None,
                None,
            )
            outcome = decide(posting, book)
            book.write(outcome)
            if row.kind == HOLD:
                self.sides[seq] = f"{source}\t{destination}"
            if row.hold_seq is not None:
                self.settled[row.hold_seq] = at
            decided = outcome_store.line_of(outcome, at.isoformat())
            heads[queue] = chain.link(heads[queue], decided)
            self.decided[queue] += 1
            outcomes.append(f"{decided}\t\\\\x{heads[queue].hex()}")
        self.seq, self.digest = seq, digest
        return _Piece(log, outcomes)

    def _row(self, seq: int, at: datetime) -> LogRow:
        """Make a row: a third are of batches, some are holds or settle one, and a few are rejected."""
        roll, some, customers, base = self.random.random, self.random.randrange, self.shape.customers, MERCHANTS.stop
        key = f"{(int(at.timestamp() * 1000) << 80) | (0x7 << 76) | (0x8 << 60) | seq:032x}"
        id = f"{key[:8]}-{key[8:12]}-{key[12:16]}-{key[16:20]}-{key[20:]}"
        kind, hold, amount, overdraft, effective, meta = TRANSFER, None, 100 + some(100_000), True, None, None
        chance = roll()
        if not self.left and chance < 0.0005:
            self.left, self.parent, self.request = BATCH, f"bulk_{id}", id
        parent = self.parent
        source, destination = POOL, base + some(customers)
        if self.left:
            self.left -= 1
        else:
            self.request, parent = id, None
            if chance >= 0.985 and self.open:
                held, source, destination, held_id = self.open.pop(some(len(self.open)))
                kind, hold, amount, parent = COMMIT_INFLIGHT, held, 0, f"txn_{held_id}"
            elif chance >= 0.97:
                kind, source, destination = HOLD, base + some(customers), MERCHANTS[some(200)]
                self.open.append((seq, source, destination, id))
            elif chance >= 0.95:
                source, destination, overdraft, amount = base + some(customers), MERCHANTS[some(200)], False, 10**12
            elif chance >= 0.9:
                source, destination = MERCHANTS[some(200)], FEES
            elif chance >= 0.6:
                source = base + some(customers)
                destination = base + (source - base + 1 + some(customers - 1)) % customers
            elif chance >= 0.25:
                source, destination = base + some(customers), MERCHANTS[some(200)]
            if kind != COMMIT_INFLIGHT and chance < 0.3:
                if chance < 0.01:
                    effective = at - timedelta(days=some(30))
                elif chance < 0.04:
                    meta = f'{{"order": {seq % 100_000}, "shop": "s{seq % 500}"}}'
        return LogRow(
            seq=seq,
            id=id,
            reference=f"ref_{key[:12]}{seq:09}",
            kind=kind,
            queue=self.queues[source],
            source=source,
            destination=destination,
            amount=amount,
            currency="USD",
            precision=100,
            description=f"payment {seq % 1000}",
            allow_overdraft=overdraft,
            hold_seq=hold,
            parent=parent,
            effective_date=effective,
            meta_data=meta,
            accepted_at=at,
            request_id=self.request,
            actor=MASTER.key_id,
            part=MASTER.part,
        )


def _drop_indexes(engine: Engine) -> list[list[str]]:
    """Drop all indexes of the log and the outcomes. Returns the statements that make those of each table again."""
    found: dict[str, list[str]] = {}
    with begin(engine) as conn:
        for table, drop, make in conn.execute(text(_INDEXES)).all():
            conn.execute(text(drop))
            found.setdefault(table, []).append(make)
    return list(found.values())


def _make_indexes(engine: Engine, statements: list[str]) -> None:
    for statement in statements:
        with begin(engine, within_s=_WITHIN_S) as conn:
            _make_index(conn, statement)


def _make_index(conn: Connection, statement: str) -> None:
    driver(conn).execute("SET LOCAL statement_timeout = 0; SET LOCAL maintenance_work_mem = '1GB'")
    driver(conn).execute(statement)


_BALANCES = """
    INSERT INTO balances (balance_id, ledger, indicator, currency, created_at)
    SELECT
        gen_random_uuid(),
        1,
        CASE WHEN n = 1 THEN '@FundingPool' WHEN n = 2 THEN '@Fees' WHEN n <= 202 THEN '@Merchant' || n END,
        'USD',
        :at - (202 + :customers - n) * interval '1 second'
    FROM generate_series(1, 202 + :customers) AS n
    ORDER BY n
"""

_INDEXES = """
    SELECT
        t.relname,
        CASE
            WHEN c.oid IS NULL THEN format('DROP INDEX %I', i.relname)
            ELSE format('ALTER TABLE %I DROP CONSTRAINT %I', t.relname, c.conname)
        END,
        CASE
            WHEN c.oid IS NULL THEN pg_get_indexdef(i.oid)
            ELSE format(
                'ALTER TABLE %I ADD CONSTRAINT %I %s %s', t.relname, c.conname, pg_get_constraintdef(c.oid),
                'WITH (' || array_to_string(i.reloptions, ', ') || ')'
            )
        END
    FROM pg_index AS x
    JOIN pg_class AS i ON i.oid = x.indexrelid
    JOIN pg_class AS t ON t.oid = x.indrelid
    LEFT JOIN pg_constraint AS c ON c.conindid = i.oid AND c.contype IN ('p', 'u')
    WHERE t.oid IN (to_regclass('log'), to_regclass('outcomes'))
    ORDER BY i.relname
"""
