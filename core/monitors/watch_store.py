"""Reads and writes the watches of balances: how far each is followed, and what decided postings changed in it."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from sqlalchemy import Connection, delete, update

from core.base.db import driver
from core.base.rows import array
from core.base.tables.balances import balances
from core.base.tables.events import watches
from core.ledger.rules.model import Kind
from core.ledger.store import waiting as waiting_store
from core.monitors.rules import Sums


class WatchRow(NamedTuple):
    """How far a watched balance was followed in the order of acceptance."""

    balance: int
    seq: int
    """Its postings up to this are decided, and in the sums."""
    ahead: int
    """The last of its postings that is decided. Those between wait for one that is earlier and undecided."""
    sums: Sums


class Move(NamedTuple):
    """The change of one posting to one balance."""

    seq: int
    id: str
    """The UUID of the transaction."""
    change: Sums
    is_source: bool


# The lock of the balance comes before this, and serves for all that is read here.
_FIND_WATCHES = """
    SELECT balance, seq, ahead, credit, debit, inflight_credit, inflight_debit, version
    FROM watches
    WHERE balance = ANY(%(balances)s::bigint[])
"""

# Whoever changes the balance meanwhile waits, and reads this row anew when it goes on.
_LOCK_BALANCES = """
    SELECT id, credit_balance, debit_balance, inflight_credit_balance, inflight_debit_balance, version, watched
    FROM balances
    WHERE id = ANY(%(ids)s::bigint[])
    ORDER BY id
    FOR NO KEY UPDATE
"""

_HEAD = """
    SELECT coalesce(max(seq), 0)
    FROM log
"""

# log_source_seq_idx and log_destination_seq_idx are walked only from the oldest posting that waits.
_FIRST_UNDECIDED = """
    SELECT balance, min(seq)
    FROM (
        SELECT of.balance, log.seq, log.queue
        FROM unnest(%(balances)s::bigint[], %(befores)s::bigint[]) AS of (balance, before)
        JOIN log ON log.source = of.balance AND log.seq >= %(oldest)s AND log.seq < of.before
        UNION ALL
        SELECT of.balance, log.seq, log.queue
        FROM unnest(%(balances)s::bigint[], %(befores)s::bigint[]) AS of (balance, before)
        JOIN log ON log.destination = of.balance AND log.seq >= %(oldest)s AND log.seq < of.before
    ) AS touching
    JOIN unnest(%(queues)s::int[], %(firsts)s::bigint[]) AS line (number, first) ON queue = number AND seq >= first
    GROUP BY balance
"""

# The same indexes serve this.
_DECIDED = """
    SELECT touching.*, outcomes.amount
    FROM (
        SELECT of.balance, log.seq, log.id::text, log.kind, true
        FROM unnest(%(balances)s::bigint[], %(afters)s::bigint[], %(befores)s::bigint[]) AS of (balance, after, before)
        JOIN log ON log.source = of.balance AND log.seq > of.after AND log.seq < of.before
        UNION ALL
        SELECT of.balance, log.seq, log.id::text, log.kind, false
        FROM unnest(%(balances)s::bigint[], %(afters)s::bigint[], %(befores)s::bigint[]) AS of (balance, after, before)
        JOIN log ON log.destination = of.balance AND log.seq > of.after AND log.seq < of.before
    ) AS touching (balance, seq, id, kind, is_source)
    JOIN outcomes ON outcomes.seq = touching.seq AND outcomes.status <> 4
    ORDER BY touching.seq
