"""Keeps what waits for its date: scheduled transactions, and holds to commit or void."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import asdict, replace
from sqlalchemy import Connection

from core.base.db import driver
from core.base.ids import uuid_of
from core.base.tables import scheduled
from core.ledger.rules.log_row import COLUMNS, LogRow
from core.ledger.rules.model import Draft
from core.ledger.rules.routing import route_of
from core.ledger.store.log import selected

_KEPT = [name for name in COLUMNS if name in scheduled.c]
"""The columns of a ``LogRow`` that are known before it is accepted."""

_SCHEDULE = f"""
    INSERT INTO scheduled ({", ".join(_KEPT)}, legs, due_at, scheduled_at)
    VALUES ({", ".join(f"%({name})s" for name in _KEPT)}, %(legs)s, %(due_at)s, %(now)s)
"""

_TAKE = f"""
    DELETE FROM scheduled
    WHERE id IN (
        SELECT id
        FROM scheduled
        WHERE cancelled_at IS NULL AND due_at <= %(now)s
        ORDER BY due_at, id
        LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED
    )
    RETURNING due_at, legs::text, {", ".join(map(selected, _KEPT))}
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

_WAITING = """
    SELECT
        EXISTS (
            SELECT
            FROM scheduled
            WHERE cancelled_at IS NULL AND due_at <= %(now)s
        ),
        EXISTS (
            SELECT
            FROM due
            WHERE at <= %(now)s
        )
"""


def schedule(conn: Connection, drafts: Sequence[Draft], now: datetime) -> None:
    """Store transactions until they are due. The caller holds the append lock and has checked the references."""
    with driver(conn).cursor() as cursor:
        cursor.executemany(
            _SCHEDULE,
            [
                {
                    **asdict(draft.row),
                    "terms": draft.row.terms or "{}",
                    "legs": json.dumps([_leg_values(leg.row) for leg in draft.legs]),
                    "due_at": draft.due_at,
                    "now": now,
                }
                for draft in drafts
            ],
        )


def _leg_values(leg: LogRow) -> tuple[Any, ...]:
    return leg.transaction_id, leg.kind, leg.source, leg.destination, leg.amount


def take_scheduled(conn: Connection, now: datetime, limit: int) -> list[Draft]:
    """Remove the scheduled transactions that are due and return them, oldest date first.

    Rows that another caller is taking are left to that caller.
    """
    found = driver(conn).execute(_TAKE, {"now": now, "limit": limit}).fetchall()
    taken = [
        (due_at, LogRow(**dict(zip(_KEPT, values, strict=True))), json.loads(legs)) for due_at, legs, *values in found
    ]
    taken.sort(key=lambda each: (each[0], each[1].id))
    keys = {row.source for _, row, _ in taken if row.source is not None}
    keys |= {leg[2] for _, _, legs in taken for leg in legs}
    names = driver(conn).execute(_BALANCE_IDS, {"keys": list(keys)})
    routes = {key: route_of(balance_id) for key, balance_id in names.fetchall()}
    return [_draft(row, legs, routes) for _, row, legs in taken]


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


def waiting(conn: Connection, now: datetime) -> tuple[bool, bool]:
    """Tell whether a scheduled transaction is due, and whether a date of a hold has come. It costs two index probes."""
    row = driver(conn).execute(_WAITING, {"now": now}).fetchone()
    assert row is not None
    return row[0], row[1]
