"""Metadata that is added later: merged by the database in one statement, so that of two at once none is lost.

That of ledgers and balances is in their rows. The log is never changed, so what is added to a transaction has a row of
its own, which reads merge.
"""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Connection

from core.base.db import driver
from core.base.ids import key_of
from core.ledger.store.transactions import TRANSACTION_PREFIX


def merge_ledger(conn: Connection, ledger_id: str, meta_data: str) -> str | None:
    """All of it then, as JSON text. None when there is no such ledger."""
    return _one(
        conn,
        "UPDATE ledgers SET meta_data = coalesce(meta_data, '{}') || %s::jsonb WHERE ledger_id = %s RETURNING meta_data",
        meta_data,
        ledger_id,
    )


def merge_balance(conn: Connection, key: UUID | None, meta_data: str) -> str | None:
    """All of it then, as JSON text. None when there is no such balance."""
    return _one(
        conn,
        "UPDATE balances SET meta_data = coalesce(meta_data, '{}') || %s::jsonb WHERE balance_id = %s RETURNING meta_data",
        meta_data,
        key,
    )


def _one(conn: Connection, sql: str, meta_data: str, key: object) -> str | None:
    row = driver(conn).execute(sql, (meta_data, key)).fetchone()
    return row[0] if row is not None else None


def family(conn: Connection, entity_id: str) -> list[UUID]:
    """A transaction, or the transactions of a batch, with all that came of them, accepted or scheduled."""
    own = key_of(entity_id, TRANSACTION_PREFIX)
    rows = driver(conn).execute(
        # One index probe for the children of each, however many the planner expects.
        "WITH RECURSIVE family (id) AS (SELECT id FROM log WHERE id = %(own)s OR parent = %(batch)s "
        "UNION SELECT child.id FROM family CROSS JOIN LATERAL "
        "(SELECT log.id FROM log WHERE log.parent = 'txn_' || family.id OFFSET 0) AS child) SELECT id FROM family "
        "UNION SELECT id FROM scheduled WHERE id = %(own)s OR parent = %(batch)s "
        "UNION SELECT substr(leg->>0, 5)::uuid FROM scheduled CROSS JOIN json_array_elements(legs) AS leg "
        "WHERE id = %(own)s OR parent = %(batch)s",
        {"own": own, "batch": entity_id if own is None else None},
    )
    return [id for (id,) in rows]


def merge(conn: Connection, keys: Collection[UUID], meta_data: str) -> int:
    """Add to all of these. Returns the size of what the largest has got so, in bytes of JSON text.

    Rows are locked in order of key, so that two callers cannot deadlock.
    """
    rows = driver(conn).execute(
        "INSERT INTO annotations (id, meta_data) SELECT id, %s::jsonb FROM unnest(%s::uuid[]) AS family (id) ORDER BY id "
        "ON CONFLICT (id) DO UPDATE SET meta_data = annotations.meta_data || excluded.meta_data "
        "RETURNING octet_length(meta_data::text)",
        (meta_data, list(keys)),
    )
    return max(int(size) for (size,) in rows)
