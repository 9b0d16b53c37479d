"""Adds API keys and their secrets, and finds the scheduled transactions that a key asked for."""

from alembic import op

revision = "0011"
down_revision = "0010"

# The table of what is scheduled is small, so its index is made at once.
KEYS = """
CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    owner text NOT NULL,
    name text NOT NULL,
    scopes text[] NOT NULL,
    reach json,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at timestamptz,
    CONSTRAINT api_keys_expires_later CHECK (expires_at > created_at)
);
CREATE INDEX api_keys_owner_idx ON api_keys (owner, id);
CREATE INDEX api_keys_created_by_idx ON api_keys (created_by);

CREATE TABLE api_key_secrets (
    hash bytea PRIMARY KEY,
    key uuid NOT NULL CONSTRAINT api_key_secrets_key_fkey REFERENCES api_keys (id),
    prefix text NOT NULL,
    made_at timestamptz NOT NULL,
    ends_at timestamptz
);
CREATE INDEX api_key_secrets_key_idx ON api_key_secrets (key);
CREATE UNIQUE INDEX api_key_secrets_newest_idx ON api_key_secrets (key) WHERE ends_at IS NULL;

CREATE INDEX scheduled_actor_idx ON scheduled (actor) WHERE actor IS NOT NULL AND cancelled_at IS NULL;
"""


def upgrade() -> None:
    op.execute(KEYS)
