"""Keeps what waits for its date: scheduled transactions, and holds to commit or void."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import asdict, replace
from sqlalchemy import Connection

from core.base.db import driver
from core.base.ids import uuid_of
from core.base.tables.transactions import scheduled
from core.ledger.rules.log_row import COLUMNS, LogRow
from core.ledger.rules.model import Draft
from core.ledger.rules.pledges import of_scheduled
from core.ledger.rules.routing import route_of
from core.ledger.store import pledges
from core.ledger.store.log import selected

_KEPT = [name for name in COLUMNS if name in scheduled.c]
"""The columns of a ``LogRow`` that are known before it is accepted."""

_SCHEDULE = f"""
    INSERT INTO scheduled ({", ".join(_KEPT)}, legs, due_at, scheduled_at)
    VALUES ({", ".join(f"%({name})s" for name in _KEPT)}, %(legs)s, %(due_at)s, %(now)s)
"""

_TAKE = f"""
    SELECT due_at, legs::text, {", ".join(map(selected, _KEPT))}
    FROM scheduled
    WHERE cancelled_at IS NULL AND refused_at IS NULL AND due_at <= %(now)s
    ORDER BY due_at, id
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
"""

_REMOVE = """
    DELETE FROM scheduled
    WHERE id = ANY(%(ids)s::uuid[])
"""

_REFUSE = """
    UPDATE scheduled
    SET refused_at = clock_timestamp()
    WHERE id = ANY(%(ids)s::uuid[])
"""

_WAITING_ALL = f"""
    SELECT due_at, legs::text, {", ".join(map(selected, _KEPT))}
    FROM scheduled
    WHERE cancelled_at IS NULL
    ORDER BY id
"""

_BALANCE_IDS = """
    SELECT id, 'bln_' || balance_id
    FROM balances
    WHERE id = ANY(%(keys)s)
"""

_CANCEL = """
    UPDATE scheduled
    SET cancelled_at = clock_timestamp()
    WHERE id = %(id)s AND cancelled_at IS NULL
"""

_ADD = """
    INSERT INTO due (transaction, action, at)
    VALUES (%s, %s, %s)
"""

# A posting is decided when it has an outcome, and a split (which is in no queue) when all its legs are.
_TAKE_SETTLEMENTS = """
    DELETE FROM due
    USING (
        SELECT transaction, action, actor
        FROM due
        JOIN log ON log.id = transaction
        WHERE at <= %(now)s
          AND CASE
              WHEN queue IS NOT NULL THEN EXISTS (
                  SELECT
                  FROM outcomes
                  WHERE outcomes.seq = log.seq
              )
              ELSE NOT EXISTS (
                  SELECT
                  FROM log AS leg
                  LEFT JOIN outcomes USING (seq)
                  WHERE leg.parent = 'txn_' || log.id AND leg.kind IN (1, 2) AND outcomes.seq IS NULL
              )
          END
        ORDER BY at, transaction, action
        LIMIT %(limit)s
        FOR UPDATE OF due SKIP LOCKED
    ) AS ready
    WHERE due.transaction = ready.transaction AND due.action = ready.action
    RETURNING 'txn_' || due.transaction, due.action, due.at, ready.actor
"""

# The time of the statement does not change within it, so indexes can serve it.
_WAITING = """
    SELECT
        EXISTS (
            SELECT
            FROM scheduled
            WHERE cancelled_at IS NULL AND refused_at IS NULL AND due_at <= coalesce(%(now)s::timestamptz, statement_timestamp())
        ),
        EXISTS (
            SELECT
            FROM due
            WHERE at <= coalesce(%(now)s::timestamptz, statement_timestamp())
        )
