"""SQL of the table of runs: each is one time that a job came due, or that somebody ran it."""

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from msgspec import Struct, structs
from sqlalchemy import Connection

from core.base.db import driver
from core.base.ids import uuid_of
from core.funding.job_store import JobRow, find_job_by_key
from core.ledger.rules.model import RUN_PREFIX

FOR_GOOD = frozenset({"UNEXPECTED", "NOT_AS_APPROVED", "ALTERED"})
"""The reasons of a refusal because of what the rows are. No try posts them, because it would not compare them any more."""


class RunRow(NamedTuple):
    """A run as it is stored. Amounts are minor units."""

    id: UUID
    job: UUID
    occurrence: str
    due_at: datetime
    retry_of: UUID | None
    status: str
    """PENDING, POSTING, POSTED (while some rows are undecided), COMPLETED, REFUSED or CANCELLED."""
    list: UUID | None
    row_count: int | None
    amount: int | None
    last_row: int | None
    """The last row that the pool can pay; None when it can pay all. Later rows are not posted."""
    posted_row: int
    """The last row that is in the log; 0 when none is."""
    posted: int
    """The number of rows that are in the log."""
    posted_amount: int
    """The sum of the rows that are in the log."""
    refusal: str | None
    """The reason why no row is posted, as JSON text; None when the run is not refused."""
    created_at: datetime
    started_at: datetime | None
    progressed_at: datetime | None
    ended_at: datetime | None
    applied: int | None
    """The number of rows that moved or hold money; None until all of them are decided, and for runs of older releases."""
    applied_amount: int | None
    rejected: int | None
    retried_by: UUID | None
    """The newest run that retries this run."""
    actor: str | None = None
    """The key that asked for this run; None for a run of its schedule."""

    @property
    def is_open(self) -> bool:
        """True until the run posts nothing more and all of it is decided."""
        return self.status in ("PENDING", "POSTING", "POSTED")

    @property
    def refused_for_good(self) -> str | None:
        """The message of a refusal after which nothing of the run is tried again; None when there is none."""
        found = json.loads(self.refusal) if self.refusal else {}
        return str(found.get("message")) if found.get("reason") in FOR_GOOD else None

    @property
    def run_id(self) -> str:
        """The ID of the run as clients see it."""
        return f"{RUN_PREFIX}{self.id}"


class NewRun(Struct, frozen=True):
    """The values of a run that has not started."""

    id: UUID
    job: UUID
    occurrence: str
    due_at: datetime
    created_at: datetime
    retry_of: UUID | None = None
    actor: str | None = None


class Plan(Struct, frozen=True):
    """The list and the sum that a run will post. They are fixed when it starts. Amounts are minor units."""

    list: UUID
    rows: int
    amount: int
    last_row: int | None = None
    """The last row that the pool can pay; None when it can pay all. Later rows are not posted."""
    refusal: dict[str, Any] | None = None
    """The reason why the run posts nothing; None when it is not refused."""


class Result(Struct, frozen=True):
    """The counts of a run that is decided. The amount is minor units."""

    applied: int
    amount: int
    rejected: int


_SELECT = """
SELECT r.id, r.job, r.occurrence, r.due_at, r.retry_of, r.status, r.list, r.row_count, r.amount, r.last_row,
       r.posted_row, r.posted, r.posted_amount, r.refusal::text, r.created_at, r.started_at, r.progressed_at, r.ended_at,
       r.applied, r.applied_amount, r.rejected,
       (SELECT id FROM funding_runs WHERE retry_of = r.id ORDER BY id DESC LIMIT 1), r.actor
FROM funding_runs AS r
"""

# A unique index refuses a second run of an occurrence.
_INSERT = """
INSERT INTO funding_runs (id, job, occurrence, due_at, created_at, retry_of, actor, status)
VALUES (%(id)s, %(job)s, %(occurrence)s, %(due_at)s, %(created_at)s, %(retry_of)s, %(actor)s, 'PENDING')
ON CONFLICT DO NOTHING
"""

_FIND = f"""{_SELECT}
WHERE r.id = %(id)s
"""

_FIND_OF_JOB = f"""{_SELECT}
WHERE r.job = %(job)s
  AND r.occurrence = %(occurrence)s
"""

