"""SQL that reads the history for a verification: the log, its outcomes and the queues. It writes and locks nothing."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection

from core.base.db import driver
from core.base.rows import array
from core.ledger.rules import chain
from core.ledger.rules.log_row import COLUMNS, LogRow, row_of
from core.ledger.rules.model import Posting
from core.ledger.rules.routing import MAX_QUEUES
from core.ledger.store.log import SELECTED, quick, quick_ranges
from core.ledger.store.outcomes import OUTCOME

Rows = list[tuple[Any, ...]]

BEFORE_ALL = -(2**63)
"""A seq lower than any that the log can hold, even when the log is damaged."""


class Recorded(NamedTuple):
    """An outcome as it is stored. Its numbers are not turned into enums, because they may be wrong."""

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


class HistoryRow(NamedTuple):
    """A row of the log and its outcome. An outcome without a row of the log is a problem."""

    seq: int
    logged: LogRow | None
    posting: Posting | None
    recorded: Recorded | None


class Queue(NamedTuple):
    """The row of a queue: how far the queue is decided."""

    cursor: int
    hash: bytes
    chained_after: int


# Two probes of primary keys.
_NEXT_SEQ = """
SELECT least(
    (SELECT min(seq) FROM log WHERE seq > %(after)s),
    (SELECT min(seq) FROM outcomes WHERE seq > %(after)s)
)
"""

_LAST_SEQ = """
SELECT coalesce(max(seq), 0)
FROM log
"""

_LOGGED = ", ".join(f"l.{column}" for column in SELECTED)
_RECORDED = ", ".join(f"o.{column}" for column in OUTCOME.split(", "))

# Both sides are ranges of a primary key, read in order.
_HISTORY = f"""
SELECT {_LOGGED}, {_RECORDED}
FROM (SELECT * FROM log WHERE seq BETWEEN %(first)s AND %(last)s) AS l
FULL JOIN (SELECT * FROM outcomes WHERE seq BETWEEN %(first)s AND %(last)s) AS o ON o.seq = l.seq
ORDER BY coalesce(l.seq, o.seq)
"""


_QUICK_OF_OUTCOME = {
    "amount": quick("amount"),
    "source_balance": quick("source_balance"),
    "destination_balance": quick("destination_balance"),
    "rejection": "rejection::text",
    "hash": "CASE WHEN status <> 4 OR num_nulls(source_balance, destination_balance) = 2 THEN hash END",
}

# A range of the primary key.
_QUICK_OUTCOMES = f"""
SELECT {", ".join(_QUICK_OF_OUTCOME.get(name, name) for name in OUTCOME.split(", "))}
FROM outcomes
WHERE seq BETWEEN %(first)s AND %(last)s
ORDER BY seq
"""


# One probe of log_queue_seq_idx for each queue that there may ever have been. What waits is beyond the cursor.
_HEADS_AT = """
SELECT number, head.seq, head.hash
FROM generate_series(0, %(queues)s - 1) AS number
LEFT JOIN queues USING (number)
CROSS JOIN LATERAL (
    SELECT seq, hash
    FROM log
    JOIN outcomes USING (seq)
    WHERE (queue, seq) <= (number, least(%(seq)s, cursor)) AND queue >= number
    ORDER BY queue DESC, seq DESC
    LIMIT 1
) AS head
"""


# A probe of log_queue_seq_idx for each queue that there may ever have been.
_LATE_QUEUES = """
SELECT number, after, least(cursor, %(last)s)
FROM unnest(%(numbers)s::int[], %(after)s::bigint[]) AS head (number, after)
LEFT JOIN queues USING (number)
WHERE EXISTS (
    SELECT
    FROM log
    WHERE queue = number AND seq > after AND seq <= %(last)s
)
ORDER BY number
"""

# A range of log_queue_seq_idx, and a probe of the primary key for each row.
_OF_QUEUE = f"""
SELECT {_LOGGED}, {_RECORDED}
FROM log AS l
LEFT JOIN outcomes AS o ON o.seq = l.seq
WHERE l.queue = %(queue)s AND l.seq > %(after)s AND l.seq <= %(last)s
ORDER BY l.queue, l.seq
LIMIT %(limit)s
"""

# A range of log_queue_seq_idx.
_WAITING = """
SELECT count(*)
FROM log
WHERE queue = %(queue)s AND seq > %(after)s AND seq <= %(last)s
"""

_DECIDED_IN = """
SELECT seq, queue, hash
FROM outcomes
JOIN log USING (seq)
WHERE seq = ANY(%(seqs)s::bigint[])
"""


# Positions in the primary key, and then the first row that begins something. Kinds 1, 2 and 6 may be legs of a split.
_FIRST_OF_NEXT = """
SELECT seq
FROM log
WHERE seq >= (SELECT seq FROM log WHERE seq > %(after)s ORDER BY seq OFFSET %(rows)s LIMIT 1)
  AND (group_first IS NULL OR group_first = seq)
  AND NOT (kind IN (1, 2, 6) AND coalesce(parent, '') LIKE 'txn\\_%%')
