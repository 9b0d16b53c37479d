"""What the verifier reads: the whole ledger, as one snapshot. Nothing here writes or locks."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from core.base.db import array, begin, driver
from core.ledger.rules.model import Balance, Hold, Posting, Refunded
from core.ledger.store.log import HASHED
from core.ledger.store.outcomes import OUTCOME

BEFORE_ALL = -(2**63)
"""A seq before any that the log can hold, even if something is wrong with it."""

_FETCH = 5000
"""Rows that a server-side cursor hands over at a time."""


class Recorded(NamedTuple):
    """An outcome as it is stored. Nothing is taken for granted, so the numbers stay numbers."""

    seq: int
    status: int
    amount: int
    source: int | None
    source_version: int | None
    source_balance: int | None
    destination: int | None
    destination_version: int | None
    destination_balance: int | None
    reason: int | None
    rejection_json: str | None
    decided_at: datetime
    hash: bytes | None


class Logged(NamedTuple):
    """A row of the log: what its digest covers, in that order, and the digest."""

    seq: int
    id: UUID
    reference: str
    kind: int
    queue: int | None
    source: int | None
    destination: int | None
    amount: int
    currency: str
    precision: int
    description: str
    allow_overdraft: bool
    overdraft_limit: int | None
    hold_seq: int | None
    refund_of: int | None
    group_first: int | None
    group_last: int | None
    parent: str | None
    effective_date: datetime | None
    meta_data: str | None
    terms: str | None
    accepted_at: datetime
    digest: bytes | None


class HistoryRow(NamedTuple):
    """A row of the log and its outcome. One of the two may be missing, though only one of them should."""

    seq: int
    logged: Logged | None
    posting: Posting | None
    recorded: Recorded | None


class Queue(NamedTuple):
    """How far a queue is decided, by its own row."""

    cursor: int
    hash: bytes
    chained_after: int


class StoredBalance(NamedTuple):
    """A balance as it is stored."""

    name: str
    currency: str
    balance: int
    sums: Balance


class StoredHold(NamedTuple):
    """A hold as it is stored."""

    hold: Hold
    settled_at: datetime | None


class BrokenEntry(NamedTuple):
    """An outcome that does not go on where the outcome before it, of the same balance, has ended."""

    seq: int
    balance: int
    side: str
    """``source`` or ``destination``."""
    version: int | None
    expected_version: int
    balance_after: int | None
    expected_balance: int


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A read-only transaction that sees the ledger as it is now, whatever is committed meanwhile.

    Raises:
        TransientError: as ``begin``.
    """
    frozen = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with begin(frozen) as conn:
        # Reading everything takes as long as it takes.
        conn.execute(text("SET LOCAL statement_timeout = 0"))
        yield conn


def next_seq(conn: Connection, after: int) -> int | None:
    """The lowest seq above ``after`` in the log or the outcomes; None when there is none."""
    sql = text(
        "SELECT least((SELECT min(seq) FROM log WHERE seq > :after), (SELECT min(seq) FROM outcomes WHERE seq > :after))"
    )
    seq: int | None = conn.execute(sql, {"after": after}).scalar_one()
    return seq


def last_seq(conn: Connection) -> int:
    """The highest seq of the log; 0 when it is empty."""
    seq: int = conn.execute(text("SELECT coalesce(max(seq), 0) FROM log")).scalar_one()
    return seq


def history(conn: Connection, first: int, last: int) -> list[HistoryRow]:
    """The log from ``first`` to ``last``, both included, and the outcomes of that range, in seq order."""
    rows = driver(conn).execute(
        f"SELECT {_LOGGED}, {_RECORDED} "
        "FROM (SELECT * FROM log WHERE seq BETWEEN %(first)s AND %(last)s) AS l "
        "FULL JOIN (SELECT * FROM outcomes WHERE seq BETWEEN %(first)s AND %(last)s) AS o ON o.seq = l.seq "
        "ORDER BY coalesce(l.seq, o.seq)",
        {"first": first, "last": last},
    )
    return [_history_row(row) for row in rows.fetchall()]


_LOGGED = ", ".join(f"l.{column}" for column in (*HASHED.split(", "), "digest"))
_RECORDED = ", ".join(f"o.{column}" for column in OUTCOME.split(", "))


def _history_row(row: tuple[Any, ...]) -> HistoryRow:
    width = len(Logged._fields)
    recorded = Recorded._make(row[width:]) if row[width] is not None else None
    if row[0] is None:
        return HistoryRow(row[width], None, None, recorded)
    logged = Logged._make(row[:width])
    # Of a split the queue and the sides may be missing, and no one decides it.
    posting = Posting(
        logged.seq, logged.kind, logged.queue, logged.source, logged.destination, logged.amount,  # type: ignore[arg-type]
        logged.allow_overdraft, logged.overdraft_limit, logged.hold_seq, logged.group_first, logged.group_last,
        logged.refund_of,
    )  # fmt: skip
    return HistoryRow(logged.seq, logged, posting, recorded)


