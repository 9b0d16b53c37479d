"""Reads and moves the queues: how far each is decided, and how long its line is."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from core.base.db import driver
from core.base.locks import HOT
from core.base.rows import array, text_array

WAITING = "(queue, seq) > (number, cursor) AND queue <= number"
"""The condition that a row of the log is undecided in the queue ``number``, which is decided up to ``cursor``.

It is a position in log_queue_seq_idx, and its reader sorts by queue and seq. Where one queue has all of the history,
the planner takes ``queue = number`` for true, and would walk through all of the log by seq.
"""


COUNTED = 10_000
"""The largest number of waiting postings of a queue that are counted for an answer. Where more wait, the count stays at it."""


class QueueHead(NamedTuple):
    """How far a queue is decided."""

    cursor: int
    hash: bytes
    """The hash of its last outcome."""


class Line(NamedTuple):
    """The line of postings that wait in one queue."""

    number: int
    cursor: int
    first: int
    """The seq of the first posting that waits."""


class AgedLine(NamedTuple):
    """The line of postings that wait in one queue, and how old it is."""

    number: int
    first: int
    """The seq of the first posting that waits."""
    age_s: float
    last: int
    """The last seq of the log, in whatever queue."""
    queues: int
    """The number of queues."""


class QueueState(NamedTuple):
    """The state of one queue, as an operator sees it."""

    number: int
    depth: int
    """It stops at ``COUNTED``."""
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
          WHERE (queue, seq) > (number, cursor) AND (queue, seq) < (number, %(first)s)
      )
"""

HAS_WORK = f"""
    (
        SELECT seq
        FROM log
        WHERE {WAITING}
        ORDER BY queue, seq
        LIMIT 1
    ) IS NOT NULL
""".strip()
"""The condition that something waits in a row of ``queues``. Of EXISTS, the planner might make a join with all of the log."""

# Every drain asks it after its commits.
_WITH_WORK = f"""
    SELECT number
    FROM queues
    WHERE {HAS_WORK}
    ORDER BY number
"""

# A posting from the future was accepted before the database's clock was set back, so its age is unknown.
_WITH_OLD_WORK = f"""
    SELECT number
    FROM queues
    CROSS JOIN LATERAL (
        SELECT accepted_at
        FROM log
        WHERE {WAITING}
        ORDER BY queue, seq
        LIMIT 1
    ) AS oldest
    WHERE accepted_at <= clock_timestamp() - make_interval(secs => %(age)s)
       OR accepted_at > clock_timestamp()
    ORDER BY number
"""

# Nobody drains a queue whose row is free and was not written for a while.
_STANDING_STILL = """
    SELECT number
    FROM queues
    WHERE number = ANY(%(numbers)s)
      AND (drained_at IS NULL OR drained_at < clock_timestamp() - make_interval(secs => %(for_s)s))
    FOR NO KEY UPDATE SKIP LOCKED
"""

_FIRST_WAITING = f"""
    SELECT number, seq
    FROM queues
    CROSS JOIN LATERAL (
        SELECT seq
        FROM log
        WHERE {WAITING}
        ORDER BY queue, seq
        LIMIT 1
    ) AS oldest
    WHERE number <> ALL(%(but)s)
"""

_LINES = f"""
    SELECT number, cursor, first
    FROM queues
    CROSS JOIN LATERAL (
        SELECT seq AS first
        FROM log
        WHERE {WAITING}
        ORDER BY queue, seq
        LIMIT 1
    ) AS line
"""

_LINES_BY_AGE = f"""
    SELECT
        number,
        first,
        extract(epoch FROM clock_timestamp() - oldest_at)::float,
        (SELECT max(seq) FROM log),
        (SELECT count(*) FROM queues)
    FROM queues
    CROSS JOIN LATERAL (
        SELECT seq AS first, accepted_at AS oldest_at
        FROM log
        WHERE {WAITING}
        ORDER BY queue, seq
        LIMIT 1
    ) AS line
"""

# It stops at the limit in each queue, so it never counts a line of millions. log_queue_seq_idx has all that it reads.
_DEPTHS = f"""
    SELECT number, depth
    FROM queues
    CROSS JOIN LATERAL (
        SELECT count(*) AS depth
        FROM (
            SELECT
            FROM log
            WHERE {WAITING}
            ORDER BY queue, seq
            LIMIT %(limit)s
        ) AS each
    ) AS line
    WHERE depth > 0
"""

_LAST_WAITING = f"""
    SELECT number, seq
    FROM queues
    CROSS JOIN LATERAL (
        SELECT seq
        FROM log
        WHERE {WAITING}
        ORDER BY queue DESC, seq DESC
        LIMIT 1
    ) AS last
    ORDER BY number
"""

_OVERDUE = f"""
    SELECT number, max(seq), count(*)
    FROM queues
    CROSS JOIN LATERAL (
        SELECT seq, accepted_at
        FROM log
        WHERE {WAITING}
        ORDER BY queue, seq
        LIMIT %(limit)s
    ) AS line
    WHERE accepted_at <= clock_timestamp() - make_interval(secs => %(age)s)
    GROUP BY number
    ORDER BY number
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

# The oldest posting that waits, of each queue that has one. It is served by the index of what waits.
_FROM_OLDEST = f"""
    FROM queues
    CROSS JOIN LATERAL (
        SELECT accepted_at
        FROM log
        WHERE {WAITING}
        ORDER BY queue, seq
        LIMIT 1
    ) AS oldest