"""

_WRITE_WATCHES = """
    INSERT INTO watches (balance, seq, ahead, credit, debit, inflight_credit, inflight_debit, version)
    SELECT *
    FROM unnest(
        %s::bigint[], %s::bigint[], %s::bigint[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::bigint[]
    )
    ON CONFLICT (balance) DO UPDATE
    SET seq = excluded.seq,
        ahead = excluded.ahead,
        credit = excluded.credit,
        debit = excluded.debit,
        inflight_credit = excluded.inflight_credit,
        inflight_debit = excluded.inflight_debit,
        version = excluded.version
"""

_DEBITS = {
    Kind.TRANSFER: Sums(debit=1),
    Kind.REFUND: Sums(debit=1),
    Kind.HOLD: Sums(inflight_debit=1),
    Kind.COMMIT_INFLIGHT: Sums(debit=1, inflight_debit=-1),
    Kind.VOID_INFLIGHT: Sums(inflight_debit=-1),
}
"""The change of a posting of a kind to its source, for each minor unit."""

_CREDITS = {kind: Sums(c.debit, c.credit, c.inflight_debit, c.inflight_credit) for kind, c in _DEBITS.items()}
"""The same for its destination."""


def change_of(kind: int, amount: int, *, is_source: bool) -> Sums:
    """Return what a decided posting changed in its source, or in its destination."""
    credit, debit, inflight_credit, inflight_debit, _ = (_DEBITS if is_source else _CREDITS)[Kind(kind)]
    return Sums(credit * amount, debit * amount, inflight_credit * amount, inflight_debit * amount, 1)


def lock_balances(conn: Connection, keys: Collection[int]) -> dict[int, tuple[Sums, bool]]:
    """Lock balances until the transaction ends. Returns their sums, and whether they are watched."""
    rows = driver(conn).execute(_LOCK_BALANCES, {"ids": array(keys)}).fetchall()
    return {row[0]: (Sums(*row[1:6]), row[6]) for row in rows}


def set_watched(conn: Connection, balance: int, watched: bool) -> None:
    """Mark a balance that is locked, so that drains tell of it, or do not any more."""
    conn.execute(update(balances).where(balances.c.id == balance).values(watched=watched))


def find_watches(conn: Connection, keys: Collection[int]) -> dict[int, WatchRow]:
    """Read the watches of balances that are locked."""
    rows = driver(conn).execute(_FIND_WATCHES, {"balances": array(keys)}).fetchall()
    return {row[0]: WatchRow(row[0], row[1], row[2], Sums(*row[3:])) for row in rows}


def write_watches(conn: Connection, rows: Collection[WatchRow]) -> None:
    """Write the watches of balances that are locked."""
    columns = zip(*((row.balance, row.seq, row.ahead, *row.sums) for row in rows), strict=True)
    driver(conn).execute(_WRITE_WATCHES, [array(column) for column in columns])


def remove_watch(conn: Connection, balance: int) -> None:
    """Remove the watch of a balance that is locked."""
    conn.execute(delete(watches).where(watches.c.balance == balance))


def head(conn: Connection) -> int:
    """Read the last seq of the log."""
    row = driver(conn).execute(_HEAD).fetchone()
    assert row is not None
    return int(row[0])


def first_undecided(conn: Connection, befores: Mapping[int, int]) -> dict[int, int]:
    """Find the first undecided posting of each balance before the seq given for it. Balances without one are left out.

    The balances are locked, so nobody decides a posting of them meanwhile, and what is accepted meanwhile comes later.
    """
    last = max(befores.values(), default=0)
    waiting = {queue: seq for queue, seq in waiting_store.first_waiting(conn, but=()).items() if seq < last}
    if not waiting:
        return {}
    rows = driver(conn).execute(
        _FIRST_UNDECIDED,
        {
            "balances": array(befores),
            "befores": array(befores.values()),
            "queues": list(waiting),
            "firsts": list(waiting.values()),
            "oldest": min(waiting.values()),
        },
    )
    return dict(rows.fetchall())


def decided(conn: Connection, spans: Mapping[int, tuple[int, int]]) -> dict[int, list[Move]]:
    """Read what decided postings changed in each balance, in the order of acceptance, between two seqs given for it."""
    found: dict[int, list[Move]] = {}
    rows = driver(conn).execute(
        _DECIDED,
        {
            "balances": array(spans),
            "afters": array(after for after, _ in spans.values()),
            "befores": array(before for _, before in spans.values()),
        },
    )
    for balance, seq, id, kind, is_source, amount in rows.fetchall():
        move = Move(seq, id, change_of(kind, amount, is_source=is_source), is_source)
        found.setdefault(balance, []).append(move)
    return found
