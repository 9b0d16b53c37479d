"""What the verifier reads: the whole ledger, as one snapshot. Nothing here writes or locks."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from core.model import Balance, Hold, Posting, Refunded
from core.store.db import begin, driver

BEFORE_ALL = -(2**63)
"""A seq before any that the log can hold, even if something is wrong with it."""

_FETCH = 5000
"""Rows that a server-side cursor hands over at a time."""


class Recorded(NamedTuple):
    """An outcome as it is stored. Nothing is taken for granted, so the numbers stay numbers."""

    status: int
    amount: int
    source: int | None
    destination: int | None
    reason: int | None
    rejection_json: str | None
    decided_at: datetime | None
    """Only of a commit or void."""


class HistoryRow(NamedTuple):
    """A row of the log and its outcome. One of the two may be missing, though only one of them should."""

    seq: int
    posting: Posting | None
    currency: str | None
    recorded: Recorded | None


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
        "SELECT l.seq, kind, queue, l.source, l.destination, l.amount, allow_overdraft, overdraft_limit, hold_seq, "
        "group_first, group_last, refund_of, currency, o.seq, o.status, o.amount, o.source, o.destination, reason, rejection, "
        "CASE WHEN kind IN (3, 4) THEN decided_at END "
        "FROM (SELECT * FROM log WHERE seq BETWEEN %(first)s AND %(last)s) AS l "
        "FULL JOIN (SELECT * FROM outcomes WHERE seq BETWEEN %(first)s AND %(last)s) AS o ON o.seq = l.seq "
        "ORDER BY coalesce(l.seq, o.seq)",
        {"first": first, "last": last},
    )
    return [
        HistoryRow(
            row[13] if row[0] is None else row[0],
            Posting(*row[:12]) if row[0] is not None else None,
            row[12],
            Recorded(*row[14:]) if row[13] is not None else None,
        )
        for row in rows.fetchall()
    ]


def cursors(conn: Connection) -> dict[int, int]:
    """Each queue's cursor."""
    return dict(driver(conn).execute("SELECT number, cursor FROM queues ORDER BY number").fetchall())


def currencies_of_balances(conn: Connection) -> Iterator[tuple[int, str]]:
    """Every balance's key and currency."""
    return ((key, currency) for key, currency in _stream(conn, "every_currency", "SELECT id, currency FROM balances"))


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


def undecided_refunds(conn: Connection) -> set[int]:
    """Everything that has a refund in the log without an outcome."""
    rows = driver(conn).execute(
        "SELECT DISTINCT refund_of FROM log WHERE refund_of IS NOT NULL "
        "AND NOT EXISTS (SELECT FROM outcomes WHERE outcomes.seq = log.seq)"
    )
    return {seq for (seq,) in rows}


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


def _stream(conn: Connection, name: str, sql: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a statement through a server-side cursor, so that memory does not grow with the table."""
    with driver(conn).cursor(name) as cursor:
        cursor.itersize = _FETCH
        cursor.execute(sql)
        yield from cursor
