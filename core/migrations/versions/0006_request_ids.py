"""Adds the ID of the request that each row of the log came with. Rows from before have none."""

from alembic import op

revision = "0006"
down_revision = "0005"

# The column is null and has no default, so no row is rewritten.
REQUEST_ID = """
ALTER TABLE log
    ADD COLUMN request_id text;
"""


def upgrade() -> None:
    op.execute(REQUEST_ID)
