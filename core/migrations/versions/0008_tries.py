"""Lets each row of a funding run be tried again once, and tells a funding job whose content was sent before.

Each row of ``funding_retries`` says which try took a row from which run. It replaces the rule that a run has one retry. The
rows of older retries are copied, so that none of them is taken twice.

The new columns are null for what is there already: older jobs are not compared, and older runs are counted when they are read.
"""

from alembic import op

revision = "0008"
down_revision = "0007"

TRIES = """
CREATE TABLE funding_retries (
    retry uuid NOT NULL,
    row bigint NOT NULL,
    run uuid NOT NULL,
    CONSTRAINT funding_retries_pkey PRIMARY KEY (retry, row),
    CONSTRAINT funding_retries_run_key UNIQUE (run, row)
);

INSERT INTO funding_retries (retry, row, run)
SELECT r.id, f.row, r.retry_of
FROM funding_runs AS r
JOIN funding_rows AS f ON f.list = r.id
WHERE r.retry_of IS NOT NULL;

ALTER TABLE funding_runs
    DROP CONSTRAINT funding_runs_retry_of_key,
    ADD COLUMN applied bigint,
    ADD COLUMN applied_amount minor_units,
    ADD COLUMN rejected bigint;

CREATE INDEX funding_runs_retry_of_idx ON funding_runs (retry_of) WHERE retry_of IS NOT NULL;

ALTER TABLE funding_jobs
    ADD COLUMN content bytea,
    ADD COLUMN repetition bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT funding_jobs_content_key UNIQUE (content, repetition);
"""


def upgrade() -> None:
    op.execute(TRIES)
