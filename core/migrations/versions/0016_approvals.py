"""Adds the approvals of funding jobs, and the status of a job that waits for one. No row that is there is read or changed."""

from alembic import op

revision = "0016"
down_revision = "0015"

APPROVALS = """
CREATE TABLE funding_approvals (
    job         uuid PRIMARY KEY,
    asked_by    text NOT NULL,
    owner       text NOT NULL,
    status      text NOT NULL DEFAULT 'WAITING',
    digest      bytea,
    decided_by  text,
    decided_at  timestamptz,
    reason      text,
    CONSTRAINT funding_approvals_status CHECK (status IN ('WAITING', 'APPROVED', 'REFUSED')),
    CONSTRAINT funding_approvals_approved_has_digest CHECK (status <> 'APPROVED' OR digest IS NOT NULL)
);

ALTER TABLE funding_jobs DROP CONSTRAINT funding_jobs_status;
ALTER TABLE funding_jobs
    ADD CONSTRAINT funding_jobs_status CHECK (status IN ('ACTIVE', 'PAUSED', 'CANCELLED', 'WAITING_APPROVAL')) NOT VALID;
"""


def upgrade() -> None:
    op.execute(APPROVALS)
