"""Adds the statements of the notary of how far the ledger was verified. Nothing that is there is changed."""

from alembic import op

revision = "0020"
down_revision = "0019"

ATTESTATIONS = """
CREATE TABLE attestations (
    checkpoint  bigint PRIMARY KEY,
    statement   text NOT NULL,
    signature   text NOT NULL,
    made_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TRIGGER attestations_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON attestations
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_history();
"""


def upgrade() -> None:
    op.execute(ATTESTATIONS)