"""


def schedule(conn: Connection, drafts: Sequence[Draft], now: datetime) -> None:
    """Store transactions until they are due. The caller holds the append lock and has checked the references."""
    pledged, rows = [], []
    for draft in drafts:
        assert draft.due_at is not None
        legs = json.dumps([_leg_values(leg.row) for leg in draft.legs])
        own = {"terms": draft.row.terms or "{}", "legs": legs, "due_at": draft.due_at, "now": now}
        rows.append({**asdict(draft.row), **own})
        pledged.append(of_scheduled(draft.row, legs, draft.due_at))
    with driver(conn).cursor() as cursor:
        cursor.executemany(_SCHEDULE, rows)
    pledges.add(conn, pledged)


def _leg_values(leg: LogRow) -> tuple[Any, ...]:
    return leg.transaction_id, leg.kind, leg.source, leg.destination, leg.amount


def take_scheduled(conn: Connection, now: datetime, limit: int) -> tuple[list[Draft], list[str]]:
    """Remove the scheduled transactions that are due and return them, oldest date first.

    Rows that another caller is taking are left to that caller. Those that were altered since they were accepted stay, are
    marked as refused, and their IDs are returned too.
    """
    found = driver(conn).execute(_TAKE, {"now": now, "limit": limit}).fetchall()
    rows = [(due_at, LogRow(**dict(zip(_KEPT, values, strict=True))), legs) for due_at, legs, *values in found]
    rows.sort(key=lambda each: (each[0], each[1].id))
    pledged = pledges.digests(conn, [row.id for _, row, _ in rows])
    refused = [row.id for due_at, row, legs in rows if not _is_as_pledged(row, legs, due_at, pledged)]
    taken = [(due_at, row, json.loads(legs)) for due_at, row, legs in rows if row.id not in refused]
    driver(conn).execute(_REMOVE, {"ids": [row.id for _, row, _ in taken]})
    if refused:
        driver(conn).execute(_REFUSE, {"ids": refused})
    keys = {row.source for _, row, _ in taken if row.source is not None}
    keys |= {leg[2] for _, _, legs in taken for leg in legs}
    names = driver(conn).execute(_BALANCE_IDS, {"keys": list(keys)})
    routes = {key: route_of(balance_id) for key, balance_id in names.fetchall()}
    return [_draft(row, legs, routes) for _, row, legs in taken], refused


def _is_as_pledged(row: LogRow, legs: str, due_at: datetime, pledged: dict[str, bytes]) -> bool:
    """Tell whether a scheduled transaction is as it was accepted. One of an older release has no actor and no pledge."""
    digest = pledged.get(row.id)
    return row.actor is None if digest is None else of_scheduled(row, legs, due_at).digest == digest


def altered(conn: Connection) -> list[str]:
    """List the IDs of scheduled transactions that are not as they were accepted."""
    found = driver(conn).execute(_WAITING_ALL).fetchall()
    rows = [(due_at, LogRow(**dict(zip(_KEPT, values, strict=True))), legs) for due_at, legs, *values in found]
    pledged = pledges.digests(conn, [row.id for _, row, _ in rows])
    return [row.id for due_at, row, legs in rows if not _is_as_pledged(row, legs, due_at, pledged)]


def _draft(row: LogRow, legs: list[list[Any]], routes: dict[int, int]) -> Draft:
    drafts = []
    for number, (leg_id, kind, source, destination, amount) in enumerate(legs, 1):
        leg = replace(
            row,
            id=leg_id.removeprefix("txn_"),
            reference=f"{row.reference}_{number}",
            kind=kind,
            source=source,
            destination=destination,
            amount=amount,
            parent=row.transaction_id,
            terms=None,
        )
        drafts.append(Draft(row=leg, route=routes[source]))
    return Draft(row=row, route=0 if row.source is None else routes[row.source], legs=tuple(drafts))


def cancel(conn: Connection, transaction_id: str) -> bool:
    """Cancel a scheduled transaction. Returns False when there is none, or it was cancelled before."""
    return driver(conn).execute(_CANCEL, {"id": uuid_of(transaction_id, "txn_")}).rowcount == 1


def add(conn: Connection, settle_at: Sequence[tuple[str, int, datetime]]) -> None:
    """Store when to commit or void holds, as triples of transaction id, kind and time."""
    with driver(conn).cursor() as cursor:
        cursor.executemany(
            _ADD,
            [(transaction_id[4:], action, at) for transaction_id, action, at in settle_at],
        )


def take_settlements(conn: Connection, now: datetime, limit: int) -> list[tuple[str, int, str | None]]:
    """Remove the dates of decided holds that have come, and return transaction id, kind and who asked for the hold.

    The oldest date is first, and a commit_inflight comes before a void_inflight of the same time. A transaction that is
    not decided keeps its date, because only its outcome tells what there is to settle.
    """
    rows = driver(conn).execute(_TAKE_SETTLEMENTS, {"now": now, "limit": limit}).fetchall()
    return [(row[0], row[1], row[3]) for row in sorted(rows, key=lambda row: (row[2], row[0], row[1]))]


def waiting(conn: Connection, now: datetime | None) -> tuple[bool, bool]:
    """Tell whether a scheduled transaction is due, and whether a date of a hold has come. It costs two index probes.

    The default time is that of the database.
    """
    row = driver(conn).execute(_WAITING, {"now": now}).fetchone()
    assert row is not None
    return row[0], row[1]
