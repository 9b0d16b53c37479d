"""SQL of the table of approvals, and the digest of what a job would post."""

import hashlib
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.base.db import driver

WAITING, APPROVED, REFUSED = "WAITING", "APPROVED", "REFUSED"


class ApprovalRow(NamedTuple):
    """The row of a job that needs an approval."""

    job: UUID
    asked_by: str
    """The key that asked for the job."""
    owner: str
    """The owner of that key."""
    status: str
    digest: bytes | None
    """The figures that were approved. None when nothing was."""
    decided_by: str | None
    decided_at: datetime | None
    reason: str | None


class Seen(NamedTuple):
    """The figures of what a job would post. The amount is minor units."""

    digest: bytes
    rows: int
    amount: int


_INSERT = """
INSERT INTO funding_approvals (job, asked_by, owner)
VALUES (%(job)s, %(asked_by)s, %(owner)s)
"""

_FIND = """
SELECT job, asked_by, owner, status, digest, decided_by, decided_at, reason
FROM funding_approvals
WHERE job = %(job)s
"""

_DECIDE = """
UPDATE funding_approvals
SET status = %(status)s, digest = %(digest)s, decided_by = %(decided_by)s, decided_at = %(decided_at)s, reason = %(reason)s
WHERE job = %(job)s
"""

# The terms are read as they are now, so a change of the stored job shows. Its digest covers what was asked for.
_TERMS = """
SELECT concat_ws(E'\\n', id, source, currency, precision, encode(digest, 'hex'), terms::text)
FROM funding_jobs
WHERE id = %(job)s
"""

# Served by the primary key. A list of a million rows makes a text of 30 MB.
_ROWS = """
SELECT count(*),
       coalesce(sum(amount), 0),
       sha256(convert_to(coalesce(string_agg(
           json_build_array(row, destination, amount::text, description, meta_data::text)::text, E'\\n' ORDER BY row
       ), ''), 'UTF8'))
FROM funding_rows
WHERE list = %(list)s
"""


def insert(conn: Connection, job: UUID, *, asked_by: str, owner: str) -> None:
    """Say that a job waits for an approval by a key of another owner."""
    driver(conn).execute(_INSERT, {"job": job, "asked_by": asked_by, "owner": owner})


def find(conn: Connection, job: UUID) -> ApprovalRow | None:
    """Find the approval of a job. Returns None when it needs none."""
    row = driver(conn).execute(_FIND, {"job": job}).fetchone()
    return None if row is None else ApprovalRow(*row)


def decide(conn: Connection, row: ApprovalRow) -> None:
    """Write what was decided. The caller has locked the job."""
    driver(conn).execute(_DECIDE, row._asdict())


def seen(conn: Connection, job: UUID, list: UUID, *, with_rows: bool) -> Seen:
    """Compute the digest of a job and of the rows in a list, and their sum. Without ``with_rows`` it covers the terms alone."""
    terms = driver(conn).execute(_TERMS, {"job": job}).fetchone()
    rows = driver(conn).execute(_ROWS, {"list": list}).fetchone()
    assert terms is not None and rows is not None
    count, amount, digest = rows
    return Seen(hashlib.sha256(terms[0].encode() + (digest if with_rows else b"")).digest(), count, int(amount))
