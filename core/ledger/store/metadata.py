"""Merges metadata that is added later into what is there.

The database merges in one statement, so that two callers at once lose nothing. The metadata of ledgers and balances is
in their rows. The log never changes, so later metadata of a transaction has a row of its own, which reads merge.
"""

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.base.db import driver
from core.base.ids import uuid_of
from core.ledger.store.balances import BALANCE_PREFIX
from core.ledger.store.transaction_rows import TRANSACTION_PREFIX

# The row is locked before it is changed, so that what was before is what this statement replaces.
_MERGE_LEDGER = """
    WITH before AS (
        SELECT id, meta_data
        FROM ledgers
        WHERE ledger_id = %(key)s
        FOR NO KEY UPDATE
    )
    UPDATE ledgers
    SET meta_data = coalesce(ledgers.meta_data, '{}') || %(meta_data)s::jsonb
    FROM before
    WHERE ledgers.id = before.id
    RETURNING before.meta_data, ledgers.meta_data
"""

_MERGE_BALANCE = """
    WITH before AS (
        SELECT id, meta_data
        FROM balances
        WHERE balance_id = %(key)s
        FOR NO KEY UPDATE
    )
    UPDATE balances
    SET meta_data = coalesce(balances.meta_data, '{}') || %(meta_data)s::jsonb
    FROM before
    WHERE balances.id = before.id
    RETURNING before.meta_data, balances.meta_data
"""

# OFFSET 0 makes it one index probe for the children of each, however many the planner expects.
_DESCENDANTS = """
    WITH RECURSIVE family (id) AS (
        SELECT id
        FROM log
        WHERE id = %(own)s OR parent = %(batch)s
        UNION
        SELECT child.id
        FROM family
        CROSS JOIN LATERAL (
            SELECT log.id
            FROM log
            WHERE log.parent = 'txn_' || family.id
            OFFSET 0
        ) AS child
    )
    SELECT id
    FROM family
    UNION
    SELECT id
    FROM scheduled
    WHERE id = %(own)s OR parent = %(batch)s
    UNION
    SELECT substr(leg->>0, 5)::uuid
    FROM scheduled
    CROSS JOIN json_array_elements(legs) AS leg
    WHERE id = %(own)s OR parent = %(batch)s
"""

# New rows are added, and then all are locked, in order of key, so that two callers cannot deadlock. The rows are there
# before they are read, so that what was before is what the merge replaces.
_ADD_ANNOTATIONS = """
    INSERT INTO annotations (id, meta_data)
    SELECT id, '{}'
    FROM unnest(%(keys)s::uuid[]) AS family (id)
    ORDER BY id
    ON CONFLICT (id) DO NOTHING
"""

_LOCK_ANNOTATIONS = """
    SELECT id
    FROM annotations
    WHERE id = ANY(%(keys)s)
    ORDER BY id
    FOR NO KEY UPDATE
"""

_MERGE_TRANSACTIONS = """
    WITH before AS (
        SELECT id, meta_data
        FROM annotations
        WHERE id = ANY(%(keys)s)
    )
    UPDATE annotations
    SET meta_data = annotations.meta_data || %(meta_data)s::jsonb
    FROM before
    WHERE annotations.id = before.id
    RETURNING 'txn_' || annotations.id, before.meta_data, annotations.meta_data
"""


class Change(NamedTuple):
    """The metadata of one thing before and after a change, as JSON text."""

    subject: str
    """The ID of the thing."""
    before: str | None
    after: str


def merge_ledger(conn: Connection, ledger_id: str, meta_data: str) -> Change | None:
    """Merge into a ledger's metadata. Returns None when there is no such ledger."""
    row = driver(conn).execute(_MERGE_LEDGER, {"meta_data": meta_data, "key": ledger_id}).fetchone()
    return None if row is None else Change(ledger_id, *row)


def merge_balance(conn: Connection, balance_id: str, meta_data: str) -> Change | None:
    """Merge into a balance's metadata. Returns None when there is no such balance."""
    key = uuid_of(balance_id, BALANCE_PREFIX)
    row = driver(conn).execute(_MERGE_BALANCE, {"meta_data": meta_data, "key": key}).fetchone()
    return None if row is None else Change(balance_id, *row)


def with_descendants(conn: Connection, entity_id: str) -> list[UUID]:
    """Find a transaction, or the transactions of a batch, and all that came of them, accepted or scheduled."""
    own = uuid_of(entity_id, TRANSACTION_PREFIX)
    rows = driver(conn).execute(_DESCENDANTS, {"own": own, "batch": entity_id if own is None else None})
    return [id for (id,) in rows]


def merge_transactions(conn: Connection, keys: Collection[UUID], meta_data: str) -> list[Change]:
    """Merge into the later metadata of all these transactions. Returns how that of each has changed."""
    parameters = {"meta_data": meta_data, "keys": list(keys)}
    connection = driver(conn)
    with connection.pipeline():
        connection.execute(_ADD_ANNOTATIONS, parameters)
        connection.execute(_LOCK_ANNOTATIONS, parameters)
        merged = connection.execute(_MERGE_TRANSACTIONS, parameters)
    return [Change(*row) for row in merged.fetchall()]
