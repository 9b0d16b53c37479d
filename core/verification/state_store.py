"""SQL that reads the state for a verification: balances, holds, refunds and dates. It writes nothing."""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

from core.base.db import driver
from core.base.rows import array
from core.ledger.rules.model import Balance, Hold, Refunded
from core.ledger.store.outcomes import OPEN_HOLDS_HAVE_SIDES

_FETCH = 5000
"""The number of rows that a server-side cursor fetches at a time."""

# Balances, holds, refunds


class StoredBalance(NamedTuple):
    """A balance as it is stored."""

    name: str
    currency: str
    balance: int
    sums: Balance


class StoredHold(NamedTuple):
    """A hold as it is stored."""

    hold: Hold
    settled_at: datetime | None
    source: int | None
    destination: int | None
    may_lack_sides: bool
    """Whether an older release may have left it without its balances."""


_BALANCES = """
SELECT concat_ws(' ', 'bln_' || balance_id, indicator), currency, balance, id, credit_balance,
       debit_balance, inflight_credit_balance, inflight_debit_balance, version, last_credit_seq
FROM balances
ORDER BY id
"""

_HOLDS = f"""
SELECT seq, amount, committed, voided, settled_at, source, destination,
       settled_at IS NOT NULL OR NOT {OPEN_HOLDS_HAVE_SIDES}
FROM holds
ORDER BY seq
"""

_REFUNDS = """
SELECT seq, amount, refunded
FROM refunds
ORDER BY seq
"""

_TOTALS = """
SELECT currency, sum(balance), sum(inflight_credit_balance - inflight_debit_balance)
FROM balances
GROUP BY currency
ORDER BY currency
"""

# Served by the primary key.
_CURRENT = """
SELECT id, concat_ws(' ', 'bln_' || balance_id, indicator), version, balance
FROM balances
WHERE id = ANY(%(keys)s::bigint[])
ORDER BY id
"""


def balances(conn: Connection) -> Iterator[StoredBalance]:
    """Yield every balance, oldest first."""
    rows = _stream(conn, "every_balance", _BALANCES)
    return (StoredBalance(row[0], row[1], row[2], Balance(*row[3:])) for row in rows)


def holds(conn: Connection) -> Iterator[StoredHold]:
    """Yield every hold, oldest first."""
    return (StoredHold(Hold(*row[:4]), *row[4:]) for row in _stream(conn, "every_hold", _HOLDS))


def refunds(conn: Connection) -> list[Refunded]:
    """Read the stored refunded amount of each refunded transaction."""
    return [Refunded(*row) for row in driver(conn).execute(_REFUNDS)]


def totals(conn: Connection) -> list[tuple[str, int, int]]:
    """Add up the balances of each currency. Returns rows of currency, balance and inflight amount."""
    return driver(conn).execute(_TOTALS).fetchall()


def current(conn: Connection, keys: Collection[int]) -> list[tuple[int, str, int, int]]:
    """Read some balances as they are now. Returns rows of key, name, version and balance."""
    return driver(conn).execute(_CURRENT, {"keys": array(keys)}).fetchall()


# Entries: the two sides of each outcome


class BrokenEntry(NamedTuple):
    """One side of an outcome that does not go on from the balance's outcome before it."""

    seq: int
    balance: int
    side: str
    """``source`` or ``destination``."""
    version: int | None
    expected_version: int
    balance_after: int | None
    expected_balance: int


# Only status 1, APPLIED, moves money. The database sorts and compares, on disk if it must.
_BROKEN_ENTRIES = """
WITH entries AS (
    SELECT source AS balance, 'source' AS side, source_version AS version, source_balance::numeric AS after,
           CASE status WHEN 1 THEN -amount ELSE 0 END::numeric AS change, seq
    FROM outcomes
    WHERE source IS NOT NULL
    UNION ALL
    SELECT destination, 'destination', destination_version, destination_balance::numeric,
           CASE status WHEN 1 THEN amount ELSE 0 END::numeric, seq
    FROM outcomes
    WHERE destination IS NOT NULL
), followed AS (
    SELECT *,
           lag(version, 1, 1::bigint) OVER line + 1 AS expected_version,
           lag(after, 1, 0::numeric) OVER line + change AS expected_after
    FROM entries
    WINDOW line AS (PARTITION BY balance ORDER BY version, seq)
)
SELECT seq, balance, side, version, expected_version, after, expected_after
FROM followed
WHERE version IS DISTINCT FROM expected_version
   OR after IS DISTINCT FROM expected_after
ORDER BY balance, version, seq
LIMIT %(limit)s
"""

# Served by the indexes of outcomes by source and version, and by destination and version.
_ENTRIES_AT = """
WITH wanted AS MATERIALIZED (
    SELECT *
    FROM unnest(%(keys)s::bigint[], %(versions)s::bigint[]) AS one (key, version)
)
SELECT source, source_version, source_balance
FROM wanted
JOIN outcomes ON source = key AND source_version = version AND source IS NOT NULL
UNION ALL
SELECT destination, destination_version, destination_balance
FROM wanted
JOIN outcomes ON destination = key AND destination_version = version AND destination IS NOT NULL
"""


def broken_entries(conn: Connection, limit: int) -> list[BrokenEntry]:
    """Find the entries where the versions of a balance have a gap or a repeat, or its running balance jumps.

    A balance begins at version 1 with zero. Every outcome that touches it adds one to the version.
    """
    return [BrokenEntry(*row) for row in driver(conn).execute(_BROKEN_ENTRIES, {"limit": limit})]


def entries_at(conn: Connection, at: Collection[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Return the running balance at each pair of balance key and version. A pair without an outcome is left out."""
    values = {"keys": array(key for key, _ in at), "versions": array(version for _, version in at)}
    return {(key, version): after for key, version, after in driver(conn).execute(_ENTRIES_AT, values)}


# Dates


# Kinds 2 and 5: a hold, and a split.
_DUE_WITHOUT_TRANSACTION = """
SELECT DISTINCT 'txn_' || transaction
FROM due
WHERE NOT EXISTS (
    SELECT
    FROM log
    WHERE log.id = transaction
      AND kind IN (2, 5)
)
ORDER BY 1
LIMIT %(limit)s
"""

_SCHEDULED_AND_ACCEPTED = """
SELECT DISTINCT 'txn_' || scheduled.id, seq
FROM scheduled
JOIN log ON log.id = scheduled.id OR log.reference = scheduled.reference
ORDER BY seq
LIMIT %(limit)s
"""


def due_without_transaction(conn: Connection, limit: int) -> list[str]:
    """Find the transactions with a settlement date that are neither a hold nor a split in the log."""
    return [id for (id,) in driver(conn).execute(_DUE_WITHOUT_TRANSACTION, {"limit": limit})]


def scheduled_and_accepted(conn: Connection, limit: int) -> list[tuple[str, int]]:
    """Find the scheduled or cancelled transactions that are in the log already. Returns pairs of id and seq."""
    return driver(conn).execute(_SCHEDULED_AND_ACCEPTED, {"limit": limit}).fetchall()


def _stream(conn: Connection, name: str, sql: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a statement through a server-side cursor, so that memory does not grow with the table."""
    with driver(conn).cursor(name) as cursor:
        cursor.itersize = _FETCH
        cursor.execute(sql)
        yield from cursor
