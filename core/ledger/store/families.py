"""Reads transactions by what they belong to: the legs of a split, the members of a batch, the settlements of a hold."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from core.base.db import driver
from core.ledger.rules.model import STATUS_OF_NUMBER, Status
from core.ledger.store.transaction_rows import TRANSACTION_PREFIX, TransactionRow
from core.ledger.store.transactions import FROM, SELECT

_LEGS_OF_SPLIT = f"""{SELECT}
WHERE parent = %(id)s
  AND kind IN (1, 2, 6)
ORDER BY log.seq
"""

_IN_BATCH = """
  (
      parent = %(id)s
      OR parent IN (
          SELECT 'txn_' || id
          FROM log AS split
          WHERE split.parent = %(id)s
            AND split.kind = 5
      )
  )
""".strip()

_LEGS_OF_BATCH = f"""{SELECT}
WHERE kind IN (1, 2)
  AND {_IN_BATCH}
ORDER BY log.seq
"""

_COUNT_MEMBERS = """
SELECT count(*)
FROM log
WHERE parent = %(id)s
  AND kind IN (1, 2)
"""

_SETTLEMENTS = f"""{SELECT}
WHERE hold_seq = %(hold_seq)s
  AND o.status <> 4
ORDER BY log.seq
"""

_UNDECIDED_SETTLEMENTS = """
SELECT DISTINCT kind, amount
FROM log
JOIN queues ON queues.number = log.queue
WHERE hold_seq = ANY(%(hold_seqs)s)
  AND log.seq > queues.cursor
"""

# A row without a status waits; 0 and 3 are scheduled and cancelled before its date.
_BATCH = f"""
SELECT CASE
           WHEN log.kind = 5 THEN l.status
           WHEN h.seq IS NULL THEN o.status
           WHEN h.settled_at IS NULL THEN 2
           WHEN h.committed > 0 THEN 1
           ELSE 3
       END AS number,
       count(*), bool_or(kind = 2 OR log.terms->>'inflight' = 'true'),
       min(accepted_at), max(coalesce(o.decided_at, l.decided_at))
{FROM}
WHERE parent = %(id)s
  AND kind IN (1, 2, 5)
  AND log.terms->>'refund' IS NULL
GROUP BY number

UNION ALL
SELECT CASE WHEN cancelled_at IS NULL THEN 0 ELSE 3 END, count(*), bool_or(kind = 2), min(scheduled_at), NULL
FROM scheduled
WHERE parent = %(id)s
GROUP BY 1
"""

_LAST_POSITIONS = f"""
SELECT queue, max(seq)
FROM log
WHERE queue IS NOT NULL
  AND {_IN_BATCH}
GROUP BY queue
"""


def legs_of(conn: Connection, transaction_id: str) -> list[TransactionRow]:
    """Read the postings of a split or batch, in order of acceptance. Those of a batch include those of the splits in it."""
    sql = _LEGS_OF_SPLIT if transaction_id.startswith(TRANSACTION_PREFIX) else _LEGS_OF_BATCH
    return [TransactionRow(*row) for row in driver(conn).execute(sql, {"id": transaction_id})]


def count_members(conn: Connection, batch_id: str) -> int:
    """Count the transfers and holds of a batch; the legs of splits in it do not count."""
    (count,) = driver(conn).execute(_COUNT_MEMBERS, {"id": batch_id}).fetchone()  # type: ignore[misc]
    return int(count)


def settlements_of(conn: Connection, hold_seq: int) -> list[TransactionRow]:
    """Read the commits and voids of a hold that were not rejected, in order of acceptance."""
    return [TransactionRow(*row) for row in driver(conn).execute(_SETTLEMENTS, {"hold_seq": hold_seq})]


def undecided_settlements(conn: Connection, hold_seqs: list[int]) -> set[tuple[int, int]]:
    """Read the kinds and amounts of the commits and voids of these holds that wait in their queues."""
    return set(driver(conn).execute(_UNDECIDED_SETTLEMENTS, {"hold_seqs": hold_seqs}).fetchall())


class Batch(NamedTuple):
    """The transactions of a batch, counted by status. Times are those of the first and last of them."""

    transactions: int
    by_status: dict[Status, int]
    inflight: bool
    """Whether one of them is a hold."""
    accepted_at: datetime
    decided_at: datetime | None


def batch(conn: Connection, batch_id: str) -> Batch | None:
    """Count the transactions of a bulk by status. None when there is no such batch."""
    rows = driver(conn).execute(_BATCH, {"id": batch_id}).fetchall()
    if not rows:
        return None
    by_status: dict[Status, int] = {}
    for number, count, *_ in rows:
        status = Status.QUEUED if number is None else Status.SCHEDULED if number == 0 else STATUS_OF_NUMBER[number]
        by_status[status] = by_status.get(status, 0) + count
    return Batch(
        sum(by_status.values()),
        by_status,
        any(row[2] for row in rows),
        min(row[3] for row in rows),
        max((row[4] for row in rows if row[4] is not None), default=None),
    )


def last_positions(conn: Connection, batch_id: str) -> dict[int, int]:
    """Read the queues that a batch is in, and the seq of its last posting in each. Those of splits in it come as well."""
    return dict(driver(conn).execute(_LAST_POSITIONS, {"id": batch_id}).fetchall())
