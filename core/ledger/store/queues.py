"""Locks and moves the queues: how far each is decided. ``waiting.py`` reads what waits in them."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from core.base.db import driver
from core.base.locks import HOT
from core.base.messages import Statement, run_together
from core.base.rows import array, text_array
from core.ledger.store import waiting
from core.ledger.store.waiting import WAITING


class QueueHead(NamedTuple):
    """How far a queue is decided."""

    cursor: int
    hash: bytes
    """The hash of its last outcome."""


class QueueState(NamedTuple):
    """The state of one queue, as an operator sees it."""

    number: int
    depth: int
    """It stops at ``waiting.COUNTED``."""
    oldest_seq: int | None
    oldest_age_s: float | None
    cursor: int
    drained_at: datetime | None
    rate: float
    """Postings decided a second, decaying over ten seconds."""
    decided: int


# OFFSET keeps the bounds in a scan of their own, which comes before the first row is locked.
_LOCK_HEADS = f"""
    SELECT number, cursor, hash
    FROM (SELECT {HOT} OFFSET 0) AS bounds
    CROSS JOIN queues
    WHERE number = ANY(%(numbers)s::int[])
    ORDER BY number
    FOR NO KEY UPDATE OF queues
"""

_LOCK_FREE_HEADS = f"""
    {_LOCK_HEADS.strip()}
    SKIP LOCKED
"""

# The rate fades by a factor of e every ten seconds. The bounds keep exp within a float's range: a queue may have been idle
# for years, and the database's clock may have been set back.
_RATE_NOW = """
    greatest(rate, 1e-9)
        * exp(-least(greatest(coalesce(extract(epoch FROM clock_timestamp() - drained_at), 0), 0), 300)::float / 10)
""".strip()

_ADVANCE = f"""
    UPDATE queues
    SET cursor = greatest(cursor, c),
        hash = decode(h, 'hex'),
        decided = decided + n,
        rate = {_RATE_NOW} + n / 10.0,
        drained_at = clock_timestamp()
    FROM unnest(%s::int[], %s::bigint[], %s::text[], %s::int[]) AS held (held_number, c, h, n)
    WHERE number = held_number
"""

# Both bounds are positions in log_queue_seq_idx.
_WITHOUT_BACKLOG = """
    SELECT number
    FROM queues
    WHERE number = ANY(%(numbers)s::int[])
      AND NOT EXISTS (
          SELECT FROM log
          WHERE (queue, seq) > (number, cursor) AND (queue, seq) < (number, %(first)s::bigint)
      )
"""

# Nobody drains a queue whose row is free and was not written for a while.
_STANDING_STILL = """
    SELECT number
    FROM queues
    WHERE number = ANY(%(numbers)s)
      AND (drained_at IS NULL OR drained_at < clock_timestamp() - make_interval(secs => %(for_s)s))
    FOR NO KEY UPDATE SKIP LOCKED
"""

# The count stops at a limit, so a line of millions is not read. The first of a line is its oldest, as times never fall.
_STATES = text(
    f"""
    SELECT
        number,
        depth,
        oldest_seq,
        extract(epoch FROM clock_timestamp() - oldest_at)::float,
        cursor,
        drained_at,
        {_RATE_NOW},
        decided
    FROM queues
    CROSS JOIN LATERAL (
        SELECT count(*) AS depth
        FROM (
            SELECT
            FROM log
            WHERE {WAITING}
            ORDER BY queue, seq
            LIMIT :counted
        ) AS each
    ) AS line
    LEFT JOIN LATERAL (
        SELECT seq AS oldest_seq, accepted_at AS oldest_at
        FROM log
        WHERE {WAITING}
        ORDER BY queue, seq
        LIMIT 1
    ) AS oldest ON true
    ORDER BY number
    """
)

_CURSORS = """
    SELECT number, cursor
    FROM queues
    ORDER BY number
