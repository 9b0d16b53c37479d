"""SQL of the table of funding jobs.

A change of a job or of one of its runs locks the job's row first, so no run goes on after a pause or cancel is answered.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.base.actors import reach_of_request
from core.base.db import driver
from core.base.ids import uuid_of
from core.base.rows import array
from core.funding import reach_store

JOB_PREFIX = "fund_"


class JobRow(NamedTuple):
    """A row of the table of jobs, with the count of its unfinished runs. Amounts are minor units."""

    id: UUID
    reference: str
    name: str
    source: int
    """Key of the pool's balance."""
    source_id: str
    """Balance ID of the pool."""
    indicator: str | None
    """``@Name`` of the pool; None when it has none."""
    currency: str
    precision: int
    terms: str
    """JSON text of ``FundingTerms``."""
    digest: bytes
    row_count: int | None
    """The number of rows of its list, or None for a job with a rule."""
    amount: int | None
    """The sum of its list, or None for a job with a rule."""
    status: str
    """ACTIVE, PAUSED, CANCELLED or WAITING_APPROVAL."""
    next_due: datetime | None
    runs_made: int
    skipped: int
    created_at: datetime
    unfinished: int
    """The number of its runs that are not over."""
    content: bytes | None = None
    """SHA-256 over the pool, the money and the rows; None for a job of an older release."""
    repetition: int = 0
    """The number of earlier jobs with the same content."""
    actor: str | None = None
    """The key that asked for it."""
    meta_data: str | None = None
    """JSON text of an object that was added later."""

    @property
    def job_id(self) -> str:
        """The ID of the job as clients see it."""
        return f"{JOB_PREFIX}{self.id}"


_SELECT = """
SELECT j.id, reference, name, j.source, 'bln_' || b.balance_id, b.indicator, j.currency, j.precision, terms::text,
       digest, row_count, amount, status, next_due, runs_made, skipped, j.created_at,
       (
           SELECT count(*)
           FROM funding_runs
           WHERE job = j.id
             AND funding_runs.status IN ('PENDING', 'POSTING', 'POSTED')
       ),
       content, repetition, j.actor, (SELECT meta_data::text FROM annotations WHERE annotations.id = j.id)
FROM funding_jobs AS j
JOIN balances AS b ON b.id = j.source
"""

_INSERT = """
INSERT INTO funding_jobs (id, reference, name, source, currency, precision, terms, digest, row_count, amount,
                          status, next_due, runs_made, skipped, created_at, content, repetition,
                          actor)
VALUES (%(id)s, %(reference)s, %(name)s, %(source)s, %(currency)s, %(precision)s, %(terms)s, %(digest)s,
        %(row_count)s, %(amount)s, %(status)s, %(next_due)s, %(runs_made)s, %(skipped)s, %(created_at)s,
        %(content)s, %(repetition)s, %(actor)s)
ON CONFLICT DO NOTHING
"""

# Served by the key of content and repetition. A job that is over and has posted nothing has paid nobody.
_FIND_SAME = f"""{_SELECT}
WHERE content = %(content)s
  AND (
      status <> 'CANCELLED' AND next_due IS NOT NULL
      OR EXISTS (
          SELECT
          FROM funding_runs
          WHERE job = j.id
            AND (
                funding_runs.status IN ('PENDING', 'POSTING', 'POSTED')
                OR posted > 0 AND j.created_at > %(since)s
            )
      )
  )
ORDER BY repetition DESC
LIMIT 1
"""

_REPETITIONS = """
SELECT coalesce(max(repetition) + 1, 0)
FROM funding_jobs
WHERE content = %(content)s
"""

_FIND = f"""{_SELECT}
WHERE j.id = %(id)s
"""

_LOCK = f"""{_SELECT}
WHERE j.id = %(id)s
FOR NO KEY UPDATE OF j
"""

_FIND_BY_REFERENCE = f"""{_SELECT}
WHERE reference = %(reference)s
"""

