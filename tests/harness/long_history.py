"""Writes a ledger with a long past straight into its tables, so that reads can be measured over millions of rows.

What it writes is consistent enough to be read: versions, balances after each posting, holds and rejections fit together.
Its digests are not those of its rows, so it cannot be verified.
"""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Engine, text

from core.base.db import begin, copy_text, reading

Say = Callable[[str], None]

POOL, FEES = 1, 2
MERCHANTS = range(3, 203)
"""The keys of the named balances: the pool that most money comes from, the fees, and the merchants. Then come customers."""

_LOG = (
    "seq, id, reference, kind, queue, source, destination, amount, currency, precision, description, allow_overdraft, "
    "hold_seq, parent, effective_date, meta_data, digest, accepted_at, request_id, actor, part, digest_version"
)
_OUTCOMES = (
    "seq, status, amount, source, source_version, source_balance, destination, destination_version, "
    "destination_balance, reason, rejection, decided_at, hash"
)
_PIECE = 50_000
_N = r"\N"


class Shape(NamedTuple):
    """The size of a past."""

    rows: int
    customers: int = 100_000
    undecided: int = 0
    """So many of the last rows wait."""
    first: datetime = datetime(2024, 11, 1, tzinfo=UTC)
    last: datetime = datetime(2026, 11, 1, tzinfo=UTC)


def write(engine: Engine, shape: Shape, *, bare: bool = False, say: Say = lambda text: None) -> None:
    """Fill an empty ledger. With ``bare``, indexes are dropped first and made again after, which is quicker for millions."""
    dropped = _drop_indexes(engine) if bare else []
    with begin(engine) as conn:
        conn.execute(text(_BALANCES), {"customers": shape.customers, "at": shape.first})
    past = _Past(shape)
    while past.seq < shape.rows:
        log, outcomes = past.piece()
        with begin(engine, within_s=3600) as conn:
            conn.execute(text("SET LOCAL statement_timeout = 0"))
            copy_text(conn, "log", _LOG, log)
            copy_text(conn, "outcomes", _OUTCOMES, outcomes)
        say(f"{past.seq:,} rows")
    with begin(engine) as conn:
        conn.execute(text("SET LOCAL statement_timeout = 0"))
        copy_text(conn, "holds", "seq, amount, committed, voided, settled_at", past.holds.values())
        conn.execute(text(_TEMPORARY))
        copy_text(conn, "sums", "id, version, c, d, last", past.sums())
        conn.execute(text(_SUMS))
        conn.execute(text("UPDATE queues SET cursor = :cursor"), {"cursor": shape.rows - shape.undecided})
        conn.execute(text("INSERT INTO currencies VALUES ('USD', 100) ON CONFLICT DO NOTHING"))
    for statement in dropped:
        with begin(engine, within_s=3600) as conn:
            conn.execute(text("SET LOCAL statement_timeout = 0"))
            conn.execute(text("SET LOCAL maintenance_work_mem = '1GB'"))
            conn.execute(text(statement))
    with reading(engine, within_s=3600) as conn:
        conn.execute(text("SET statement_timeout = 0"))
        conn.execute(text("VACUUM ANALYZE"))
        conn.invalidate()


