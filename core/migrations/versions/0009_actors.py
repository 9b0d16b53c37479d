"""Says of each row of the log who asked for it, which part accepted it, and by which version its digest is computed.

Processes of the release before know none of these columns. They go on with version 1, beside new ones with version 2.
"""

from alembic import op

revision = "0009"
down_revision = "0008"

# The columns are null or have a constant, so no row is rewritten.
ACTORS = """
ALTER TABLE log
    ADD COLUMN actor text,
    ADD COLUMN part text,
    ADD COLUMN digest_version smallint NOT NULL DEFAULT 1;

ALTER TABLE scheduled
    ADD COLUMN actor text;

ALTER TABLE funding_jobs
    ADD COLUMN actor text;

ALTER TABLE funding_runs
    ADD COLUMN actor text;
"""


def upgrade() -> None:
    op.execute(ACTORS)
