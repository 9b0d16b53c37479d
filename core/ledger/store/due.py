"""What waits for its date: scheduled transactions, and holds to commit or void."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.base.db import driver
from core.base.ids import key_of
from core.ledger.rules.model import Draft
from core.ledger.rules.routing import route_of

_SCHEDULED = (
    "id, reference, kind, source, destination, amount, currency, precision, description, allow_overdraft, "
    "overdraft_limit, parent, effective_date, meta_data, terms, legs, due_at, scheduled_at"
)


class Scheduled(NamedTuple):
    """A transaction that is not in the log yet, or was cancelled before it was."""

    id: UUID
    cancelled_at: datetime | None


def schedule(conn: Connection, drafts: Sequence[Draft], now: datetime) -> None:
    """Put transactions aside until they are due. The caller holds the append lock and has checked the references."""
    with driver(conn).cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO scheduled ({_SCHEDULED}) VALUES ({', '.join(['%s'] * 18)})",
            [
                (
                    draft.transaction_id[4:],
                    draft.reference,
                    draft.kind,
                    draft.source,
                    draft.destination,
                    draft.amount,
                    draft.currency,
                    draft.precision,
                    draft.description,
                    draft.allow_overdraft,
                    draft.overdraft_limit,
                    draft.parent,
                    draft.effective_date,
                    draft.meta_data,
                    draft.terms or "{}",
                    json.dumps(
                        [(leg.transaction_id, leg.kind, leg.source, leg.destination, leg.amount) for leg in draft.legs]
                    ),
                    draft.due_at,
                    now,
                )
                for draft in drafts
            ],
        )


def take_scheduled(conn: Connection, now: datetime, limit: int) -> list[Draft]:
    """Remove what is due, oldest date first, and return it. What another caller is taking is left to that one."""
    rows = driver(conn).execute(
        "DELETE FROM scheduled WHERE id IN (SELECT id FROM scheduled WHERE cancelled_at IS NULL AND due_at <= %s "
        "ORDER BY due_at, id LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING id, reference, kind, source, destination, amount, "
        "currency, precision, description, allow_overdraft, overdraft_limit, parent, effective_date, meta_data::text, "
        "terms::text, legs::text, due_at",
        (now, limit),
    ).fetchall()  # fmt: skip
    rows.sort(key=lambda row: (row[-1], row[0]))
    legs = {row[0]: json.loads(row[15]) for row in rows}
    keys = {row[3] for row in rows if row[3] is not None} | {leg[2] for each in legs.values() for leg in each}
    found = driver(conn).execute("SELECT id, 'bln_' || balance_id FROM balances WHERE id = ANY(%s)", (list(keys),))
    routes = {key: route_of(balance_id) for key, balance_id in found.fetchall()}
    return [_draft(row, legs[row[0]], routes) for row in rows]


def _draft(row: tuple[Any, ...], legs: list[list[Any]], routes: dict[int, int]) -> Draft:
    key, reference, kind, source, destination, *rest = row[:15]
    amount, currency, precision, description, allow_overdraft, limit, parent, effective_date, meta_data, terms = rest
    head = Draft(
        f"txn_{key}", reference, kind, source, destination, routes.get(source, 0), amount, currency, precision,
        description, allow_overdraft, limit, None, parent, effective_date, meta_data, terms=terms,
    )  # fmt: skip
    return head._replace(
        legs=tuple(
            head._replace(
                transaction_id=leg_id,
                reference=f"{reference}_{number}",
                kind=leg_kind,
                source=leg_source,
                destination=leg_destination,
                route=routes[leg_source],
                amount=leg_amount,
                parent=head.transaction_id,
                terms=None,
            )
            for number, (leg_id, leg_kind, leg_source, leg_destination, leg_amount) in enumerate(legs, 1)
        )
    )


def cancel(conn: Connection, transaction_id: str) -> bool:
    """Cancel a scheduled transaction. False when there is none, or it was cancelled before."""
    key = key_of(transaction_id, "txn_")
    done = driver(conn).execute(
        "UPDATE scheduled SET cancelled_at = clock_timestamp() WHERE id = %s AND cancelled_at IS NULL", (key,)
    )
    return done.rowcount == 1


def add(conn: Connection, settle_at: Sequence[tuple[str, int, datetime]]) -> None:
    """Remember when to commit or void holds: triples of transaction id, kind and time."""
    with driver(conn).cursor() as cursor:
        cursor.executemany(
            "INSERT INTO due (transaction, action, at) VALUES (%s, %s, %s)",
            [(transaction_id[4:], action, at) for transaction_id, action, at in settle_at],
        )


def take_settlements(conn: Connection, now: datetime, limit: int) -> list[tuple[str, int]]:
    """Remove the dates that have come of transactions that are decided, and return pairs of id and kind, oldest first,
    and a commit before a void of the same time.

    One that is not decided yet keeps its date: what there is to settle is known only then.
    """
    rows = (
        driver(conn)
        .execute(
            "DELETE FROM due USING (SELECT transaction, action FROM due JOIN log ON log.id = transaction "
            "WHERE at <= %s AND CASE WHEN queue IS NOT NULL THEN EXISTS (SELECT FROM outcomes WHERE outcomes.seq = log.seq) "
            "ELSE NOT EXISTS (SELECT FROM log AS leg LEFT JOIN outcomes USING (seq) WHERE leg.parent = 'txn_' || log.id "
            "AND leg.kind IN (1, 2) AND outcomes.seq IS NULL) END "
            "ORDER BY at, transaction, action LIMIT %s FOR UPDATE OF due SKIP LOCKED) AS ready "
            "WHERE due.transaction = ready.transaction AND due.action = ready.action "
            "RETURNING 'txn_' || due.transaction, due.action, due.at",
            (now, limit),
        )
        .fetchall()
    )
    return [(row[0], row[1]) for row in sorted(rows, key=lambda row: (row[2], row[0], row[1]))]


def waiting(conn: Connection, now: datetime) -> tuple[bool, bool]:
    """Whether a scheduled transaction is due, and whether a date of a hold has come. Two index probes."""
    row = driver(conn).execute(
        "SELECT EXISTS (SELECT FROM scheduled WHERE cancelled_at IS NULL AND due_at <= %(now)s), "
        "EXISTS (SELECT FROM due WHERE at <= %(now)s)",
        {"now": now},
    ).fetchone()  # fmt: skip
    assert row is not None
    return row[0], row[1]