_LIST = f"""{_SELECT}
WHERE r.job = %(job)s
  AND (%(after)s::uuid IS NULL OR r.id < %(after)s)
ORDER BY r.id DESC
LIMIT %(limit)s
"""

_LAST_OF_JOBS = f"""{_SELECT}
JOIN unnest(%(jobs)s::uuid[]) AS asked (job) ON r.id = (
    SELECT id
    FROM funding_runs
    WHERE job = asked.job
    ORDER BY id DESC
    LIMIT 1
)
"""

# The job's row is locked, and with it all of its runs.
_LOCK_NEXT = """
SELECT r.id
FROM funding_runs AS r
JOIN funding_jobs AS j ON j.id = r.job
WHERE (r.status = 'POSTED' OR r.status IN ('PENDING', 'POSTING') AND j.status = 'ACTIVE')
  AND r.id <> ALL(%(but)s)
  AND NOT EXISTS (
      SELECT
      FROM funding_runs AS e
      WHERE e.job = r.job
        AND e.status IN ('PENDING', 'POSTING', 'POSTED')
        AND (e.status = 'PENDING', e.due_at, e.id) < (r.status = 'PENDING', r.due_at, r.id)
  )
ORDER BY r.progressed_at NULLS FIRST, r.due_at, r.id
LIMIT 1
FOR NO KEY UPDATE OF j SKIP LOCKED
"""

_START = """
UPDATE funding_runs
SET status = 'POSTING', list = %(list)s, row_count = %(rows)s, amount = %(amount)s, last_row = %(last_row)s,
    started_at = %(now)s
WHERE id = %(id)s
"""

_TOUCH = """
UPDATE funding_runs
SET progressed_at = %(now)s
WHERE id = %(id)s
"""

_END = """
UPDATE funding_runs
SET status = %(status)s, ended_at = %(ended_at)s, refusal = %(refusal)s
WHERE id = %(id)s
"""

_COMPLETE = """
UPDATE funding_runs
SET status = 'COMPLETED', ended_at = %(now)s, applied = %(applied)s, applied_amount = %(amount)s, rejected = %(rejected)s
WHERE id = %(id)s
"""

_TRIES_OF = """
SELECT count(*)
FROM funding_runs
WHERE retry_of = %(run)s
"""

_CANCEL = """
UPDATE funding_runs
SET status = 'CANCELLED', ended_at = %(now)s
WHERE job = %(job)s
  AND status IN ('PENDING', 'POSTING')
RETURNING id
"""

_NEWEST = f"""{_SELECT}
WHERE r.job = %(job)s
  AND r.retry_of IS NULL
ORDER BY r.id DESC
LIMIT 1
"""

_BY_HAND_SINCE = f"""{_SELECT}
WHERE r.job = %(job)s
  AND r.id > %(run)s
  AND r.occurrence LIKE 'run\\_%%'
  AND (r.posted > 0 OR r.status IN ('PENDING', 'POSTING', 'POSTED'))
ORDER BY r.id
LIMIT 1
"""

_UNPOSTED_AMOUNT = """
SELECT coalesce(sum(
    CASE
        WHEN last_row IS NULL THEN r.amount - posted_amount
        ELSE (
            SELECT coalesce(sum(f.amount), 0)
            FROM funding_rows AS f
            WHERE f.list = r.list
              AND f.row > posted_row
              AND f.row <= last_row
        )
    END
), 0)
FROM funding_runs AS r
JOIN funding_jobs AS j ON j.id = r.job
WHERE r.status = 'POSTING'
  AND j.source = %(source)s
"""


def insert_run(conn: Connection, run: NewRun) -> bool:
    """Insert a run. Returns False when its occurrence has a run already."""
    return driver(conn).execute(_INSERT, structs.asdict(run)).rowcount == 1


def find_run(conn: Connection, run_id: str) -> RunRow | None:
    """Find a run by its ID."""
    key = uuid_of(run_id, RUN_PREFIX)
    return None if key is None else _one(conn, _FIND, {"id": key})


def find_run_of(conn: Connection, job: UUID, occurrence: str) -> RunRow | None:
    """Find the run of one occurrence of a job."""
    return _one(conn, _FIND_OF_JOB, {"job": job, "occurrence": occurrence})