# Two index probes. The time of the statement does not change within it, so that the first is one.
_WAITING = """
SELECT EXISTS (
           SELECT
           FROM funding_jobs
           WHERE status = 'ACTIVE' AND next_due <= coalesce(%(now)s::timestamptz, statement_timestamp())
       ),
       EXISTS (SELECT FROM funding_runs WHERE status IN ('PENDING', 'POSTING', 'POSTED'))
"""

_LOCK_DUE = f"""{_SELECT}
WHERE status = 'ACTIVE'
  AND next_due <= %(now)s
ORDER BY next_due, j.id
LIMIT 1
FOR NO KEY UPDATE OF j SKIP LOCKED
"""

_COUNT_ACTIVE_OF = """
SELECT count(*)
FROM funding_jobs AS j
WHERE actor = %(actor)s
  AND status <> 'CANCELLED'
  AND (
      next_due IS NOT NULL
      OR status = 'WAITING_APPROVAL'
      OR EXISTS (SELECT FROM funding_runs WHERE job = j.id AND funding_runs.status IN ('PENDING', 'POSTING', 'POSTED'))
  )
"""

_EVERY = f"""{_SELECT}
ORDER BY j.id
"""

_UNFINISHED = f"""{_SELECT}
WHERE status <> 'CANCELLED'
  AND (
      next_due IS NOT NULL
      OR EXISTS (SELECT FROM funding_runs WHERE job = j.id AND funding_runs.status IN ('PENDING', 'POSTING', 'POSTED'))
  )
ORDER BY j.id
"""

_LIST = f"""{_SELECT}
WHERE (%(after)s::uuid IS NULL OR j.id < %(after)s)
  AND (%(source)s::text IS NULL OR %(source)s IN (b.indicator, 'bln_' || b.balance_id))
  AND (
      %(status)s::text IS NULL
      OR %(status)s = CASE
          WHEN status = 'ACTIVE'
           AND next_due IS NULL
           AND NOT EXISTS (
               SELECT
               FROM funding_runs
               WHERE job = j.id
                 AND funding_runs.status IN ('PENDING', 'POSTING', 'POSTED')
           )
          THEN 'FINISHED'
          ELSE status
      END
  )
  AND {{in_reach}}
ORDER BY j.id DESC
LIMIT %(limit)s
"""

_ACTIVE_OF_SOURCE = f"""{_SELECT}
WHERE j.source = %(source)s
  AND status = 'ACTIVE'
  AND next_due IS NOT NULL
  AND {{in_reach}}
ORDER BY next_due, j.id
LIMIT %(limit)s
"""

_NEXT_OF_SOURCES = f"""{_SELECT}
WHERE j.id IN (
    SELECT DISTINCT ON (source) id
    FROM funding_jobs
    WHERE source = ANY(%(sources)s::bigint[])
      AND status = 'ACTIVE'
      AND next_due IS NOT NULL
    ORDER BY source, next_due, id
)
"""

_UPDATE = """
UPDATE funding_jobs
SET status = %(status)s, next_due = %(next_due)s, runs_made = %(runs_made)s, skipped = %(skipped)s
WHERE id = %(id)s
"""


def insert_job(conn: Connection, job: JobRow) -> bool:
    """Insert a job. Returns False when another job has its reference, or its content and repetition."""
    return driver(conn).execute(_INSERT, job._asdict()).rowcount == 1


def find_same(conn: Connection, content: bytes, since: datetime) -> JobRow | None:
    """Find the newest job with this content that is not over, or that was made after ``since`` and posted a row."""
    return _one(conn, _FIND_SAME, {"content": content, "since": since})


def repetitions(conn: Connection, content: bytes) -> int:
    """Count the jobs with this content, paid or not."""
    row = driver(conn).execute(_REPETITIONS, {"content": content}).fetchone()
    assert row is not None
    return int(row[0])


