"""Merges metadata that is added later into what is there.

The database merges in one statement, so that two callers at once lose nothing. The metadata of ledgers and balances is
in their rows. The log never changes, so later metadata of a transaction has a row of its own, which reads merge.
"""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Connection

from core.base.db import driver
from core.base.ids import uuid_of
from core.ledger.store.transactions import TRANSACTION_PREFIX

_MERGE_LEDGER = """
    UPDATE ledgers
    SET meta_data = coalesce(meta_data, '{}') || %(meta_data)s::jsonb
    WHERE ledger_id = %(key)s
    RETURNING meta_data
"""

_MERGE_BALANCE = """
    UPDATE balances
    SET meta_data = coalesce(meta_data, '{}') || %(meta_data)s::jsonb
    WHERE balance_id = %(key)s
    RETURNING meta_data
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

# Rows are locked in order of key, so that two callers cannot deadlock.
_MERGE_TRANSACTIONS = """
    INSERT INTO annotations (id, meta_data)
    SELECT id, %(meta_data)s::jsonb
    FROM unnest(%(keys)s::uuid[]) AS family (id)
    ORDER BY id
    ON CONFLICT (id) DO UPDATE
    SET meta_data = annotations.meta_data || excluded.meta_data
    RETURNING octet_length(meta_data::text)
"""


def merge_ledger(conn: Connection, ledger_id: str, meta_data: str) -> str | None:
    """Merge into a ledger's metadata. Returns all of it as JSON text, or None when there is no such ledger."""
    return _merged(conn, _MERGE_LEDGER, {"meta_data": meta_data, "key": ledger_id})


def merge_balance(conn: Connection, key: UUID | None, meta_data: str) -> str | None:
    """Merge into a balance's metadata. Returns all of it as JSON text, or None when there is no such balance."""
    return _merged(conn, _MERGE_BALANCE, {"meta_data": meta_data, "key": key})


def _merged(conn: Connection, statement: str, parameters: dict[str, object]) -> str | None:
    row = driver(conn).execute(statement, parameters).fetchone()
    return row[0] if row is not None else None


def with_descendants(conn: Connection, entity_id: str) -> list[UUID]:
    """Find a transaction, or the transactions of a batch, and all that came of them, accepted or scheduled."""
    own = uuid_of(entity_id, TRANSACTION_PREFIX)
    rows = driver(conn).execute(_DESCENDANTS, {"own": own, "batch": entity_id if own is None else None})
    return [id for (id,) in rows]


def merge_transactions(conn: Connection, keys: Collection[UUID], meta_data: str) -> int:
    """Merge into the later metadata of all these transactions. Returns the largest result's size in bytes of JSON text.

    Rows are locked in order of key, so that two callers cannot deadlock.
    """
    rows = driver(conn).execute(_MERGE_TRANSACTIONS, {"meta_data": meta_data, "keys": list(keys)})
    return max(int(size) for (size,) in rows)
