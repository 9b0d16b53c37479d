"""Appends to the log, which holds accepted transactions in order, and reads it."""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, get_args

from msgspec.structs import astuple
from sqlalchemy import JSON, Connection, Uuid

from core.base.db import copy_text, driver
from core.base.locks import TAKE_WITHIN_BOUNDS, AdvisoryLock
from core.base.tables import log, scheduled
from core.ledger.rules import chain
from core.ledger.rules.log_row import COLUMNS, DIGEST_VERSION, HINTS, LogRow, row_of
from core.ledger.rules.model import Posting
from core.ledger.store.queues import WAITING

_COLUMNS = ", ".join(COLUMNS)


def selected(name: str) -> str:
    """Write the expression that selects a column of ``log``. JSON and IDs come as the text that the digest covers."""
    return f"{name}::text" if isinstance(log.c[name].type, JSON | Uuid) else name


SELECTED = [selected(name) for name in COLUMNS]
"""The columns of a ``LogRow``, in its order."""

_SCHEDULED_AS = {"seq": "0", "accepted_at": "scheduled_at", "digest_version": str(DIGEST_VERSION)}
"""The values of columns that a scheduled transaction does not have. The others are NULL."""

# It is one statement, so that thousands of references are sent once.
_FIND_REFERENCES = f"""
    SELECT {", ".join(SELECTED)}
    FROM log
    WHERE reference = ANY(%(references)s)
    UNION ALL
    SELECT {", ".join(selected(n) if n in scheduled.c else _SCHEDULED_AS.get(n, "NULL") for n in COLUMNS)}
    FROM scheduled
    WHERE reference = ANY(%(references)s)
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

_POSTING = ", ".join("id::text AS id" if name == "id" else name for name in Posting._fields)

# The condition is a position in log_queue_seq_idx, as in ``WAITING``.
_READ_QUEUE = f"""
    SELECT {_POSTING}
    FROM log
    WHERE (queue, seq) > (%(queue)s, %(cursor)s) AND queue <= %(queue)s
    ORDER BY queue, seq
    LIMIT %(limit)s
"""

# Each queue has an index scan that stops at the limit, so that not everything that waits is sorted.
_READ_QUEUES = f"""
    SELECT next.*
    FROM unnest(%(queues)s::int[], %(cursors)s::bigint[]) AS held (number, cursor)
    CROSS JOIN LATERAL (
        SELECT {_POSTING}
        FROM log
        WHERE {WAITING}
        ORDER BY queue, seq
        LIMIT %(limit)s
    ) AS next
    ORDER BY seq
    LIMIT %(limit)s
"""

_READ_RANGE = f"""
    SELECT {_POSTING}
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
_QUEUES_THAT_MAY_CREDIT = """
    SELECT DISTINCT log.queue
    FROM log
    JOIN unnest(%(queues)s::int[], %(firsts)s::bigint[]) AS line (number, first)
        ON log.queue = line.number AND log.seq >= line.first
    WHERE log.destination = %(balance)s
      AND log.seq >= %(oldest)s
      AND log.seq < %(before)s
      AND log.kind IN (1, 3, 6)
"""


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
    connection = driver(conn)
    with connection.pipeline():
        connection.execute(TAKE_WITHIN_BOUNDS, {"lock": AdvisoryLock.APPEND})
        head = connection.execute(_READ_HEAD, {"start": chain.START})
        prior = connection.execute(_FIND_REFERENCES, {"references": list(references)})
    row = head.fetchone()
    assert row is not None
    return LogHead(*row), {found.reference: found for found in map(row_of, prior.fetchall())}


def find_references(conn: Connection, references: Collection[str | None]) -> dict[str, LogRow]:
    """Find accepted and scheduled transactions by their references. Unknown references are left out."""
    rows = driver(conn).execute(_FIND_REFERENCES, {"references": list(references)}).fetchall()
    return {found.reference: found for found in map(row_of, rows)}


def append(conn: Connection, rows: Iterable[LogRow]) -> None:
    """Write rows that have their seq and digest. The caller holds the append lock and has checked the references."""
    copy_text(conn, "log", _COLUMNS, map(_line, rows))


_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def escaped(text: str | None) -> str:
    """Write a text in COPY's text format, or the mark for NULL."""
    return r"\N" if text is None else text.translate(_ESCAPES)


def _compiled_line() -> Callable[[LogRow], str]:
    """Compile the function that writes a row in COPY's text format, from the types of the columns.

    One f-string over all columns costs half as much as a loop over them, and even less than the driver's adapters.
    """
    forms = {bool: "'t' if {0} else 'f'", datetime: "{0}.isoformat()", bytes: "HEX + {0}.hex()"}
    texts, values = [], []
    for name, hint in HINTS.items():
        kind, *null = get_args(hint) or (hint,)
        form = forms.get(kind, "{0}").format(name)
        values.append(f"{{NULL if {name} is None else {form}}}" if null else f"{{{form}}}")
        if kind is str:
            texts.append(name)
    line = "\t".join(values)
    source = f"""
def line(row):
    {", ".join(HINTS)} = astuple(row)
    texts = f"{"".join(f"{{{name}}}" for name in texts)}"
    if BACKSLASH in texts or NEWLINE in texts or TAB in texts or RETURN in texts:  # Faster than a pattern.
        {", ".join(texts)} = [text and text.translate(ESCAPES) for text in ({", ".join(texts)})]
    return f"{line}"
"""
    names: dict[str, Any] = {"astuple": astuple, "NULL": r"\N", "HEX": r"\\x", "ESCAPES": _ESCAPES}
    names |= {"BACKSLASH": "\\", "NEWLINE": "\n", "TAB": "\t", "RETURN": "\r"}
    exec(source, names)  # nosec B102
    compiled: Callable[[LogRow], str] = names["line"]
    return compiled


_line = _compiled_line()


def read_batch(conn: Connection, cursors: dict[int, int], limit: int) -> list[Posting]:
    """Read the next postings of these queues after their cursors, in seq order, at most ``limit``."""
    if len(cursors) == 1:
        ((queue, cursor),) = cursors.items()
        rows = driver(conn).execute(_READ_QUEUE, {"queue": queue, "cursor": cursor, "limit": limit})
    else:
        parameters = {"queues": list(cursors), "cursors": list(cursors.values()), "limit": limit}
        rows = driver(conn).execute(_READ_QUEUES, parameters)
    return list(map(Posting._make, rows.fetchall()))


def read_range(conn: Connection, queues: Collection[int], *, first: int, last: int) -> list[Posting]:
    """Read the postings of these queues from ``first`` to ``last``, both included, in seq order."""
    rows = driver(conn).execute(_READ_RANGE, {"first": first, "last": last, "queues": list(queues)})
    return list(map(Posting._make, rows.fetchall()))


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
    rows = driver(conn).execute(
        _QUEUES_THAT_MAY_CREDIT,
        {
            "queues": list(late),
            "firsts": list(late.values()),
            "balance": balance,
            "oldest": min(late.values()),
            "before": before,
        },
    )
    return {queue for (queue,) in rows}
