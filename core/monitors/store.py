"""Reads and writes monitors, the watches of their balances, and firings."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Text, cast, delete, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import JSONB

from core.base.db import driver
from core.base.ids import uuid_of
from core.base.rows import array
from core.base.tables.balances import balances
from core.base.tables.events import monitor_firings, monitors, watches
from core.ledger.rules.model import Kind
from core.ledger.store import waiting as waiting_store
from core.ledger.store.balances import BALANCE_PREFIX
from core.monitors.rules import Condition, State, Sums, Terms

PREFIX = "mon_"
EVENT_PREFIX = "evt_"


class MonitorRow(NamedTuple):
    """A monitor as it is stored."""

    key: int
    monitor_id: str
    balance: int
    """The key of its balance."""
    balance_id: str
    currency: str
    terms: Terms
    precision: int
    fire_now: bool
    description: str
    call_back_url: str
    meta_data: str | None
    """JSON text of an object."""
    state: State
    created_at: datetime


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


class Firing(NamedTuple):
    """One firing of a monitor, to be written."""

    monitor: int
    event: UUID
    seq: int | None
    """The posting. None when the condition was true already."""
    before: int | None
    """The value before the posting."""
    after: int
    version: int
    at: datetime


class FiringRow(NamedTuple):
    """A firing as it is stored."""

    key: int
    event: UUID
    seq: int | None
    transaction: UUID | None
    before: int | None
    after: int
    version: int
    at: datetime


# The lock of the balance comes before this, and serves for all that is read here.
_FIND_WATCHES = """
    SELECT balance, seq, ahead, credit, debit, inflight_credit, inflight_debit, version
    FROM watches
    WHERE balance = ANY(%(balances)s::bigint[])
"""

_COLUMNS = """
    monitors.id, monitor_id, balances.id, balances.balance_id, currency,
    field, operator, threshold, hysteresis, mode, once, min_interval_s,
    precision, fire_now, description, call_back_url, monitors.meta_data::text,
    triggered, monitors.version, since, active, fired, fired_at, monitors.created_at
""".strip()

_SELECT = f"""
    SELECT {_COLUMNS}
    FROM monitors
    JOIN balances ON balances.id = monitors.balance
""".strip()

_FIND_ACTIVE = f"""
    {_SELECT}
    WHERE monitors.balance = ANY(%(balances)s::bigint[]) AND active
    ORDER BY monitors.id
"""

_FIND = f"""
    {_SELECT}
    WHERE monitor_id = %(monitor_id)s
"""

_FIND_OF_BALANCE = f"""
    {_SELECT}
    WHERE monitors.balance = %(balance)s
    ORDER BY monitors.id DESC
"""

_FIND_KEYS = f"""
    {_SELECT}
    WHERE monitors.id = ANY(%(keys)s::bigint[])
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

_WRITE_STATES = """
    UPDATE monitors
    SET triggered = t,
        version = v,
        since = s,
        active = a,
        fired = f,
        fired_at = fa
    FROM unnest(
        %s::bigint[], %s::boolean[], %s::bigint[], %s::timestamptz[], %s::boolean[], %s::bigint[], %s::timestamptz[]
    ) AS new (key, t, v, s, a, f, fa)
    WHERE id = key
"""

_WRITE_FIRINGS = """
    INSERT INTO monitor_firings (monitor, event, seq, before, after, version, at)
    SELECT *
    FROM unnest(
        %s::bigint[], %s::uuid[], %s::bigint[], %s::numeric[], %s::numeric[], %s::bigint[], %s::timestamptz[]
    )
"""

_MERGE = """
    UPDATE monitors
    SET meta_data = coalesce(meta_data, '{}') || %(meta_data)s::jsonb
    WHERE id = %(key)s
    RETURNING meta_data::text
"""

