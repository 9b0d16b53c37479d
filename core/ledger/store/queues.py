"""The queues: how far each is decided, and how long its line is."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from core.base.db import driver

WAITING = "(queue, seq) > (number, cursor) AND queue <= number"
"""What is not decided yet, in the queue of this number. Said as a place in the index on queue and seq, and read in its order:
where all of the history is in one queue, the planner takes ``queue = number`` for true, and walks through all of it by seq."""


class Head(NamedTuple):
    """How far a queue is decided."""

    cursor: int
    hash: bytes
    """Of its last outcome."""


class Line(NamedTuple):
    """What waits in one queue."""

    number: int
    cursor: int
    first: int
    """The seq of the first posting that waits."""


class QueueState(NamedTuple):
    """One queue, as an operator wants to see it."""

    number: int
    depth: int
    oldest_seq: int | None
    oldest_age_s: float | None
    cursor: int
    drained_at: datetime | None
    rate: float
    """Postings decided a second, decaying over ten seconds."""
    decided: int


def lock_heads(conn: Connection, numbers: Collection[int], *, wait: bool) -> dict[int, Head]:
    """Lock these queues until the transaction ends and read their heads. Locking is what makes a drain exclusive.

    Rows are locked in order of number, so two drains cannot deadlock. Without ``wait`` a locked row is left out.

    Raises:
        TransientError: a lock was not had in time.
    """
    rows = driver(conn).execute(
        "SELECT number, cursor, hash FROM queues WHERE number = ANY(%s) ORDER BY number FOR NO KEY UPDATE"
        + ("" if wait else " SKIP LOCKED"),
        (list(numbers),),
    )
    return {number: Head(cursor, hash) for number, cursor, hash in rows.fetchall()}


def advance(conn: Connection, hashes: Mapping[int, bytes], cursor: int, decided: Mapping[int, int]) -> None:
    """Everything in these queues up to ``cursor`` is decided, and their chains end in ``hashes``.

    ``decided`` counts the postings of each.
    """
    driver(conn).execute(
        "UPDATE queues SET cursor = greatest(cursor, %s), hash = h, decided = decided + n, "
        "rate = rate * exp(-coalesce(extract(epoch FROM clock_timestamp() - drained_at), 0)::float / 10) + n / 10.0, "
        "drained_at = clock_timestamp() FROM unnest(%s::int[], %s::bytea[], %s::int[]) AS held (held_number, h, n) "
        "WHERE number = held_number",
        (cursor, list(hashes), list(hashes.values()), [decided.get(number, 0) for number in hashes]),
    )


def with_work(
    conn: Connection, *, numbers: Collection[int] | None = None, older_than_s: float | None = None
) -> list[int]:
    """The queues, of ``numbers`` or all, that have a posting to decide, of at least this age if given. Locks nothing."""
    rows = driver(conn).execute(
        "SELECT number FROM queues WHERE (%(all)s OR number = ANY(%(numbers)s)) AND EXISTS ("
        f"SELECT FROM (SELECT accepted_at FROM log WHERE {WAITING} ORDER BY queue, seq LIMIT 1) AS oldest "
        "WHERE %(age)s::float IS NULL OR accepted_at <= clock_timestamp() - make_interval(secs => %(age)s)) ORDER BY number",
        {"all": numbers is None, "numbers": list(numbers or ()), "age": older_than_s},
    )
    return [number for (number,) in rows]


def first_waiting(conn: Connection, *, but: Collection[int]) -> dict[int, int]:
    """First undecided seq of each queue that has one, but for these. It is out of date at once, and only ever too low."""
    rows = driver(conn).execute(
        "SELECT number, seq FROM queues CROSS JOIN LATERAL ("
        f"SELECT seq FROM log WHERE {WAITING} ORDER BY queue, seq LIMIT 1) AS oldest "
        "WHERE number <> ALL(%s)",
        (list(but),),
    )
    return dict(rows.fetchall())


def lines(conn: Connection) -> list[Line]:
    """The line of each queue in which something waits."""
    rows = driver(conn).execute(
        f"""
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
    )
    return [Line(*row) for row in rows.fetchall()]