class _Past:
    """Makes the rows of a past, piece by piece."""

    def __init__(self, shape: Shape) -> None:
        self.shape, self.seq, self.random = shape, 0, random.Random(15)
        self.count = MERCHANTS.stop + shape.customers
        self.versions = [1] * self.count
        self.credits = [0] * self.count
        self.debits = [0] * self.count
        self.last = [0] * self.count
        self.open: list[tuple[int, int, int, int]] = []
        """Holds that are open: seq, source, destination, amount."""
        self.bulk_left, self.bulk, self.request = 0, _N, _N
        self.holds: dict[int, str] = {}
        """The lines of all holds, by seq."""
        self.step = (shape.last - shape.first) / shape.rows

    def sums(self) -> Iterator[str]:
        for key in range(1, self.count):
            yield f"{key}\t{self.versions[key]}\t{self.credits[key]}\t{self.debits[key]}\t{self.last[key]}"

    def piece(self) -> tuple[list[str], list[str]]:
        """Make the lines of the next rows: of the log, and of the outcomes."""
        log: list[str] = []
        outcomes: list[str] = []
        shape, rng = self.shape, self.random
        roll, some = rng.random, rng.randrange
        decided_up_to = shape.rows - shape.undecided
        customers = shape.customers
        base = MERCHANTS.stop
        versions, credits, debits, last = self.versions, self.credits, self.debits, self.last
        for seq in range(self.seq + 1, min(self.seq + _PIECE, shape.rows) + 1):
            moment = shape.first + self.step * seq
            at = moment.isoformat()
            ms = int(moment.timestamp() * 1000)
            key = f"{(ms << 80) | (0x7 << 76) | (0x8 << 60) | seq:032x}"
            chance = roll()
            kind, status, hold, effective, meta = 1, 1, _N, _N, _N
            source: int
            amount = 100 + some(100_000)
            if not self.bulk_left and chance < 0.0005:
                self.bulk_left = 1000
                self.bulk = f"bulk_{key[:8]}-{key[8:12]}-{key[12:16]}-{key[16:20]}-{key[20:]}"
            parent = _N
            if self.bulk_left:
                self.bulk_left -= 1
                parent = self.bulk
                source, destination = POOL, base + some(customers)
            else:
                self.request = f"{key[:8]}-{key[8:12]}-{key[12:16]}-{key[16:20]}-{key[20:]}"
                if chance < 0.25:
                    source, destination = POOL, base + some(customers)
                elif chance < 0.6:
                    source, destination = base + some(customers), MERCHANTS[some(200)]
                elif chance < 0.9:
                    source = base + some(customers)
                    destination = base + (source - base + 1 + some(customers - 1)) % customers
                elif chance < 0.95:
                    source, destination = MERCHANTS[some(200)], FEES
                elif chance < 0.97:
                    source, destination, status = base + some(customers), MERCHANTS[some(200)], 4
                elif chance < 0.985 or not self.open:
                    kind, status = 2, 2
                    source, destination = base + some(customers), MERCHANTS[some(200)]
                else:
                    kind = 3
                    held, source, destination, amount = self.open.pop(some(len(self.open)))
                    hold = str(held)
                    parent = "txn_" + self.request
                if roll() < 0.01:
                    effective = (moment - timedelta(days=some(30))).isoformat()
                if roll() < 0.03:
                    meta = f'{{"order": {seq % 100_000}, "shop": "s{seq % 500}"}}'
            log.append(
                f"{seq}\t{key}\tref_{key[:12]}{seq:09}\t{kind}\t{source % 8}\t{source}\t{destination}\t{amount}\tUSD\t100\t"
                f"payment {seq % 1000}\tt\t{hold}\t{parent}\t{effective}\t{meta}\t\\\\x{rng.getrandbits(256):064x}\t{at}\t"
                f"{self.request}\tmaster\tweb\t2"
            )
            if seq > decided_up_to:
                continue
            if status == 4:
                why = '{"available": 0, "requested": 100, "held": 0, "short_by": 100}'
                outcomes.append(
                    f"{seq}\t4\t0\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t6\t{why}\t{at}\t\\\\x{rng.getrandbits(256):064x}"
                )
                continue
            versions[source] += 1
            versions[destination] += 1
            if status == 1:
                debits[source] += amount
                credits[destination] += amount
                last[destination] = seq
            if kind == 2:
                self.open.append((seq, source, destination, amount))
                self.holds[seq] = f"{seq}\t{amount}\t0\t0\t\\N"
            elif kind == 3:
                self.holds[int(hold)] = f"{hold}\t{amount}\t{amount}\t0\t{at}"
            outcomes.append(
                f"{seq}\t{status}\t{amount}\t{source}\t{versions[source]}\t{credits[source] - debits[source]}\t{destination}\t"
                f"{versions[destination]}\t{credits[destination] - debits[destination]}\t\\N\t\\N\t{at}\t"
                f"\\\\x{rng.getrandbits(256):064x}"
            )
        self.seq = seq
        return log, outcomes


def _drop_indexes(engine: Engine) -> list[str]:
    """Drop all indexes of the log and the outcomes, and return the statements that make them again."""
    with begin(engine) as conn:
        found = [tuple(row) for row in conn.execute(text(_INDEXES))]
        for _, drop, _ in found:
            conn.execute(text(drop))
    return [make for _, _, make in found]


_BALANCES = """
    INSERT INTO balances (balance_id, ledger, indicator, currency, created_at)
    SELECT
        gen_random_uuid(),
        1,
        CASE WHEN n = 1 THEN '@FundingPool' WHEN n = 2 THEN '@Fees' WHEN n <= 202 THEN '@Merchant' || n END,
        'USD',
        :at
    FROM generate_series(1, 202 + :customers) AS n
    ORDER BY n
"""

_TEMPORARY = """
    CREATE TEMPORARY TABLE sums (id bigint, version bigint, c numeric, d numeric, last bigint)
    ON COMMIT DROP
"""

_SUMS = """
    UPDATE balances
    SET balance = c - d,
        credit_balance = c,
        debit_balance = d,
        version = sums.version,
        last_credit_seq = last
    FROM sums
    WHERE sums.id = balances.id
"""

_INDEXES = """
    SELECT
        i.relname,
        CASE
            WHEN c.oid IS NULL THEN format('DROP INDEX %I', i.relname)
            ELSE format('ALTER TABLE %I DROP CONSTRAINT %I', t.relname, c.conname)
        END,
        CASE
            WHEN c.oid IS NULL THEN pg_get_indexdef(i.oid)
            ELSE format('ALTER TABLE %I ADD CONSTRAINT %I %s', t.relname, c.conname, pg_get_constraintdef(c.oid))
        END
    FROM pg_index AS x
    JOIN pg_class AS i ON i.oid = x.indexrelid
    JOIN pg_class AS t ON t.oid = x.indrelid
    LEFT JOIN pg_constraint AS c ON c.conindid = i.oid AND c.contype IN ('p', 'u')
    WHERE t.oid IN (to_regclass('log'), to_regclass('outcomes'))
"""
