"""Writes the events that the log and the outcomes do not tell, and removes the oldest."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from core.base.db import driver
from core.base.locks import TAKE_WITHIN_BOUNDS, AdvisoryLock

Columns = Mapping[str, Sequence[Any]]
"""The values of new rows by column, in the order of the rows."""

FIRST_AT_END = 1_000_000
"""The first number of the events that are written at the end of the log. Those of a drain have lower ones."""

# The snapshot is taken under the lock, so it sees the end of the log and every event before.
_APPEND = """
    INSERT INTO events (seq, n, id, type, data, ledger_id, balance_id, actor)
    SELECT
        head.seq,
        coalesce((SELECT max(n) FROM events WHERE events.seq = head.seq AND n >= %(first)s), %(first)s - 1) + position,
        new.id,
        new.type,
        new.data,
        new.ledger_id,
        new.balance_id,
        %(actor)s
    FROM (SELECT coalesce(max(seq), 0) AS seq FROM log) AS head
    CROSS JOIN unnest(%(ids)s::uuid[], %(types)s::text[], %(data)s::text[], %(ledgers)s::text[], %(balances)s::text[])
        WITH ORDINALITY AS new (id, type, data, ledger_id, balance_id, position)
"""

_INSERT = """
    INSERT INTO events (seq, n, id, type, data, ledger_id, balance_id, actor)
    SELECT seq, n, id, type, data, ledger_id, balance_id, %(actor)s
    FROM unnest(
        %(seqs)s::bigint[],
        %(ns)s::int[],
        %(ids)s::uuid[],
        %(types)s::text[],
        %(data)s::text[],
        %(ledgers)s::text[],
        %(balances)s::text[]
    ) AS new (seq, n, id, type, data, ledger_id, balance_id)
"""


def append(conn: Connection, columns: Columns, actor: str) -> None:
    """Take the append lock until the transaction ends, and write rows at the end of the log. It takes one round trip.

    Raises:
        TransientError: the lock was not had in time.
    """
    connection = driver(conn)
    with connection.pipeline():
        connection.execute(TAKE_WITHIN_BOUNDS, {"lock": AdvisoryLock.APPEND})
        connection.execute(_APPEND, {**columns, "first": FIRST_AT_END, "actor": actor})


def insert(conn: Connection, positions: Sequence[tuple[int, int]], columns: Columns, actor: str) -> None:
    """Write rows at positions that the caller has for itself."""
    seqs, ns = [seq for seq, _ in positions], [n for _, n in positions]
    driver(conn).execute(_INSERT, {**columns, "seqs": seqs, "ns": ns, "actor": actor})


# Rows are nearly in the order of time, so those that are older than a time are found from the first row on.
_LAST_OLD = """
    SELECT seq, n
    FROM (
        SELECT seq, n, bool_and(at < clock_timestamp() - make_interval(days => %(days)s)) OVER (ORDER BY seq, n) AS is_old
        FROM (
            SELECT seq, n, at
            FROM events
            ORDER BY seq, n
            LIMIT %(limit)s
        ) AS first
    ) AS told
    WHERE is_old
    ORDER BY seq DESC, n DESC
    LIMIT 1
"""

_KEEP_AFTER = """
    INSERT INTO events_kept (seq, n)
    VALUES (%(seq)s, %(n)s)
    ON CONFLICT (one) DO UPDATE
    SET seq = excluded.seq, n = excluded.n
    WHERE (events_kept.seq, events_kept.n) < (excluded.seq, excluded.n)
"""

_REMOVE = """
    DELETE FROM events
    WHERE (seq, n) <= (%(seq)s, %(n)s)
"""


def remove_old(conn: Connection, days: int, *, limit: int) -> int:
    """Remove rows that are older than so many days, from the first on, and note up to where. Returns their number."""
    connection = driver(conn)
    found = connection.execute(_LAST_OLD, {"days": days, "limit": limit}).fetchone()
    if found is None:
        return 0
    position = {"seq": found[0], "n": found[1]}
    connection.execute(_KEEP_AFTER, position)
    return connection.execute(_REMOVE, position).rowcount