def list_runs(conn: Connection, job: UUID, *, limit: int, after: str | None) -> list[RunRow]:
    """Read a page of a job's runs, newest first, that begins after the run with the ID ``after``."""
    key = uuid_of(after, RUN_PREFIX) if after is not None else None
    return [RunRow(*row) for row in driver(conn).execute(_LIST, {"job": job, "after": key, "limit": limit})]


def last_runs(conn: Connection, jobs: Collection[UUID]) -> dict[UUID, RunRow]:
    """Find the newest run of each of these jobs, by job. A job without a run is left out."""
    found = [RunRow(*row) for row in driver(conn).execute(_LAST_OF_JOBS, {"jobs": list(jobs)})]
    return {run.job: run for run in found}


def lock_next_run(conn: Connection, *, but: Collection[UUID] = ()) -> tuple[JobRow, RunRow] | None:
    """Find the run whose turn it is and lock its job. Returns the job and the run; None when there is none.

    Runs of one job follow each other, and runs of several jobs take turns. A run that has begun ends before another run of
    its job starts, even one that was due earlier, because its outcomes depend on the balances that the run before it left.
    A job that another caller has locked is skipped. ``but`` names runs that get no turn.
    """
    found = driver(conn).execute(_LOCK_NEXT, {"but": list(but)}).fetchone()
    # The run is read again under the lock, because it may have moved forward in between.
    run = None if found is None else _one(conn, _FIND, {"id": found[0]})
    job = None if run is None else find_job_by_key(conn, run.job)
    return None if job is None or run is None else (job, run)


def start_run(conn: Connection, id: UUID, plan: Plan, now: datetime) -> None:
    """Start a run: store its plan and set its status to POSTING."""
    values = {"list": plan.list, "rows": plan.rows, "amount": plan.amount, "last_row": plan.last_row}
    driver(conn).execute(_START, {"id": id, "now": now, **values})


def touch_run(conn: Connection, id: UUID, now: datetime) -> None:
    """Note that a run had its turn, so that another run is next."""
    driver(conn).execute(_TOUCH, {"id": id, "now": now})


def end_run(
    conn: Connection, id: UUID, *, status: str, ended_at: datetime | None = None, refusal: str | None = None
) -> None:
    """Set the status of a run to one after which it posts nothing more."""
    driver(conn).execute(_END, {"id": id, "status": status, "ended_at": ended_at, "refusal": refusal})


def complete_run(conn: Connection, id: UUID, now: datetime, result: Result) -> None:
    """End a run all of whose rows are posted and decided, and keep the counts, so that nobody counts again."""
    driver(conn).execute(_COMPLETE, {"id": id, "now": now, **structs.asdict(result)})


def tries_of(conn: Connection, run: UUID) -> int:
    """Count the runs that retry a run."""
    row = driver(conn).execute(_TRIES_OF, {"run": run}).fetchone()
    assert row is not None
    return int(row[0])


def newest_run(conn: Connection, job: UUID) -> RunRow | None:
    """Find the newest run of a job that retries no other."""
    return _one(conn, _NEWEST, {"job": job})


def run_by_hand_since(conn: Connection, run: RunRow) -> RunRow | None:
    """Find the first run by hand that came after a run of the same job, and posted something or still may."""
    return _one(conn, _BY_HAND_SINCE, {"job": run.job, "run": run.id})


def cancel_runs(conn: Connection, job: UUID, now: datetime) -> list[UUID]:
    """Cancel the runs of a job that have rows to post, and return them. Posted rows stay. The caller has locked the job."""
    return [id for (id,) in driver(conn).execute(_CANCEL, {"job": job, "now": now}).fetchall()]


def unposted_amount(conn: Connection, source: int) -> int:
    """Return the sum that the runs under way have yet to post out of a pool. Runs of paused jobs count too."""
    row = driver(conn).execute(_UNPOSTED_AMOUNT, {"source": source}).fetchone()
    assert row is not None
    return int(row[0])


def _one(conn: Connection, sql: str, values: Mapping[str, Any]) -> RunRow | None:
    row = driver(conn).execute(sql, values).fetchone()
    return None if row is None else RunRow(*row)
