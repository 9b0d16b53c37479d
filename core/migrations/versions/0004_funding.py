"""Creates the tables of funding: jobs, their rows and runs, and which transaction each row became."""

from alembic import op

revision = "0004"
down_revision = "0003"

TABLES = """
CREATE TABLE funding_jobs (
    id          uuid PRIMARY KEY,
    reference   text NOT NULL CONSTRAINT funding_jobs_reference_key UNIQUE,
    name        text NOT NULL,
    source      bigint NOT NULL,
    currency    text NOT NULL,
    precision   bigint NOT NULL,
    terms       json NOT NULL,
    digest      bytea NOT NULL,
    row_count   bigint,
    amount      minor_units,
    status      text NOT NULL,
    next_due    timestamptz,
    runs_made   bigint NOT NULL DEFAULT 0,
    skipped     bigint NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL,
    CONSTRAINT funding_jobs_status CHECK (status IN ('ACTIVE', 'PAUSED', 'CANCELLED')),
    CONSTRAINT funding_jobs_cancelled_is_never_due CHECK (status <> 'CANCELLED' OR next_due IS NULL)
);
CREATE INDEX funding_jobs_due_idx ON funding_jobs (next_due) WHERE status = 'ACTIVE' AND next_due IS NOT NULL;
CREATE INDEX funding_jobs_source_idx ON funding_jobs (source) WHERE status <> 'CANCELLED';

CREATE TABLE funding_rows (
    list         uuid NOT NULL,
    row          bigint NOT NULL,
    destination  bigint NOT NULL,
    amount       minor_units NOT NULL,
    description  text,
    meta_data    json,
    CONSTRAINT funding_rows_pkey PRIMARY KEY (list, row),
    CONSTRAINT funding_rows_amount_positive CHECK (amount > 0)
);

CREATE TABLE funding_runs (
    id             uuid PRIMARY KEY,
    job            uuid NOT NULL CONSTRAINT funding_runs_job_fkey REFERENCES funding_jobs (id),
    occurrence     text NOT NULL,
    due_at         timestamptz NOT NULL,
    retry_of       uuid CONSTRAINT funding_runs_retry_of_key UNIQUE,
    status         text NOT NULL,
    list           uuid,
    row_count      bigint,
    amount         minor_units,
    last_row       bigint,
    posted_row     bigint NOT NULL DEFAULT 0,
    posted         bigint NOT NULL DEFAULT 0,
    posted_amount  minor_units NOT NULL DEFAULT 0,
    refusal        json,
    created_at     timestamptz NOT NULL,
    started_at     timestamptz,
    progressed_at  timestamptz,
    ended_at       timestamptz,
    CONSTRAINT funding_runs_occurrence_key UNIQUE (job, occurrence),
    CONSTRAINT funding_runs_status CHECK (
        status IN ('PENDING', 'POSTING', 'POSTED', 'COMPLETED', 'REFUSED', 'CANCELLED')
    )
);
CREATE INDEX funding_runs_unfinished_idx ON funding_runs (job, due_at, id)
    WHERE status IN ('PENDING', 'POSTING', 'POSTED');

CREATE TABLE funding_postings (
    run  uuid NOT NULL,
    row  bigint NOT NULL,
    seq  bigint NOT NULL,
    CONSTRAINT funding_postings_pkey PRIMARY KEY (run, row)
);
"""

GUARDS = """
CREATE TRIGGER funding_postings_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON funding_postings
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_history();
CREATE TRIGGER funding_runs_are_kept BEFORE DELETE OR TRUNCATE ON funding_runs
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_history();
CREATE TRIGGER funding_jobs_are_kept BEFORE DELETE OR TRUNCATE ON funding_jobs
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_history();
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(GUARDS)
