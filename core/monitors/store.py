"""Reads and writes monitors and firings."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Text, cast, delete, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import JSONB

from core.base.db import driver
from core.base.ids import uuid_of
from core.base.rows import array
from core.base.tables.events import monitor_firings, monitors
from core.ledger.store.balances import BALANCE_PREFIX
from core.monitors.rules import Condition, State, Terms

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
