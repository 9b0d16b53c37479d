"""The table of funding postings: it links each posted row of a run to its transaction."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.base import clock
from core.base.db import driver
from core.base.rows import copy_text
from core.funding.row_store import FundingRow
from core.funding.run_store import Result, RunRow
from core.ledger.store import times


class RowState(NamedTuple):
    """A row of a run, with its transaction if it is posted."""

    row: int
    destination: str
    amount: int
    description: str | None
    seq: int | None
    """Seq of its transaction; None when it is not posted."""
    first_seq: int | None
    """In a retry, the seq of the transaction that was rejected."""


class Tally(NamedTuple):
    """The number and the sum of a run's posted rows that share a status and a reason."""

    status: int | None
    """Number of the outcome's status; None while the rows are undecided."""
    reason: int | None
    rows: int
    amount: int
    """The minor units that moved or are held; 0 when the rows are undecided or rejected."""
    decided_at: datetime | None


_MOVE_ON = """
UPDATE funding_runs
SET posted_row = %(row)s, posted = posted + %(rows)s, posted_amount = posted_amount + %(amount)s, progressed_at = %(now)s
WHERE id = %(run)s
"""

_OTHERS_POSTED = """
SELECT EXISTS (
    SELECT
    FROM log
    WHERE seq >= %(first)s
      AND parent IS DISTINCT FROM %(run_id)s
)
"""

_LAST_POSTED = """
SELECT queue, seq
FROM log
WHERE queue IS NOT NULL
  AND seq = (SELECT max(seq) FROM funding_postings WHERE run = %(run)s)
"""

# One probe of the primary key: the last row of the last piece has its highest seq.
_UNDECIDED_PIECE = """
SELECT log.queue, log.seq
FROM funding_postings
JOIN log USING (seq)
JOIN queues ON queues.number = log.queue
WHERE funding_postings.run = %(run)s
  AND funding_postings.row = %(row)s
  AND log.seq > queues.cursor
"""

# A completed run is decided whole, and any other up to its last piece. So there is one probe for each run, and none of the line.
_UNDECIDED = """
SELECT log.queue, max(log.seq)
FROM funding_runs
JOIN funding_postings ON funding_postings.run = funding_runs.id AND funding_postings.row = funding_runs.posted_row
JOIN log USING (seq)
JOIN queues ON queues.number = log.queue
WHERE funding_runs.status NOT IN ('PENDING', 'COMPLETED')
  AND log.seq > queues.cursor
GROUP BY log.queue
ORDER BY log.queue
"""

_TALLY = """
SELECT o.status, o.reason, count(*), coalesce(sum(o.amount), 0), max(o.decided_at)
FROM funding_postings AS p
LEFT JOIN outcomes AS o ON o.seq = p.seq
WHERE p.run = %(run)s
  AND p.row > %(after)s
  AND p.row <= %(up_to)s
GROUP BY 1, 2
ORDER BY 1, 2
"""

# Runs that are counted need no look at their rows. Status 4 is REJECTED.
_APPLIED_BY_JOB = """
SELECT coalesce(sum(coalesce(r.applied, live.rows)), 0), coalesce(sum(coalesce(r.applied_amount, live.amount)), 0)
FROM funding_runs AS r
LEFT JOIN LATERAL (
    SELECT count(*) AS rows, coalesce(sum(o.amount), 0) AS amount
    FROM funding_postings AS p
    JOIN outcomes AS o ON o.seq = p.seq
    WHERE r.applied IS NULL
      AND p.run = r.id
      AND o.status <> 4
) AS live ON true
WHERE r.job = %(job)s
"""

# One walk along the list's primary key, with a probe of each primary key at each row. LIMIT 1 keeps a probe apart:
# where the planner's statistics know only small lists, it would join by run alone, and read the whole run at each row.
_ROW_STATES = """
SELECT found.row, coalesce(b.indicator, 'bln_' || b.balance_id), found.amount, found.description, found.seq, before.seq
FROM (
    SELECT f.row, f.destination, f.amount, f.description, p.seq
    FROM (
        SELECT row, destination, amount, description
        FROM funding_rows
        WHERE list = %(list)s
          AND row > %(after)s
        ORDER BY row
    ) AS f
    LEFT JOIN LATERAL (
        SELECT seq
        FROM funding_postings
        WHERE run = %(run)s
          AND row = f.row
        LIMIT 1
    ) AS p ON true
    LEFT JOIN LATERAL (
        SELECT seq, status
        FROM outcomes
        WHERE seq = p.seq
        LIMIT 1
    ) AS o ON true
    LEFT JOIN LATERAL (
        SELECT seq, amount, committed, voided, settled_at
        FROM holds
        WHERE seq = p.seq
        LIMIT 1
    ) AS h ON true
    WHERE {condition}
    ORDER BY f.row
    LIMIT %(limit)s
) AS found
JOIN balances AS b ON b.id = found.destination
LEFT JOIN LATERAL (
    SELECT seq
    FROM funding_postings AS p
    JOIN funding_retries AS g ON g.run = p.run AND g.row = p.row
    WHERE g.retry = %(run)s
      AND g.row = found.row
    LIMIT 1
) AS before ON true
ORDER BY found.row
"""

