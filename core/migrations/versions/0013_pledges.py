"""Adds pledges: the hashes of what is accepted for later. What waits already has none, and is done without."""

from alembic import op

revision = "0013"
down_revision = "0012"

PLEDGES = """
CREATE TABLE pledges (
    number  bigint PRIMARY KEY,
    id      uuid NOT NULL,
    "of"    text NOT NULL,
    digest  bytea NOT NULL,
    hash    bytea NOT NULL,
    CONSTRAINT pledges_id_key UNIQUE (id)
);

CREATE TRIGGER pledges_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON pledges
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_history();

ALTER TABLE scheduled
    ADD COLUMN refused_at timestamptz;
"""


def upgrade() -> None:
    op.execute(PLEDGES)