def digest_at(conn: Connection, seq: int) -> bytes | None:
    """The digest of a row of the log; None when there is no row, or none in it."""
    found = driver(conn).execute("SELECT digest FROM log WHERE seq = %s", (seq,)).fetchone()
    return found[0] if found is not None else None


def hashes(conn: Connection, seqs: Collection[int]) -> dict[int, bytes | None]:
    """The hashes of some outcomes."""
    return dict(driver(conn).execute("SELECT seq, hash FROM outcomes WHERE seq = ANY(%s)", (list(seqs),)).fetchall())


def queues(conn: Connection) -> dict[int, Queue]:
    """Every queue, by its number."""
    rows = driver(conn).execute("SELECT number, cursor, hash, chained_after FROM queues ORDER BY number").fetchall()
    return {row[0]: Queue._make(row[1:]) for row in rows}


def currencies_of(conn: Connection, keys: Collection[int]) -> dict[int, str]:
    """The currencies of some balances, by their keys."""
    rows = driver(conn).execute("SELECT id, currency FROM balances WHERE id = ANY(%s::bigint[])", (array(keys),))
    return dict(rows.fetchall())


def balance_ids(conn: Connection, keys: Collection[int]) -> dict[int, UUID]:
    """The public ids, without their prefix, of some balances."""
    rows = driver(conn).execute("SELECT id, balance_id FROM balances WHERE id = ANY(%s)", (list(keys),))
    return dict(rows.fetchall())


def balances(conn: Connection) -> Iterator[StoredBalance]:
    """Every balance, oldest first."""
    rows = _stream(
        conn,
        "every_balance",
        "SELECT concat_ws(' ', 'bln_' || balance_id, indicator), currency, balance, id, credit_balance, "
        "debit_balance, inflight_credit_balance, inflight_debit_balance, version, last_credit_seq "
        "FROM balances ORDER BY id",
    )
    return (StoredBalance(row[0], row[1], row[2], Balance(*row[3:])) for row in rows)


def holds(conn: Connection) -> Iterator[StoredHold]:
    """Every hold, oldest first."""
    rows = _stream(conn, "every_hold", "SELECT seq, amount, committed, voided, settled_at FROM holds ORDER BY seq")
    return (StoredHold(Hold(*row[:4]), row[4]) for row in rows)


def refunded_seqs(conn: Connection) -> set[int]:
    """Everything that a refund in the log gives back."""
    return {seq for (seq,) in driver(conn).execute("SELECT DISTINCT refund_of FROM log WHERE refund_of IS NOT NULL")}


def refunds(conn: Connection) -> list[Refunded]:
    """How far each thing has been given back, as it is stored."""
    return [Refunded(*row) for row in driver(conn).execute("SELECT seq, amount, refunded FROM refunds ORDER BY seq")]


def broken_entries(conn: Connection, limit: int) -> list[BrokenEntry]:
    """Where the versions of a balance have a gap or a repeat, or its running balance jumps. The database sorts and compares.

    A balance begins at version 1 with nothing, and every outcome that touches it adds one.
    """
    sides = " UNION ALL ".join(
        f"SELECT {side} AS balance, '{side}' AS side, {side}_version AS version, {side}_balance::numeric AS after, "
        f"CASE status WHEN 1 THEN {sign}amount ELSE 0 END::numeric AS change, seq FROM outcomes WHERE {side} IS NOT NULL"
        for side, sign in (("source", "-"), ("destination", ""))
    )
    rows = driver(conn).execute(
        "SELECT seq, balance, side, version, expected_version, after, expected_after FROM ("
        "SELECT *, lag(version, 1, 1::bigint) OVER line + 1 AS expected_version, "
        "lag(after, 1, 0::numeric) OVER line + change AS expected_after "
        f"FROM ({sides}) AS entries WINDOW line AS (PARTITION BY balance ORDER BY version, seq)) AS run "
        "WHERE version IS DISTINCT FROM expected_version OR after IS DISTINCT FROM expected_after "
        "ORDER BY balance, version, seq LIMIT %s",
        (limit,),
    )
    return [BrokenEntry(*row) for row in rows.fetchall()]