ROW_STATUSES = {
    "UNPOSTED": "p.seq IS NULL",
    "QUEUED": "p.seq IS NOT NULL AND o.seq IS NULL",
    "INFLIGHT": "h.settled_at IS NULL AND h.seq IS NOT NULL",
    "APPLIED": "o.status = 1 OR h.settled_at IS NOT NULL AND h.committed > 0",
    "VOID": "h.voided = h.amount",
    "REJECTED": "o.status = 4",
}
"""The statuses of a row, each with its SQL condition. A hold is INFLIGHT until nothing of it is left.

A hold of which something was committed is then APPLIED, and one that was voided whole is VOID.
"""

_ROW_STATES_BY_STATUS = {
    status: _ROW_STATES.replace("{condition}", condition)
    for status, condition in (ROW_STATUSES | {None: "true"}).items()
}


def record_postings(conn: Connection, id: UUID, rows: Sequence[tuple[FundingRow, int]], now: datetime) -> None:
    """Record the seq of each posted row, and advance the run past the last of them.

    The caller has appended the transactions to the log in the same database transaction. The primary key refuses to
    record a row twice.
    """
    run = str(id)
    copy_text(conn, "funding_postings", "run, row, seq", (f"{run}\t{row.row}\t{seq}" for row, seq in rows))
    values = {"row": rows[-1][0].row, "rows": len(rows), "amount": sum(row.amount for row, _ in rows)}
    driver(conn).execute(_MOVE_ON, {"run": id, "now": now, **values})


def others_posted(conn: Connection, run: RunRow, *, within_s: float) -> bool:
    """Tell whether the log accepted any posting from outside this run within the last ``within_s`` seconds."""
    first = times.first_since(conn, clock.now(conn) - timedelta(seconds=within_s))
    row = driver(conn).execute(_OTHERS_POSTED, {"first": first, "run_id": run.run_id}).fetchone()
    assert row is not None
    return bool(row[0])


def last_posted(conn: Connection, run: UUID) -> dict[int, int]:
    """Find the last posting of a run. Returns its seq by its queue, or an empty dictionary if nothing is posted."""
    return dict(driver(conn).execute(_LAST_POSTED, {"run": run}).fetchall())


def undecided_piece(conn: Connection, run: RunRow) -> dict[int, int]:
    """Return the last seq of the last posted piece by its queue, if the piece is undecided. Otherwise it is empty."""
    return dict(driver(conn).execute(_UNDECIDED_PIECE, {"run": run.id, "row": run.posted_row}).fetchall())


def undecided(conn: Connection) -> dict[int, int]:
    """Return the last seq that any run has posted in each queue, where it is undecided."""
    return dict(driver(conn).execute(_UNDECIDED).fetchall())


def tally(conn: Connection, run: UUID, *, after: int = 0, up_to: int = 2**63 - 1) -> list[Tally]:
    """Count the posted rows of a run by status and reason, from the row after ``after`` to row ``up_to``."""
    return [*map(Tally._make, driver(conn).execute(_TALLY, {"run": run, "after": after, "up_to": up_to}))]


def result_of(tally: Sequence[Tally]) -> Result:
    """Add up a tally, in which undecided rows count as nothing."""
    decided = [each for each in tally if each.status is not None]
    return Result(
        applied=sum(each.rows for each in decided if each.reason is None),
        amount=sum(each.amount for each in decided),
        rejected=sum(each.rows for each in decided if each.reason is not None),
    )


def applied_by_job(conn: Connection, job: UUID) -> tuple[int, int]:
    """Count the rows that all runs of a job have applied, and their sum in minor units."""
    row = driver(conn).execute(_APPLIED_BY_JOB, {"job": job}).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def row_states(conn: Connection, run: RunRow, *, limit: int, after: int, status: str | None) -> list[RowState]:
    """Read rows of a run in order, from the row after number ``after`` on.

    ``status`` is one of ``ROW_STATUSES``; None for all rows.
    """
    values = {"run": run.id, "list": run.list, "after": after, "limit": limit}
    rows = driver(conn).execute(_ROW_STATES_BY_STATUS[status], values, prepare=False)
    return [*map(RowState._make, rows)]
