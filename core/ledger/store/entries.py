"""Reads the entries of balances, oldest first."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from core.ledger.store import versions


class Entry(NamedTuple):
    """One side of a posting that moved money. It is a line of a statement."""

    version: int
    """The version of the balance after the entry. Ordered by it, entries have no break in the running balance."""
    transaction_id: str
    reference: str
    parent: str | None
    direction: str
    """``debit`` or ``credit``."""
    amount: int
    balance_after: int
    counterparty: str
    currency: str
    precision: int
    description: str
    at: datetime
    sequence: int
    effective_date: datetime
    """The time from which the entry counts: the acceptance, unless the transaction names another time."""


_SIDE = """
        SELECT
            outcomes.{side}_version AS version,
            log.id,
            log.reference,
            log.parent,
            '{direction}' AS direction,
            outcomes.amount,
            outcomes.{side}_balance AS balance_after,
            outcomes.{other} AS counterparty,
            log.currency,
            log.precision,
            log.description,
            outcomes.decided_at,
            outcomes.seq,
            coalesce(log.effective_date, log.accepted_at) AS effective_date
        FROM outcomes
        JOIN log ON log.seq = outcomes.seq
        WHERE outcomes.{side} = :key
          AND outcomes.status = 1
          AND outcomes.{side}_version > :after
          AND outcomes.{side}_version < :end
          AND (CAST(:since AS timestamptz) IS NULL OR outcomes.decided_at >= :since)
          AND (CAST(:until AS timestamptz) IS NULL OR outcomes.decided_at < :until)
        ORDER BY outcomes.{side}_version
        LIMIT :limit
"""

# outcomes_source_version_idx and outcomes_destination_version_idx serve the two sides, in order.
_ENTRIES = text(
    f"""
    SELECT
        e.version,
        'txn_' || e.id,
        reference,
        parent,
        direction,
        amount,
        balance_after,
        coalesce(indicator, 'bln_' || balance_id),
        e.currency,
        precision,
        description,
        decided_at,
        seq,
        effective_date
    FROM (
        ({_SIDE.format(side="source", other="destination", direction="debit").strip()})
        UNION ALL
        ({_SIDE.format(side="destination", other="source", direction="credit").strip()})
    ) AS e
    JOIN balances ON balances.id = counterparty
    ORDER BY e.version
    LIMIT :limit
    """
)


def entries(
    conn: Connection, key: int, *, limit: int, after: int | None, between: tuple[datetime | None, datetime | None]
) -> list[Entry]:
    """Read the entries of a balance, oldest first, with a version above ``after``.

    ``between`` is the first time of their decision, and the first time after it. None does not limit them.
    """
    since, until = between
    found: list[Entry] = []
    for within in versions.ranges(conn, key, between):
        given = {
            "key": key,
            "after": max(after or 0, within.above),
            "end": within.end,
            "since": since,
            "until": until,
            "limit": limit - len(found),
        }
        found += [Entry(*row) for row in conn.execute(_ENTRIES, given)]
        if len(found) == limit:
            break
    return found