"""

# A queue that goes may hold the last outcome from before there was a chain, so its mark moves to all queues.
_SPREAD_CHAINED_AFTER = text(
    """
    UPDATE queues
    SET chained_after = (SELECT max(chained_after) FROM queues)
    """
)

_REMOVE_QUEUES = text(
    """
    DELETE FROM queues
    WHERE number >= :count
    """
)

# A queue that comes back continues its chain.
_ADD_QUEUES = text(
    """
    INSERT INTO queues (number, hash)
    SELECT
        number,
        coalesce(
            (SELECT hash FROM log JOIN outcomes USING (seq) WHERE queue = number ORDER BY seq DESC LIMIT 1),
            decode(repeat('00', 32), 'hex')
        )
    FROM generate_series(0, :last) AS number
    ON CONFLICT DO NOTHING
    """
)

_MOVE_CURSORS_TO_THE_END = text(
    """
    UPDATE queues
    SET cursor = (SELECT coalesce(max(seq), 0) FROM log)
    """
)


def lock_heads(conn: Connection, numbers: Collection[int], *, wait: bool) -> dict[int, QueueHead]:
    """Lock these queues until the transaction ends, and read their heads. ``taking.py`` does so for a drain.

    Rows are locked in order of number, so two drains cannot deadlock. Without ``wait``, a locked row is left out.

    Raises:
        TransientError: a lock was not had in time.
    """
    rows = driver(conn).execute(_LOCK_HEADS if wait else _LOCK_FREE_HEADS, {"numbers": array(numbers)})
    return {number: QueueHead(cursor, hash) for number, cursor, hash in rows.fetchall()}


def lock_idle_heads(conn: Connection, numbers: Collection[int], *, first: int) -> dict[int, QueueHead]:
    """Lock those of these queues that nobody drains and in which nothing waits before ``first``.

    It never waits. The caller holds the append lock, so that nothing more gets in line. A savepoint ``before_deciding`` is
    set first. The three statements take one round trip.
    """
    named = array(numbers)
    locked, without_backlog = run_together(
        conn,
        [
            Statement("SAVEPOINT before_deciding"),
            Statement(_LOCK_FREE_HEADS, {"numbers": named}),
            # This snapshot is taken under the locks, so it sees how far the queues were decided.
            Statement(_WITHOUT_BACKLOG, {"numbers": named, "first": str(first)}),
        ],
    )
    idle = {number for (number,) in without_backlog}
    return {number: QueueHead(cursor, hash) for number, cursor, hash in locked if number in idle}


def undo_deciding(conn: Connection) -> None:
    """Take back everything since ``lock_idle_heads``, with its locks."""
    driver(conn).execute("ROLLBACK TO SAVEPOINT before_deciding")


def advance(conn: Connection, queues: Collection[tuple[int, int, bytes, int]]) -> None:
    """Record how far queues are decided: number, cursor, the last hash of its chain, and how many postings were decided."""
    numbers, cursors, hashes, counts = zip(*queues, strict=True)
    texts = text_array(hash.hex() for hash in hashes)  # The driver takes longer to write a list of bytes.
    driver(conn).execute(_ADVANCE, [array(numbers), array(cursors), texts, array(counts)])


def standing_still(conn: Connection, numbers: Collection[int], for_s: float) -> list[int]:
    """List those of these queues that nobody drains, and that nobody has drained for a while.

    It locks them for the moment. The caller rings for them, because a drain may be turned away meanwhile.
    """
    rows = driver(conn).execute(_STANDING_STILL, {"numbers": list(numbers), "for_s": for_s})
    return [number for (number,) in rows]


def states(conn: Connection) -> list[QueueState]:
    """Read the state of every queue. A depth stops at ``waiting.COUNTED``."""
    return [QueueState(*row) for row in conn.execute(_STATES, {"counted": waiting.COUNTED})]


def cursors(conn: Connection) -> dict[int, int]:
    """Read each queue's cursor. Locks nothing."""
    return dict(driver(conn).execute(_CURSORS).fetchall())


def resize(conn: Connection, count: int) -> None:
    """Change the number of queues to ``count`` and move all cursors to the end of the log.

    The caller has seen that all queues are empty.
    """
    conn.execute(_SPREAD_CHAINED_AFTER)
    conn.execute(_REMOVE_QUEUES, {"count": count})
    conn.execute(_ADD_QUEUES, {"last": count - 1})
    conn.execute(_MOVE_CURSORS_TO_THE_END)
