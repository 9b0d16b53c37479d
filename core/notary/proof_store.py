"""SQL that reads what the proofs of many rows need. Each function takes one statement, however many rows there are."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from core.base.db import driver
from core.base.rows import array
from core.ledger.rules.log_row import DIGEST_VERSION, LogRow, row_of
from core.ledger.store.log import QUICK_COLUMNS, SELECTED, fits
from core.ledger.store.outcomes import LINE, Recorded, recorded
from core.notary.seals import Seal

# Served by seals_last_seq_idx, once for each row.
_COVERING = """
SELECT given.seq, seal.number
FROM unnest(%(seqs)s::bigint[]) AS given (seq)
CROSS JOIN LATERAL (
    SELECT number
    FROM seals
    WHERE last_seq >= given.seq
    ORDER BY last_seq, number
    LIMIT 1
) AS seal
"""

_SEALS = """
SELECT number, statement, signature
FROM seals
WHERE number = ANY(%(numbers)s::bigint[])
"""

_ROWS = f"""
SELECT {", ".join(SELECTED)}
FROM log
WHERE seq = ANY(%(seqs)s::bigint[])
"""

# The limit lets the planner know that each stretch is a short walk along the primary key.
_STRETCHES = f"""
SELECT stretch.ordinal, found.*
FROM unnest(%(firsts)s::bigint[], %(lasts)s::bigint[]) WITH ORDINALITY AS stretch (first, last, ordinal)
CROSS JOIN LATERAL (
    SELECT
        {QUICK_COLUMNS},
        digest_version = {DIGEST_VERSION} AND {fits("amount")} AND {fits("coalesce(overdraft_limit, 0)")} AS is_quick
    FROM log
    WHERE seq BETWEEN stretch.first AND stretch.last
    ORDER BY seq
    LIMIT %(limit)s
) AS found
ORDER BY stretch.ordinal, found.seq
"""

# A walk along log_queue_seq_idx for each stretch, and a probe of the primary key for each row.
_DECIDED = f"""
SELECT stretch.ordinal, o.*
FROM unnest(%(queues)s::bigint[], %(afters)s::bigint[], %(lasts)s::bigint[])
    WITH ORDINALITY AS stretch (queue, after, last, ordinal)
CROSS JOIN LATERAL (
    SELECT {LINE}
    FROM log
    JOIN outcomes AS o USING (seq)
    WHERE log.queue = stretch.queue AND seq > stretch.after AND seq <= stretch.last
    ORDER BY log.queue, seq
    LIMIT %(limit)s
) AS o
ORDER BY stretch.ordinal, o.seq
"""

_OUTCOMES = f"""
SELECT {LINE}
FROM outcomes AS o
WHERE seq = ANY(%(seqs)s::bigint[])
"""


class Stretch(NamedTuple):
    """The outcomes of a queue beyond one seq, up to another."""

    queue: int
    after: int
    last: int


def covering(conn: Connection, seqs: Collection[int]) -> dict[int, int]:
    """Find the seals that cover rows of the log. Returns their numbers by seq; a row that no seal covers is left out."""
    return dict(driver(conn).execute(_COVERING, {"seqs": array(seqs)}).fetchall())


def seals(conn: Connection, numbers: Collection[int]) -> dict[int, Seal]:
    """Read seals by their numbers."""
    rows = driver(conn).execute(_SEALS, {"numbers": array(numbers)}).fetchall()
    return {number: Seal(statement, signature) for number, statement, signature in rows}


def rows(conn: Connection, seqs: Collection[int]) -> dict[int, LogRow]:
    """Read rows of the log by seq."""
    found = map(row_of, driver(conn).execute(_ROWS, {"seqs": array(seqs)}).fetchall())
    return {row.seq: row for row in found}


def quick_rows(conn: Connection, stretches: Sequence[tuple[int, int]]) -> list[list[tuple[tuple[Any, ...], bool]]]:
    """Read the values of ``LogRow`` from one seq to another, for each stretch.

    False beside a row says that it has the form of an older version, or an amount that is too large for this.
    """
    firsts, lasts = array(first for first, _ in stretches), array(last for _, last in stretches)
    limit = max(last - first + 1 for first, last in stretches)
    cursor = driver(conn).cursor(binary=True)
    found: list[list[tuple[tuple[Any, ...], bool]]] = [[] for _ in stretches]
    for row in cursor.execute(_STRETCHES, {"firsts": firsts, "lasts": lasts, "limit": limit}).fetchall():
        found[row[0] - 1].append((row[1:-1], row[-1]))
    return found


def decided(conn: Connection, stretches: Sequence[Stretch], *, limit: int) -> list[list[Recorded]]:
    """Read the outcomes of each stretch in seq order, and no more than ``limit`` of each."""
    values = {f"{name}s": array(getattr(each, name) for each in stretches) for name in Stretch._fields}
    lines = driver(conn).execute(_DECIDED, values | {"limit": limit}).fetchall()
    found: list[list[Recorded]] = [[] for _ in stretches]
    for (ordinal, *_), outcome in zip(lines, recorded(line[1:] for line in lines), strict=True):
        found[ordinal - 1].append(outcome)
    return found


def outcomes(conn: Connection, seqs: Collection[int]) -> dict[int, Recorded]:
    """Read outcomes by seq."""
    found = recorded(driver(conn).execute(_OUTCOMES, {"seqs": array(seqs)}).fetchall())
    return {each.seq: each for each in found}
