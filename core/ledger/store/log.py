"""The log: what was accepted, in the order in which it was."""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, get_args

from msgspec.structs import astuple
from sqlalchemy import JSON, Connection, Uuid

from core.base.db import copy_text, driver
from core.base.locks import AdvisoryLock
from core.base.tables import log, scheduled
from core.ledger.rules import chain
from core.ledger.rules.log_row import COLUMNS, HINTS, LogRow, row_of
from core.ledger.rules.model import Posting
from core.ledger.store.queues import WAITING

_COLUMNS = ", ".join(COLUMNS)


def selected(name: str) -> str:
    """A column of ``log`` as a row has it: JSON and IDs as the text that the digest covers."""
    return f"{name}::text" if isinstance(log.c[name].type, JSON | Uuid) else name


SELECTED = [selected(name) for name in COLUMNS]
"""The columns of a ``LogRow``, in its order."""

_FIND_IN_LOG = f"SELECT {', '.join(SELECTED)} FROM log WHERE reference = ANY(%(names)s)"

_SCHEDULED_AS = {"seq": "0", "accepted_at": "scheduled_at"}
"""What stands in for columns that a scheduled transaction does not have; NULL for the others."""

_FIND_SCHEDULED = f"""
    SELECT {", ".join(selected(n) if n in scheduled.c else _SCHEDULED_AS.get(n, "NULL") for n in COLUMNS)}
    FROM scheduled
    WHERE reference = ANY(%(names)s)
"""

_FIND_REFERENCES = f"{_FIND_IN_LOG} UNION ALL {_FIND_SCHEDULED}"
"""One statement, so that thousands of references are sent once."""

_POSTING = ", ".join(Posting._fields)


class Head(NamedTuple):
    """Where the log ends, for whoever holds the append lock."""

    seq: int
    digest: bytes
    queues: int
    now: datetime


def lock_head(conn: Connection, references: Collection[str] = ()) -> tuple[Head, dict[str, LogRow]]:
    """Take the append lock until the transaction ends; read where the log ends, and the rows with these references.

    What is read has a snapshot of its own, taken under the lock, so it sees every append there ever was. All of it is
    one round trip.

    Raises:
        TransientError: the lock was not had in time.
    """
    connection = driver(conn)
    with connection.pipeline():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (AdvisoryLock.APPEND,))
        head = connection.execute(
            "SELECT coalesce(seq, 0), coalesce(digest, %s), (SELECT count(*) FROM queues), clock_timestamp() "
            "FROM (VALUES (0)) AS one LEFT JOIN (SELECT seq, digest FROM log ORDER BY seq DESC LIMIT 1) AS last ON true",
            (chain.START,),
        )
        prior = connection.execute(_FIND_REFERENCES, {"names": list(references)})
    row = head.fetchone()
    assert row is not None
    return Head(*row), {found.reference: found for found in map(row_of, prior.fetchall())}


def find_references(conn: Connection, references: Collection[str | None]) -> dict[str, LogRow]:
    """The rows that have one of these references, accepted or scheduled."""
    rows = driver(conn).execute(_FIND_REFERENCES, {"names": list(references)}).fetchall()
    return {found.reference: found for found in map(row_of, rows)}


def append(conn: Connection, rows: Iterable[LogRow]) -> None:
    """Write sealed rows. The caller holds the append lock and has checked the references."""
    copy_text(conn, "log", _COLUMNS, map(_line, rows))


_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def escaped(text: str | None) -> str:
    """A text in COPY's format."""
    return r"\N" if text is None else text.translate(_ESCAPES)


def _compiled_line() -> Callable[[LogRow], str]:
    """The function that writes a row in COPY's text format, made once from the types of the columns.

    One f-string over all columns costs half as much as a loop over them, and less still than the driver's adapting.
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
    exec(source, names)
    compiled: Callable[[LogRow], str] = names["line"]
    return compiled


_line = _compiled_line()


def read_batch(conn: Connection, cursors: dict[int, int], limit: int) -> list[Posting]:
    """The next postings of these queues after their cursors, in seq order, at most ``limit``."""
    if len(cursors) == 1:
        ((queue, cursor),) = cursors.items()
        # Said as a place in the index, as in queues.py.
        sql = f"SELECT {_POSTING} FROM log WHERE (queue, seq) > (%s, %s) AND queue <= %s ORDER BY queue, seq LIMIT %s"
        rows = driver(conn).execute(sql, (queue, cursor, queue, limit))
    else:
        # One index scan for each queue, which stops at the limit, and not a sort of everything that waits.
        sql = (
            f"SELECT next.* FROM unnest(%s::int[], %s::bigint[]) AS held (number, cursor) CROSS JOIN LATERAL ("
            f"SELECT {_POSTING} FROM log WHERE {WAITING} ORDER BY queue, seq LIMIT %s"
            f") AS next ORDER BY seq LIMIT %s"
        )
        rows = driver(conn).execute(sql, (list(cursors), list(cursors.values()), limit, limit))
    return list(map(Posting._make, rows.fetchall()))


def read_range(conn: Connection, queues: Collection[int], first: int, last: int) -> list[Posting]:
    """The postings of these queues from ``first`` to ``last``, both included, in seq order."""
    sql = f"SELECT {_POSTING} FROM log WHERE seq BETWEEN %s AND %s AND queue = ANY(%s) ORDER BY seq"
    return list(map(Posting._make, driver(conn).execute(sql, (first, last, list(queues))).fetchall()))


def queues_of_range(conn: Connection, first: int, last: int) -> set[int]:
    """The queues that the rows from ``first`` to ``last`` are in."""
    rows = driver(conn).execute(
        "SELECT DISTINCT queue FROM log WHERE seq BETWEEN %s AND %s AND queue IS NOT NULL", (first, last)
    )
    return {queue for (queue,) in rows}


def queues_that_may_credit(conn: Connection, balance: int, before: int, waiting: Mapping[int, int]) -> set[int]:
    """Which queues have an undecided posting before this seq that would credit the balance.

    ``waiting`` is the first undecided seq of each queue to look at. Holds and voids credit nothing.
    """
    late = {queue: first for queue, first in waiting.items() if first < before}
    if not late:
        return set()
    # The index on destination and seq is walked only from the oldest posting that waits.
    rows = driver(conn).execute(
        "SELECT DISTINCT log.queue FROM log JOIN unnest(%s::int[], %s::bigint[]) AS line (number, first) "
        "ON log.queue = line.number AND log.seq >= line.first "
        "WHERE log.destination = %s AND log.seq >= %s AND log.seq < %s AND log.kind IN (1, 3, 6)",
        (list(late), list(late.values()), balance, min(late.values()), before),
    )
    return {queue for (queue,) in rows}
