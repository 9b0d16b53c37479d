"""Adds the hashes of the rows of funding lists. Lists that are there already have none, and are posted without."""

from alembic import op

revision = "0015"
down_revision = "0014"

DIGESTS = """
CREATE TABLE funding_digests (
    list    uuid NOT NULL,
    chunk   bigint NOT NULL,
    digest  bytea NOT NULL,
    CONSTRAINT funding_digests_pkey PRIMARY KEY (list, chunk)
);

CREATE TRIGGER funding_digests_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON funding_digests
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_history();
"""


def upgrade() -> None:
    op.execute(DIGESTS)