_FIND_FIRINGS = """
    SELECT monitor_firings.id, event, seq, log.id, before, after, version, at
    FROM monitor_firings
    LEFT JOIN log USING (seq)
    WHERE monitor = %(monitor)s AND monitor_firings.id < %(below)s
    ORDER BY monitor_firings.id DESC
    LIMIT %(limit)s
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


# The balance, its watch, and what is decided


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


# Monitors


def find(conn: Connection, monitor_id: str) -> MonitorRow | None:
    """Find a monitor by its ID."""
    key = uuid_of(monitor_id, PREFIX)
    if key is None:
        return None
    row = driver(conn).execute(_FIND, {"monitor_id": key}).fetchone()
    return None if row is None else _row(row)


def find_keys(conn: Connection, keys: Collection[int]) -> dict[int, MonitorRow]:
    """Find monitors by their internal keys."""
    rows = driver(conn).execute(_FIND_KEYS, {"keys": array(keys)}).fetchall()
    return {row[0]: _row(row) for row in rows}


def find_of_balance(conn: Connection, balance: int) -> list[MonitorRow]:
    """Find the monitors of a balance, the newest first. monitors_balance_idx serves it."""
    return [_row(row) for row in driver(conn).execute(_FIND_OF_BALANCE, {"balance": balance}).fetchall()]


def find_active(conn: Connection, balances: Collection[int]) -> dict[int, list[MonitorRow]]:
    """Find the active monitors of balances that are locked, the oldest first."""
    found: dict[int, list[MonitorRow]] = {}
    for row in driver(conn).execute(_FIND_ACTIVE, {"balances": array(balances)}).fetchall():
        found.setdefault(row[2], []).append(_row(row))
    return found


def count(conn: Connection, balance: int) -> int:
    """Count the monitors of a balance. monitors_balance_idx serves it."""
    found: int = conn.execute(
        select(func.count()).select_from(monitors).where(monitors.c.balance == balance)
    ).scalar_one()
    return found


def add(conn: Connection, values: Mapping[str, Any]) -> int:
    """Add a monitor. Returns its internal key."""
    key: int = conn.execute(insert(monitors).values(**_stored(values)).returning(monitors.c.id)).scalar_one()
    return key


def change(conn: Connection, key: int, values: Mapping[str, Any]) -> None:
    """Change columns of a monitor whose balance is locked."""
    conn.execute(update(monitors).where(monitors.c.id == key).values(**_stored(values)))


def remove(conn: Connection, key: int) -> None:
    """Remove a monitor whose balance is locked, and its firings."""
    conn.execute(delete(monitors).where(monitors.c.id == key))


def merge_metadata(conn: Connection, key: int, meta_data: str) -> str:
    """Merge into the metadata of a monitor, whose row is locked by that. Returns all of it."""
    row = driver(conn).execute(_MERGE, {"key": key, "meta_data": meta_data}).fetchone()
    assert row is not None
    merged: str = row[0]
    return merged


def write_states(conn: Connection, states: Mapping[int, State]) -> None:
    """Write the states of monitors whose balances are locked, by their keys."""
    columns = zip(
        *((key, s.triggered, s.version, s.since, s.active, s.fired, s.fired_at) for key, s in states.items()),
        strict=True,
    )
    driver(conn).execute(_WRITE_STATES, [list(column) for column in columns])


def write_firings(conn: Connection, firings: Sequence[Firing]) -> None:
    """Write firings. The database refuses a second one of a monitor for one posting."""
    driver(conn).execute(_WRITE_FIRINGS, [list(column) for column in zip(*firings, strict=True)])


def find_firings(conn: Connection, monitor: int, *, below: int, limit: int) -> list[FiringRow]:
    """Read the firings of a monitor, the latest first, from the one before ``below`` on."""
    rows = driver(conn).execute(_FIND_FIRINGS, {"monitor": monitor, "below": below, "limit": limit}).fetchall()
    return [FiringRow(*row) for row in rows]


def event_of(event_id: str) -> UUID | None:
    """Read the UUID of an event's ID. Returns None for any other text."""
    return uuid_of(event_id, EVENT_PREFIX)


def key_of_firing(conn: Connection, monitor: int, event: UUID) -> int | None:
    """Find the internal key of a firing of a monitor by its event."""
    wanted = select(monitor_firings.c.id).where(monitor_firings.c.monitor == monitor, monitor_firings.c.event == event)
    key: int | None = conn.execute(wanted).scalar_one_or_none()
    return key


def _stored(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the JSON text of metadata into what the database stores."""
    text = values.get("meta_data")
    return {**values, "meta_data": cast(literal(text, Text()), JSONB)} if text is not None else dict(values)


def _row(row: Sequence[Any]) -> MonitorRow:
    key, monitor_id, balance, balance_id, currency, *more = row
    condition, how = Condition(*more[:4]), more[4:7]
    precision, fire_now, description, call_back_url, meta_data, *state, created_at = more[7:]
    return MonitorRow(
        key=key,
        monitor_id=f"{PREFIX}{monitor_id}",
        balance=balance,
        balance_id=f"{BALANCE_PREFIX}{balance_id}",
        currency=currency,
        terms=Terms(condition, *how),
        precision=precision,
        fire_now=fire_now,
        description=description,
        call_back_url=call_back_url,
        meta_data=meta_data,
        state=State(*state),
        created_at=created_at,
    )
