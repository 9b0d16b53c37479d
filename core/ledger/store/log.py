"""Appends to the log, which holds accepted transactions in order, and reads it."""

import json
import re
from binascii import hexlify
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import repeat
from typing import Any, NamedTuple

from psycopg import Cursor
from sqlalchemy import JSON, Connection, Uuid

from core.base.db import driver
from core.base.locks import TAKE_FOR_APPEND, AdvisoryLock
from core.base.messages import Statement, run_together
from core.base.rows import copy_json, text_array
from core.base.tables.transactions import log, scheduled
from core.ledger.rules import chain
from core.ledger.rules.log_row import COLUMNS, DIGEST_VERSION, LogRow, row_of
from core.ledger.rules.model import Posting

_COLUMNS = ", ".join(COLUMNS)


def selected(name: str) -> str:
    """Write the expression that selects a column of ``log``. JSON and IDs come as the text that the digest covers."""
    return f"{name}::text" if isinstance(log.c[name].type, JSON | Uuid) else name


SELECTED = [selected(name) for name in COLUMNS]
"""The columns of a ``LogRow``, in its order."""


def fits(name: str) -> str:
    """Write the condition that a number, which is not NULL, is a whole one that the driver reads without Python."""
    return f"(scale({name}) = 0 AND {name} BETWEEN -4611686018427387904 AND 4611686018427387904)"


def quick(name: str) -> str:
    """Write the expression of such a number. Any other is NULL."""
    return f"CASE WHEN {fits(name)} THEN {name}::bigint END"


# Where NULL may stand for a number that does not fit, the row comes without what would vouch for it.
_QUICK = {
    "amount": quick("amount"),
    "overdraft_limit": quick("overdraft_limit"),
    "digest_version": f"CASE WHEN overdraft_limit IS NULL OR {fits('overdraft_limit')} THEN digest_version END",
}

QUICK_COLUMNS = ", ".join(_QUICK.get(name, selected(name)) for name in COLUMNS)
"""The columns of a ``LogRow`` for a binary cursor. A row with a number that does not fit lacks the number or its version."""

_QUICK_ROWS = f"""
    SELECT {QUICK_COLUMNS}
    FROM log
    WHERE seq BETWEEN %(first)s AND %(last)s
    ORDER BY seq
"""

_SCHEDULED_AS = {"seq": "0", "accepted_at": "scheduled_at", "digest_version": str(DIGEST_VERSION)}
"""The values of columns that a scheduled transaction does not have. The others are NULL."""

# It is one statement, so that thousands of references are sent once.
_FIND_REFERENCES = f"""
    SELECT {", ".join(SELECTED)}
    FROM log
    WHERE reference = ANY(%(references)s::text[])
    UNION ALL
    SELECT {", ".join(selected(n) if n in scheduled.c else _SCHEDULED_AS.get(n, "NULL") for n in COLUMNS)}
    FROM scheduled
    WHERE reference = ANY(%(references)s::text[])
"""

# The clock may be set back, and accepted_at never falls along seq: ``times`` counts on it.
_READ_HEAD = """
    SELECT
        coalesce(seq, 0),
        coalesce(digest, %(start)s),
        (SELECT count(*) FROM queues),
        greatest(clock_timestamp(), accepted_at)
    FROM (VALUES (0)) AS one
    LEFT JOIN (
        SELECT seq, digest, accepted_at
        FROM log
        ORDER BY seq DESC
        LIMIT 1
    ) AS last ON true
"""

POSTING = ", ".join("id::text AS id" if name == "id" else name for name in Posting._fields)
"""The columns of a ``Posting``, as ``log`` has them."""

_READ_RANGE = f"""
    SELECT {POSTING}
    FROM log
    WHERE seq BETWEEN %(first)s AND %(last)s AND queue = ANY(%(queues)s)
    ORDER BY seq
"""

_QUEUES_OF_RANGE = """
    SELECT DISTINCT queue
    FROM log
    WHERE seq BETWEEN %(first)s AND %(last)s AND queue IS NOT NULL
"""

# log_destination_seq_idx is walked only from the oldest posting that waits. A hold (2) and a void_inflight (4) credit nothing.
# The order and the limit keep the walk apart from the lines, whatever the planner expects of them.
_QUEUES_THAT_MAY_CREDIT = """
    SELECT queue, max(seq), count(*)
    FROM (
        SELECT queue, seq
        FROM log
        WHERE destination = %(balance)s
          AND seq >= %(oldest)s
          AND seq < %(before)s
          AND kind IN (1, 3, 6)
        ORDER BY destination, seq
        LIMIT %(most)s
    ) AS credits
    GROUP BY queue
"""

MOST_CREDITS = 5_000
"""The largest number of credits that are looked through for the queues that have them. Where there are more, any queue may."""


class LogHead(NamedTuple):
    """The end of the log, as the holder of the append lock reads it."""

    seq: int
    digest: bytes
    queues: int
    now: datetime
    """The time of the next row: that of the clock, but none before the last row's."""