def find_job(conn: Connection, job_id: str, *, lock: bool = False) -> JobRow | None:
    """Find a job by its ID, such as ``fund_…``. ``lock`` keeps others from changing it or its runs until the commit."""
    key = uuid_of(job_id, JOB_PREFIX)
    return None if key is None else find_job_by_key(conn, key, lock=lock)


def find_job_by_key(conn: Connection, id: UUID, *, lock: bool = False) -> JobRow | None:
    """Find a job by its UUID, which is its ID without the prefix. ``lock`` is as in ``find_job``."""
    return _one(conn, _LOCK if lock else _FIND, {"id": id})


def find_job_by_reference(conn: Connection, reference: str) -> JobRow | None:
    """Find a job by its reference."""
    return _one(conn, _FIND_BY_REFERENCE, {"reference": reference})


def has_work(conn: Connection, now: datetime | None) -> tuple[bool, bool]:
    """Tell whether any job is due, and whether any run is unfinished. It costs two index probes, so it may be polled.

    The default time is that of the database.
    """
    row = driver(conn).execute(_WAITING, {"now": now}).fetchone()
    assert row is not None
    return row[0], row[1]


def lock_due_job(conn: Connection, now: datetime) -> JobRow | None:
    """Find and lock the job that has been due for longest, among those that no other transaction has locked."""
    return _one(conn, _LOCK_DUE, {"now": now})


def every_job(conn: Connection) -> list[JobRow]:
    """Read all jobs, those that are over too."""
    return [JobRow(*row) for row in driver(conn).execute(_EVERY)]


def unfinished_jobs(conn: Connection) -> list[JobRow]:
    """Read the jobs that have something left to do."""
    return [JobRow(*row) for row in driver(conn).execute(_UNFINISHED)]


def count_active_of(conn: Connection, actor: str) -> int:
    """Count the jobs of a key that are not over."""
    row = driver(conn).execute(_COUNT_ACTIVE_OF, {"actor": actor}).fetchone()
    assert row is not None
    return int(row[0])


def list_jobs(
    conn: Connection, *, limit: int, after: str | None, status: str | None, source: str | None = None
) -> list[JobRow]:
    """Read a page of jobs in reach, newest first. ``after`` is the ID of the last job on the page before.

    ``status`` is ACTIVE, PAUSED, CANCELLED, WAITING_APPROVAL or FINISHED. A job is FINISHED if it is active
    and has nothing left to do.
    ``source`` is the balance ID or the ``@Name`` of the pool.
    """
    key = uuid_of(after, JOB_PREFIX) if after is not None else None
    values = {"after": key, "status": status, "source": source, "limit": limit}
    return _in_reach(conn, _LIST, values)


def active_jobs_of(conn: Connection, source: int, limit: int) -> list[JobRow]:
    """Read the active jobs in reach that this balance pays and that have a next run, the earliest first."""
    return _in_reach(conn, _ACTIVE_OF_SOURCE, {"source": source, "limit": limit})


def next_jobs_of(conn: Connection, sources: Collection[int]) -> dict[int, JobRow]:
    """Read the active job with the earliest next run of each of these balances. One that pays for none is left out."""
    rows = driver(conn).execute(_NEXT_OF_SOURCES, {"sources": array(sources)})
    return {job.source: job for job in (JobRow(*row) for row in rows)}


def update_job(conn: Connection, job: JobRow) -> None:
    """Write a job's status, next due time and counts of made and skipped runs. The caller has locked it."""
    driver(conn).execute(_UPDATE, job._asdict())


def _in_reach(conn: Connection, sql: str, values: Mapping[str, Any]) -> list[JobRow]:
    """Read the jobs of a statement that are in reach of the request."""
    condition, own = reach_store.in_reach(conn, reach_of_request())
    return [JobRow(*row) for row in driver(conn).execute(sql.replace("{in_reach}", condition), {**values, **own})]


def _one(conn: Connection, sql: str, values: Mapping[str, Any]) -> JobRow | None:
    row = driver(conn).execute(sql, values).fetchone()
    return None if row is None else JobRow(*row)
