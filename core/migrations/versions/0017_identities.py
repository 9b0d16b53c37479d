"""Adds identities, and lets a balance belong to one. No row that is there is rewritten.

The foreign key is not checked for the rows that are there, because none of them can break it.
"""

from alembic import op

revision = "0017"
down_revision = "0016"

IDENTITIES = """
CREATE TABLE identities (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    identity_id        uuid NOT NULL CONSTRAINT identities_identity_id_key UNIQUE,
    identity_type      text NOT NULL DEFAULT '',
    organization_name  text NOT NULL DEFAULT '',
    category           text NOT NULL DEFAULT '',
    first_name         text NOT NULL DEFAULT '',
    last_name          text NOT NULL DEFAULT '',
    other_names        text NOT NULL DEFAULT '',
    gender             text NOT NULL DEFAULT '',
    email_address      text NOT NULL DEFAULT '',
    phone_number       text NOT NULL DEFAULT '',
    nationality        text NOT NULL DEFAULT '',
    street             text NOT NULL DEFAULT '',
    country            text NOT NULL DEFAULT '',
    state              text NOT NULL DEFAULT '',
    post_code          text NOT NULL DEFAULT '',
    city               text NOT NULL DEFAULT '',
    dob                timestamptz,
    meta_data          jsonb,
    tokenized          text[] NOT NULL DEFAULT '{}',
    data_key           bytea,
    erased_at          timestamptz,
    created_at         timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX identities_created_at_idx ON identities (created_at, id);

ALTER TABLE balances ADD COLUMN identity bigint;
ALTER TABLE balances ADD CONSTRAINT balances_identity_fkey FOREIGN KEY (identity) REFERENCES identities (id) NOT VALID;
CREATE INDEX balances_identity_idx ON balances (identity) WHERE identity IS NOT NULL;
"""


def upgrade() -> None:
    op.execute(IDENTITIES)
