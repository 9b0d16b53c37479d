"""Counts and stops the funding jobs and runs that keys asked for, for whoever revokes the keys."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Engine

from core.base.db import begin, driver
from core.funding import jobs, told
from core.funding.job_store import JOB_PREFIX
from core.journal.actions import Action, Event
from core.journal.event_types import EventType
from core.journal.record import record

_JOBS = """
SELECT id
FROM funding_jobs
WHERE actor = ANY(%(actors)s)
  AND status <> 'CANCELLED'
  AND (
      next_due IS NOT NULL
      OR EXISTS (SELECT FROM funding_runs WHERE job = funding_jobs.id AND funding_runs.status IN ('PENDING', 'POSTING'))
  )
ORDER BY id
"""

# The partial index on unfinished runs serves it.
_RUNS = """
SELECT r.id, r.job
FROM funding_runs AS r
JOIN funding_jobs AS j ON j.id = r.job
WHERE r.status IN ('PENDING', 'POSTING')
  AND coalesce(r.actor, j.actor) = ANY(%(actors)s)
ORDER BY r.job, r.id
"""

_CANCEL_RUN = """
UPDATE funding_runs
SET status = 'CANCELLED', ended_at = %(now)s
WHERE id = %(run)s AND status IN ('PENDING', 'POSTING')
"""


class Unfinished(NamedTuple):
    """The jobs and runs of keys that have something left to do."""

    jobs: list[UUID]
    runs: list[tuple[UUID, UUID]]
    """The runs and their jobs, some of which other keys made."""


def find(conn: Connection, actors: Sequence[str]) -> Unfinished:
    """Find what keys asked for. ``actors`` are the IDs of the keys."""
    values = {"actors": list(actors)}
    found = [row[0] for row in driver(conn).execute(_JOBS, values)]
    return Unfinished(found, [(row[0], row[1]) for row in driver(conn).execute(_RUNS, values)])


def stop(engine: Engine, unfinished: Unfinished, now: datetime) -> None:
    """Cancel jobs with their runs, and the runs of other jobs. What is posted stays posted."""
    for id in unfinished.jobs:
        jobs.cancel(engine, f"{JOB_PREFIX}{id}", now)
    for run, job in unfinished.runs:
        if job not in unfinished.jobs:
            with begin(engine) as conn:
                locked = jobs.lock_job(conn, f"{JOB_PREFIX}{job}")
                driver(conn).execute(_CANCEL_RUN, {"run": run, "now": now})
                (fact,) = told.of_runs(conn, EventType.FUNDING_RUN_CANCELLED, locked, [run])
                more = {"run_id": f"run_{run}"}
                record(conn, Event(action=Action.RUN_CANCELLED, subject=locked.job_id, more=more, fact=fact))