ORDER BY seq
LIMIT 1
"""


def first_of_next(conn: Connection, after: int, rows: int) -> int | None:
    """Find the first row, some rows after one, that does not belong to a split or group before it; None if there is none."""
    values = {"after": after or BEFORE_ALL, "rows": rows}
    row = driver(conn).execute(_FIRST_OF_NEXT, values).fetchone()
    return None if row is None else int(row[0])


def ledger(conn: Connection) -> str:
    """Return the identity of the ledger."""
    row = driver(conn).execute("SELECT id::text FROM identity").fetchone()
    return "" if row is None else str(row[0])


def digest_before(conn: Connection, seq: int) -> bytes | None:
    """Return the digest of the last row before one; None when there is no such row, or it has none."""
    sql = "SELECT digest FROM log WHERE seq < %s ORDER BY seq DESC LIMIT 1"
    found = driver(conn).execute(sql, (seq,)).fetchone()
    return found[0] if found is not None else None


class Late(NamedTuple):
    """A queue that had rows to decide at some position: they are beyond ``after``, and decided up to ``last``."""

    queue: int
    after: int
    last: int


def late_queues(conn: Connection, heads: Mapping[int, tuple[int, bytes]], last: int) -> list[Late]:
    """Find the queues that have rows up to ``last`` beyond their heads."""
    after = {number: heads.get(number, (0, b""))[0] for number in range(MAX_QUEUES)}
    values = {"numbers": list(after), "after": list(after.values()), "last": last}
    return [Late._make(row) for row in driver(conn).execute(_LATE_QUEUES, values).fetchall()]


def of_queue(conn: Connection, late: Late, limit: int) -> list[HistoryRow]:
    """Read rows of a queue in seq order, with their outcomes."""
    values = {"queue": late.queue, "after": late.after, "last": late.last, "limit": limit}
    return [history_row(row) for row in driver(conn).execute(_OF_QUEUE, values).fetchall()]


def waiting(conn: Connection, late: Late, last: int) -> int:
    """Count the rows of a queue up to ``last`` that are not decided yet."""
    values = {"queue": late.queue, "after": max(late.after, late.last), "last": last}
    row = driver(conn).execute(_WAITING, values).fetchone()
    assert row is not None
    return int(row[0])


def next_seq(conn: Connection, after: int) -> int | None:
    """Return the lowest seq above ``after`` in the log or the outcomes; None when there is none."""
    row = driver(conn).execute(_NEXT_SEQ, {"after": after}).fetchone()
    assert row is not None
    seq: int | None = row[0]
    return seq


def last_seq(conn: Connection) -> int:
    """Return the highest seq of the log; 0 when the log is empty."""
    row = driver(conn).execute(_LAST_SEQ).fetchone()
    assert row is not None
    return int(row[0])


def columns(conn: Connection, seqs: Iterable[range]) -> AbstractContextManager[Iterator[tuple[Rows, Rows]]]:
    """Read rows of the log and outcomes, both in seq order, range by range, for a check of whole columns.

    Their values are in the order of ``LogRow`` and of ``Recorded``. A number beyond 62 bits is None, or its row lacks the version
    of its digest or the hash of its outcome.
    """
    return quick_ranges(conn, seqs, _QUICK_OUTCOMES)


def history(conn: Connection, *, first: int, last: int) -> list[HistoryRow]:
    """Read the log from ``first`` to ``last``, both included, with the outcomes of that range, in seq order."""
    rows = driver(conn).execute(_HISTORY, {"first": first, "last": last})
    return [history_row(row) for row in rows.fetchall()]


def history_row(row: tuple[Any, ...]) -> HistoryRow:
    """Make a row of the log and its outcome from the values of both."""
    recorded = Recorded._make(row[_WIDTH:]) if row[_WIDTH] is not None else None
    if row[0] is None:
        return HistoryRow(row[_WIDTH], None, None, recorded)
    # The queue and the sides of a split may be missing, because a split itself is not decided.
    return HistoryRow(row[0], row_of(row[:_WIDTH]), Posting._make(_posting_of(row)), recorded)


_WIDTH = len(COLUMNS)

_posting_of = itemgetter(*map(list(COLUMNS).index, Posting._fields))


def digest_at(conn: Connection, seq: int) -> bytes | None:
    """Return the digest of a row of the log; None when the row or its digest is missing."""
    found = driver(conn).execute("SELECT digest FROM log WHERE seq = %s", (seq,)).fetchone()
    return found[0] if found is not None else None


def digests_at(conn: Connection, seq: int) -> list[bytes | None]:
    """Return the digest of a row of the log in a list, which is empty when there is no such row."""
    return [digest for (digest,) in driver(conn).execute("SELECT digest FROM log WHERE seq = %s", (seq,))]


def heads_at(conn: Connection, seq: int) -> dict[int, tuple[int, bytes]]:
    """Return seq and hash of the last outcome of each queue up to ``seq``, where everything is decided."""
    rows = driver(conn).execute(_HEADS_AT, {"seq": seq, "queues": MAX_QUEUES})
    return {number: (last, hash or chain.START) for number, last, hash in rows.fetchall()}


def hashes(conn: Connection, seqs: Collection[int]) -> dict[int, bytes | None]:
    """Return the hashes of some outcomes, by their seqs."""
    return dict(driver(conn).execute("SELECT seq, hash FROM outcomes WHERE seq = ANY(%s)", (list(seqs),)).fetchall())


def digests(conn: Connection, seqs: Collection[int]) -> dict[int, bytes | None]:
    """Return the digests of some rows of the log, by their seqs."""
    return dict(driver(conn).execute("SELECT seq, digest FROM log WHERE seq = ANY(%s)", (list(seqs),)).fetchall())


def decided_in(conn: Connection, seqs: Collection[int]) -> dict[int, tuple[int | None, bytes | None]]:
    """Return the queue and the hash of some outcomes, by their seqs."""
    rows = driver(conn).execute(_DECIDED_IN, {"seqs": list(seqs)}).fetchall()
    return {seq: (queue, hash) for seq, queue, hash in rows}


def queues(conn: Connection) -> dict[int, Queue]:
    """Read every queue, by its number."""
    rows = driver(conn).execute("SELECT number, cursor, hash, chained_after FROM queues ORDER BY number").fetchall()
    return {row[0]: Queue._make(row[1:]) for row in rows}


def currencies_of(conn: Connection, keys: Collection[int]) -> dict[int, str]:
    """Return the currencies of some balances, by their keys."""
    rows = driver(conn).execute("SELECT id, currency FROM balances WHERE id = ANY(%s::bigint[])", (array(keys),))
    return dict(rows.fetchall())


def accepted_at(conn: Connection, seq: int) -> datetime | None:
    """Return when a row of the log was accepted; None when there is no such row."""
    row = driver(conn).execute("SELECT accepted_at FROM log WHERE seq = %s", (seq,)).fetchone()
    return None if row is None else row[0]


def clock_falls(conn: Connection) -> frozenset[int]:
    """Return the seqs of the rows that are said to be accepted before the row before them."""
    return frozenset(seq for (seq,) in driver(conn).execute("SELECT seq FROM clock_falls"))


def refunded_seqs(conn: Connection) -> set[int]:
    """Return the seqs of all transactions that a refund in the log gives back."""
    return {seq for (seq,) in driver(conn).execute("SELECT DISTINCT refund_of FROM log WHERE refund_of IS NOT NULL")}
