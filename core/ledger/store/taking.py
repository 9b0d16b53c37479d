"""Takes queues for a drain: locks them, and reads what waits in them. One statement does both, to save round trips."""

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import Connection

from core.base.db import driver
from core.base.locks import HOT
from core.base.rows import array
from core.ledger.rules.model import Posting
from core.ledger.store.log import POSTING
from core.ledger.store.queues import QueueHead
from core.ledger.store.waiting import HAS_WORK, WAITING

_HEAD = 0
"""The kind of a row that is the head of a queue, and no posting."""

# Values stand in subselects, which hide them from the planner: it makes one plan for all values, and only once. The bounds are
# in a scan of their own (OFFSET), which comes before the first row is locked. Each queue has an index scan that stops at the
# limit, so that not everything that waits is sorted.
#
# The statement may have waited for a lock, so what it sees of the log may be older than the heads, which are read under the
# locks. It skips nothing all the same. Appends are committed in the order of seq, so it sees all of the log up to some seq,
# and what comes after that is seen by the next look.
_TAKE = f"""
    WITH held AS MATERIALIZED (
        SELECT number, cursor, hash
        FROM (SELECT {HOT} OFFSET 0) AS bounds
        CROSS JOIN queues
        WHERE {{which}}
        ORDER BY number
        FOR NO KEY UPDATE OF queues {{how}}
    )
    SELECT
        cursor AS seq, {_HEAD} AS kind, number AS queue, NULL AS source, NULL AS destination, NULL AS amount,
        NULL AS allow_overdraft, NULL AS overdraft_limit, NULL AS hold_seq, NULL AS group_first, NULL AS group_last,
        NULL AS refund_of, encode(hash, 'hex') AS id, NULL AS request_id
    FROM held
    UNION ALL
    (
        SELECT next.*
        FROM held
        CROSS JOIN LATERAL (
            SELECT {POSTING}
            FROM log
            WHERE {WAITING}
            ORDER BY queue, seq
            LIMIT (SELECT %(limit)s::bigint)
        ) AS next
        ORDER BY seq
        LIMIT (SELECT %(limit)s::bigint)
    )
"""

_NAMED = "number = ANY((SELECT %(numbers)s::int[])::int[])"

_TAKE_NAMED = _TAKE.format(which=_NAMED, how="")
_TAKE_FREE = _TAKE.format(which=_NAMED, how="SKIP LOCKED")

# Queues are chosen before the first row is locked, so each locked row is returned. One that was drained in between has no work.
_HAVE_WORK = f"number = ANY(ARRAY(SELECT number FROM queues WHERE {HAS_WORK}))"
_TAKE_FREE_WITH_WORK = _TAKE.format(which=_HAVE_WORK, how="SKIP LOCKED")


class Taken(NamedTuple):
    """Locked queues, and what waits in them."""

    heads: dict[int, QueueHead]
    postings: list[Posting]
    """The next postings of all of them, in the order of seq."""


def take(conn: Connection, numbers: Collection[int], limit: int, *, wait: bool) -> Taken:
    """Lock these queues until the transaction ends, and read at most ``limit`` postings that wait in them.

    The lock makes a drain exclusive. Rows are locked in order of number, so two drains cannot deadlock. Without ``wait``, a
    queue that somebody else has locked is left out.

    Raises:
        TransientError: a lock was not had in time.
    """
    return _taken(conn, _TAKE_NAMED if wait else _TAKE_FREE, {"numbers": array(numbers), "limit": limit})


def take_all_free(conn: Connection, limit: int) -> Taken:
    """Do so for each queue that has work and that nobody has locked.

    What it does not return is not locked. So if it returns none, each queue with work is locked by somebody else.
    """
    return _taken(conn, _TAKE_FREE_WITH_WORK, {"limit": limit})


def _taken(conn: Connection, statement: str, given: dict[str, Any]) -> Taken:
    rows = driver(conn).execute(statement, given).fetchall()
    heads = [row for row in rows if row[1] == _HEAD]
    assert rows[: len(heads)] == heads, "the heads come first"
    return Taken(
        {row[2]: QueueHead(row[0], bytes.fromhex(row[12])) for row in heads},
        list(map(Posting._make, rows[len(heads) :])),
    )