def entries_at(conn: Connection, at: Collection[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """What a balance was after the outcome that made a version of it, for pairs of key and version, where there is one."""
    keys, versions = array(key for key, _ in at), array(version for _, version in at)
    sides = " UNION ALL ".join(
        f"SELECT {side}, {side}_version, {side}_balance FROM wanted JOIN outcomes "
        f"ON {side} = key AND {side}_version = version AND {side} IS NOT NULL"
        for side in ("source", "destination")
    )
    rows = driver(conn).execute(
        f"WITH wanted AS MATERIALIZED (SELECT * FROM unnest(%s::bigint[], %s::bigint[]) AS one (key, version)) {sides}",
        (keys, versions),
    )
    return {(key, version): after for key, version, after in rows.fetchall()}


def current(conn: Connection, keys: Collection[int]) -> list[tuple[int, str, int, int]]:
    """Some balances as they are now: key, name, version and balance."""
    return (
        driver(conn)
        .execute(
            "SELECT id, concat_ws(' ', 'bln_' || balance_id, indicator), version, balance FROM balances "
            "WHERE id = ANY(%s::bigint[]) ORDER BY id",
            (array(keys),),
        )
        .fetchall()
    )


def totals(conn: Connection) -> list[tuple[str, int, int]]:
    """What all balances of each currency add up to: balance, and inflight."""
    return (
        driver(conn)
        .execute(
            "SELECT currency, sum(balance), sum(inflight_credit_balance - inflight_debit_balance) FROM balances "
            "GROUP BY currency ORDER BY currency"
        )
        .fetchall()
    )


def due_without_transaction(conn: Connection, limit: int) -> list[str]:
    """Ids of what is to be settled at a date, and is neither a hold nor a split in the log."""
    rows = driver(conn).execute(
        "SELECT DISTINCT 'txn_' || transaction FROM due WHERE NOT EXISTS ("
        "SELECT FROM log WHERE log.id = transaction AND kind IN (2, 5)) ORDER BY 1 LIMIT %s",
        (limit,),
    )
    return [id for (id,) in rows]


def scheduled_and_accepted(conn: Connection, limit: int) -> list[tuple[str, int]]:
    """Ids of what still waits for its date, or was cancelled before it, and is in the log all the same, and where."""
    rows = driver(conn).execute(
        "SELECT DISTINCT 'txn_' || scheduled.id, seq FROM scheduled JOIN log "
        "ON log.id = scheduled.id OR log.reference = scheduled.reference ORDER BY seq LIMIT %s",
        (limit,),
    )
    return rows.fetchall()


class Misposted(NamedTuple):
    """A row of a funding run that is not what its transaction says, or the other way round."""

    run: str
    row: int | None
    """None of a transaction that no row accounts for."""
    seq: int | None
    """None of a row that has no transaction."""


def misposted(conn: Connection, limit: int) -> list[Misposted]:
    """Rows of funding runs whose transaction is missing, or differs in destination, amount, pool or run; transactions of
    runs that no row accounts for; and rows that a run has left behind it and not posted."""
    rows = driver(conn).execute(
        "SELECT 'run_' || p.run, p.row, log.seq FROM funding_postings AS p LEFT JOIN funding_runs AS r ON r.id = p.run "
        "LEFT JOIN funding_jobs AS j ON j.id = r.job LEFT JOIN funding_rows AS f ON f.list = r.list AND f.row = p.row "
        "LEFT JOIN log ON log.seq = p.seq WHERE (log.parent, log.source, log.destination, log.amount) IS DISTINCT FROM "
        "('run_' || r.id, j.source, f.destination, f.amount::numeric) UNION ALL "
        "SELECT log.parent, NULL, log.seq FROM funding_runs AS r JOIN log ON log.parent = 'run_' || r.id AND kind IN (1, 2) "
        "WHERE NOT EXISTS (SELECT FROM funding_postings AS p WHERE p.run = r.id AND p.seq = log.seq) UNION ALL "
        # Passed over: the run is behind the row, or says that all are posted.
        "SELECT 'run_' || r.id, f.row, NULL FROM funding_runs AS r JOIN funding_rows AS f ON f.list = r.list AND f.row <= "
        "CASE WHEN r.status IN ('POSTED', 'COMPLETED') THEN coalesce(r.last_row, f.row) ELSE r.posted_row END "
        "WHERE NOT EXISTS (SELECT FROM funding_postings AS p WHERE p.run = r.id AND p.row = f.row) "
        "ORDER BY 1, 2, 3 LIMIT %s",
        (limit,),
    )
    return [*map(Misposted._make, rows)]


def miscounted_runs(conn: Connection, limit: int) -> list[tuple[str, int, int]]:
    """Runs that do not say how many rows they have posted: id, what they say, and how many there are."""
    rows = driver(conn).execute(
        "SELECT 'run_' || r.id, r.posted, count(p.row) FROM funding_runs AS r LEFT JOIN funding_postings AS p "
        "ON p.run = r.id GROUP BY r.id HAVING r.posted <> count(p.row) ORDER BY 1 LIMIT %s",
        (limit,),
    )
    return rows.fetchall()


def _stream(conn: Connection, name: str, sql: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a statement through a server-side cursor, so that memory does not grow with the table."""
    with driver(conn).cursor(name) as cursor:
        cursor.itersize = _FETCH
        cursor.execute(sql)
        yield from cursor