""".strip()

_OLDEST_AGE = text(
    f"""
    SELECT extract(epoch FROM clock_timestamp() - min(accepted_at))::float
    {_FROM_OLDEST}
    """
)

_STILL = text(
    f"""
    SELECT least(
        max(abs(extract(epoch FROM clock_timestamp() - accepted_at))),
        (SELECT min(abs(extract(epoch FROM clock_timestamp() - drained_at))) FROM queues)
    )::float
    {_FROM_OLDEST}
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
    set first.
    """
    connection, named = driver(conn), array(numbers)
    connection.execute("SAVEPOINT before_deciding")
    locked = connection.execute(_LOCK_FREE_HEADS, {"numbers": named}).fetchall()
    # This snapshot is taken under the locks, so it sees how far the queues were decided.
    idle = {number for (number,) in connection.execute(_WITHOUT_BACKLOG, {"numbers": named, "first": first}).fetchall()}
    return {number: QueueHead(cursor, hash) for number, cursor, hash in locked if number in idle}


def undo_deciding(conn: Connection) -> None:
    """Take back everything since ``lock_idle_heads``, with its locks."""
    driver(conn).execute("ROLLBACK TO SAVEPOINT before_deciding")


def advance(conn: Connection, queues: Collection[tuple[int, int, bytes, int]]) -> None:
    """Record how far queues are decided: number, cursor, the last hash of its chain, and how many postings were decided."""
    numbers, cursors, hashes, counts = zip(*queues, strict=True)
    texts = text_array(hash.hex() for hash in hashes)  # The driver takes longer to write a list of bytes.
    driver(conn).execute(_ADVANCE, [array(numbers), array(cursors), texts, array(counts)])


def with_work(conn: Connection, *, older_than_s: float | None = None) -> list[int]:
    """List the queues that have a posting to decide. Locks nothing.

    ``older_than_s`` limits the search to postings of at least this age.
    """
    if older_than_s is None:
        rows = driver(conn).execute(_WITH_WORK)
    else:
        rows = driver(conn).execute(_WITH_OLD_WORK, {"age": older_than_s})
    return [number for (number,) in rows.fetchall()]


def standing_still(conn: Connection, numbers: Collection[int], for_s: float) -> list[int]:
    """List those of these queues that nobody drains, and that nobody has drained for a while.

    It locks them for the moment. The caller rings for them, because a drain may be turned away meanwhile.
    """
    rows = driver(conn).execute(_STANDING_STILL, {"numbers": list(numbers), "for_s": for_s})
    return [number for (number,) in rows]


def first_waiting(conn: Connection, *, but: Collection[int]) -> dict[int, int]:
    """Read the first undecided seq of each queue that has one, except the queues in ``but``.

    The answer is out of date at once, and can only be too low.
    """
    return dict(driver(conn).execute(_FIRST_WAITING, {"but": list(but)}).fetchall())


def lines(conn: Connection) -> list[Line]:
    """Read the line of each queue in which something waits."""
    return [Line(*row) for row in driver(conn).execute(_LINES).fetchall()]


def lines_by_age(conn: Connection) -> list[AgedLine]:
    """Read the line of each queue in which something waits. It reads one posting of each, and counts nothing."""
    return [AgedLine(*row) for row in driver(conn).execute(_LINES_BY_AGE).fetchall()]


def depths(conn: Connection, limit: int) -> dict[int, int]:
    """Count what waits in each queue that has work, up to ``limit`` postings in each. Locks nothing."""
    return dict(driver(conn).execute(_DEPTHS, {"limit": limit}).fetchall())


def last_waiting(conn: Connection) -> dict[int, int]:
    """Read the last undecided seq of each queue that has one."""
    return dict(driver(conn).execute(_LAST_WAITING).fetchall())


def overdue(conn: Connection, older_than_s: float) -> dict[int, tuple[int, int]]:
    """Find the queues in which postings have waited for too long: the last seq of these, and how many they are.

    It looks at the first ``COUNTED`` of each queue.
    """
    rows = driver(conn).execute(_OVERDUE, {"age": older_than_s, "limit": COUNTED})
    return {number: (last, count) for number, last, count in rows.fetchall()}


def states(conn: Connection) -> list[QueueState]:
    """Read the state of every queue. A depth stops at ``COUNTED``."""
    return [QueueState(*row) for row in conn.execute(_STATES, {"counted": COUNTED})]


def oldest_age_s(conn: Connection) -> float | None:
    """Read the age in seconds of the oldest undecided posting. Returns None when all are decided."""
    age: float | None = conn.execute(_OLDEST_AGE).scalar_one()
    return age


def still_s(conn: Connection) -> float | None:
    """Read for how many seconds postings have waited while no queue moved. Returns None when all are decided."""
    age: float | None = conn.execute(_STILL).scalar_one()
    return age


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
