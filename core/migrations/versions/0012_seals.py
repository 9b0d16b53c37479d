"""Adds the seals of the notary. Nothing that is there is changed."""

from alembic import op

revision = "0012"
down_revision = "0011"

SEALS = """
CREATE TABLE seals (
    number     bigint PRIMARY KEY,
    first_seq  bigint NOT NULL,
    last_seq   bigint NOT NULL,
    statement  text NOT NULL,
    signature  text NOT NULL,
    made_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX seals_last_seq_idx ON seals (last_seq, number);

CREATE TRIGGER seals_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON seals
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_history();
"""


def upgrade() -> None:
    op.execute(SEALS)