def last_waiting(conn: Connection, *, parents: str = "%") -> dict[int, int]:
    """Last undecided seq of each queue that has one, of those whose parent is like this."""
    rows = driver(conn).execute(
        "SELECT number, seq FROM queues CROSS JOIN LATERAL (SELECT seq FROM log "
        f"WHERE {WAITING} AND coalesce(parent, '') LIKE %s ORDER BY queue DESC, seq DESC LIMIT 1) AS last ORDER BY number",
        (parents,),
    )
    return dict(rows.fetchall())


def overdue(conn: Connection, older_than_s: float) -> dict[int, tuple[int, int]]:
    """Of each queue in which postings wait for longer: the last of these, and how many there are."""
    rows = driver(conn).execute(
        f"SELECT number, max(seq), count(*) FROM queues CROSS JOIN LATERAL (SELECT seq, accepted_at FROM log WHERE {WAITING} "
        "ORDER BY queue, seq) AS line WHERE accepted_at <= clock_timestamp() - make_interval(secs => %s) "
        "GROUP BY number ORDER BY number",
        (older_than_s,),
    )
    return {number: (last, count) for number, last, count in rows.fetchall()}


def states(conn: Connection) -> list[QueueState]:
    """Every queue. Counting a line costs one index scan of what waits in it."""
    rows = conn.execute(
        text(
            "SELECT number, depth, oldest_seq, extract(epoch FROM clock_timestamp() - oldest_at)::float, cursor, "
            "drained_at, coalesce(rate * exp(-extract(epoch FROM clock_timestamp() - drained_at)::float / 10), 0), "
            "decided FROM queues CROSS JOIN LATERAL (SELECT count(*) AS depth, min(seq) AS oldest_seq, "
            f"min(accepted_at) AS oldest_at FROM (SELECT seq, accepted_at FROM log WHERE {WAITING} ORDER BY queue, seq) AS each"
            ") AS line ORDER BY number"
        )
    )
    return [QueueState(*row) for row in rows]


def oldest_age_s(conn: Connection) -> float | None:
    """Age of the oldest posting that is not decided, in seconds; None when all are."""
    age: float | None = conn.execute(
        text(
            "SELECT extract(epoch FROM clock_timestamp() - min(accepted_at))::float FROM queues CROSS JOIN LATERAL ("
            f"SELECT accepted_at FROM log WHERE {WAITING} ORDER BY queue, seq LIMIT 1) AS oldest"
        )
    ).scalar_one()
    return age


def cursors(conn: Connection) -> dict[int, int]:
    """Each queue's cursor, without a lock."""
    return dict(driver(conn).execute("SELECT number, cursor FROM queues ORDER BY number").fetchall())


def resize(conn: Connection, count: int) -> None:
    """Have ``count`` queues, all with the cursor at the end of the log. The caller saw them all run empty."""
    # Outcomes from before there was a chain may be in any queue, also in one that goes now.
    conn.execute(text("UPDATE queues SET chained_after = (SELECT max(chained_after) FROM queues)"))
    conn.execute(text("DELETE FROM queues WHERE number >= :count"), {"count": count})
    conn.execute(
        # A queue that was there before goes on with its chain.
        text(
            "INSERT INTO queues (number, hash) SELECT number, coalesce((SELECT hash FROM log JOIN outcomes USING (seq) "
            "WHERE queue = number ORDER BY seq DESC LIMIT 1), decode(repeat('00', 32), 'hex')) "
            "FROM generate_series(0, :last) AS number ON CONFLICT DO NOTHING"
        ),
        {"last": count - 1},
    )
    conn.execute(text("UPDATE queues SET cursor = (SELECT coalesce(max(seq), 0) FROM log)"))


def beat(conn: Connection, worker: str) -> None:
    """A worker says that it lives. What has been silent for a day is forgotten."""
    conn.execute(
        text(
            "WITH gone AS (DELETE FROM heartbeats WHERE at < clock_timestamp() - interval '1 day') "
            "INSERT INTO heartbeats VALUES (:worker, clock_timestamp()) "
            "ON CONFLICT (worker) DO UPDATE SET at = excluded.at"
        ),
        {"worker": worker},
    )


def live_workers(conn: Connection, within_s: float) -> list[str]:
    """Workers heard from within the last seconds."""
    sql = "SELECT worker FROM heartbeats WHERE at > clock_timestamp() - make_interval(secs => :age) ORDER BY worker"
    return list(conn.execute(text(sql), {"age": within_s}).scalars())
