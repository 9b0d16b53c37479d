"""SQL of the table of approvals, and the digest of what a job would post."""

import hashlib
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID, uuid5

from sqlalchemy import Connection

from core.base.db import driver
from core.ledger.rules.pledges import Of, Pledge, content
from core.ledger.store import pledges

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
    pledged: bool = True
    """Whether it must have pledges. Those that older releases decided on have none."""

    def must_be_pledged(self, pledge: Pledge) -> bool:
        """Tell whether a pledge of this must exist. What an older release has asked for has no pledge of that."""
        return self.pledged and pledge.id == _pledge_id(self.job, "decided")


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
SELECT job, asked_by, owner, status, digest, decided_by, decided_at, reason, pledged
FROM funding_approvals
WHERE job = %(job)s
"""

_EVERY = """
SELECT job, asked_by, owner, status, digest, decided_by, decided_at, reason, pledged
FROM funding_approvals
ORDER BY job
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
    pledges.add(conn, [_asked(job, asked_by, owner)])


def find(conn: Connection, job: UUID) -> ApprovalRow | None:
    """Find the approval of a job. Returns None when it needs none."""
    row = driver(conn).execute(_FIND, {"job": job}).fetchone()
    return None if row is None else ApprovalRow(*row)


def decide(conn: Connection, row: ApprovalRow) -> None:
    """Write what was decided. The caller has locked the job."""
    driver(conn).execute(_DECIDE, row._asdict())
    _, decided = pledges_of(row)
    assert decided is not None
    pledges.add(conn, [decided])


def every(conn: Connection) -> list[ApprovalRow]:
    """Read all approvals."""
    return [ApprovalRow(*row) for row in driver(conn).execute(_EVERY).fetchall()]


def pledges_of(row: ApprovalRow) -> tuple[Pledge, Pledge | None]:
    """Make the pledges of an approval: of what was asked, and of what was decided, if it was."""
    asked = _asked(row.job, row.asked_by, row.owner)
    if row.status == WAITING:
        return asked, None
    digest = None if row.digest is None else row.digest.hex()
    at = None if row.decided_at is None else row.decided_at.astimezone(UTC)
    values = str(row.job), row.asked_by, row.owner, row.status, digest, row.decided_by, at, row.reason
    return asked, Pledge(_pledge_id(row.job, "decided"), Of.APPROVAL, content(Of.APPROVAL, values))


def is_as_decided(conn: Connection, row: ApprovalRow) -> bool:
    """Tell whether an approval is the one that somebody has given, by its pledge."""
    _, decided = pledges_of(row)
    if decided is None:
        return False
    kept = pledges.digests(conn, [decided.id]).get(decided.id)
    return kept == decided.digest or (kept is None and not row.pledged)


def _asked(job: UUID, asked_by: str, owner: str) -> Pledge:
    return Pledge(_pledge_id(job, "asked"), Of.APPROVAL, content(Of.APPROVAL, (str(job), asked_by, owner)))


def _pledge_id(job: UUID, what: str) -> str:
    return str(uuid5(job, what))


def seen(conn: Connection, job: UUID, list: UUID, *, with_rows: bool) -> Seen:
    """Compute the digest of a job and of the rows in a list, and their sum. Without ``with_rows`` it covers the terms alone."""
    terms = driver(conn).execute(_TERMS, {"job": job}).fetchone()
    rows = driver(conn).execute(_ROWS, {"list": list}).fetchone()
    assert terms is not None and rows is not None
    count, amount, digest = rows
    return Seen(hashlib.sha256(terms[0].encode() + (digest if with_rows else b"")).digest(), count, int(amount))