def lock_head(conn: Connection, references: Collection[str] = ()) -> tuple[LogHead, dict[str, LogRow]]:
    """Take the append lock until the transaction ends, and read the log's end and the rows with these references.

    Each read has a snapshot of its own that is taken under the lock, so it sees every append before it. The three
    statements take one round trip.

    Raises:
        TransientError: the lock was not had in time.
    """
    _, (row,), prior = run_together(
        conn,
        [
            Statement(TAKE_FOR_APPEND, {"lock": int(AdvisoryLock.APPEND)}),
            Statement(_READ_HEAD, {"start": chain.START}),
            Statement(_FIND_REFERENCES, {"references": text_array(references)}),
        ],
    )
    return LogHead(*row), {found.reference: found for found in map(row_of, prior)}


def find_references(conn: Connection, references: Collection[str | None]) -> dict[str, LogRow]:
    """Find accepted and scheduled transactions by their references. Unknown references are left out."""
    named = text_array(reference for reference in references if reference is not None)
    rows = driver(conn).execute(_FIND_REFERENCES, {"references": named}).fetchall()
    return {found.reference: found for found in map(row_of, rows)}


def append(conn: Connection, lines: Iterable[bytes]) -> None:
    """Write rows that ``line_of`` has written. The caller holds the append lock and has checked the references."""
    copy_json(conn, "log", _COLUMNS, lines)


def line_of(text: bytes, digest: bytes) -> bytes:
    """Write a new row for ``append``. ``text`` is the JSON of the columns that its digest covers."""
    if b"\\" in text and _OTHER_ESCAPE.search(text):
        text = _ESCAPE.sub(_unescaped, text)
    return b"%b,\\x%b%b" % (text[1:-1], hexlify(digest), _END)


def lines_of(texts: Sequence[bytes], digests: Sequence[bytes]) -> list[bytes]:
    """Write new rows for ``append``, as ``line_of`` does one by one."""
    if b"\\" in b"".join(texts):
        return list(map(line_of, texts, digests))
    inner = [text[1:-1] for text in texts]
    return list(map(b"".join, zip(inner, repeat(b",\\x"), map(hexlify, digests), repeat(_END))))


_END = b",%d\n" % DIGEST_VERSION

_OTHER_ESCAPE = re.compile(rb'\\[^"\\]')
"""The sign of an escape that COPY does not read. It may also find the second half of an escaped backslash, and what follows."""

_ESCAPE = re.compile(rb"\\(?:u[0-9a-fA-F]{4}|.)")


def _unescaped(escape: re.Match[bytes]) -> bytes:
    """Write an escape as COPY reads it. Only quotes and backslashes stay as they are."""
    found = escape.group()
    text: str = json.loads(b'"%b"' % found)
    return found if text in ('"', "\\") else text.encode()


def read_range(conn: Connection, queues: Collection[int], *, first: int, last: int) -> list[Posting]:
    """Read the postings of these queues from ``first`` to ``last``, both included, in seq order."""
    rows = driver(conn).execute(_READ_RANGE, {"first": first, "last": last, "queues": list(queues)})
    return list(map(Posting._make, rows.fetchall()))


@contextmanager
def quick_ranges(
    conn: Connection, seqs: Iterable[range], beside: str
) -> Iterator[Iterator[tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]]]:
    """Read rows of the log by ``QUICK_COLUMNS``, in seq order and range by range, each with what a statement finds for its range.

    ``beside`` is that statement, by ``first`` and ``last``. All are asked for at once, so the database reads the next range
    meanwhile.
    """
    connection = driver(conn)

    def ask(statement: str, these: range) -> Cursor[Any]:
        return connection.cursor(binary=True).execute(statement, {"first": these.start, "last": these[-1]})

    with connection.pipeline():
        asked = [(ask(_QUICK_ROWS, these), ask(beside, these)) for these in seqs]
        yield ((rows.fetchall(), others.fetchall()) for rows, others in asked)


def queues_of_range(conn: Connection, *, first: int, last: int) -> set[int]:
    """List the queues of the rows from ``first`` to ``last``, both included."""
    rows = driver(conn).execute(_QUEUES_OF_RANGE, {"first": first, "last": last})
    return {queue for (queue,) in rows}


def queues_that_may_credit(conn: Connection, balance: int, *, before: int, waiting: Mapping[int, int]) -> set[int]:
    """List the queues that have an undecided posting before this seq that would credit the balance.

    ``waiting`` is the first undecided seq of each queue to search.
    """
    late = {queue: first for queue, first in waiting.items() if first < before}
    if not late:
        return set()
    given = {"balance": balance, "oldest": min(late.values()), "before": before, "most": MOST_CREDITS}
    rows = driver(conn).execute(_QUEUES_THAT_MAY_CREDIT, given).fetchall()
    if sum(count for *_, count in rows) >= MOST_CREDITS:
        return set(late)
    return {queue for queue, last, _ in rows if queue in late and last >= late[queue]}
