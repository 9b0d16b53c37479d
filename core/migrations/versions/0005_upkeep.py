"""Adds the ledger's identity, and what its parts record about themselves: ticks, heartbeats and verifications."""

from alembic import op

revision = "0005"
down_revision = "0004"

UPKEEP = """
CREATE TABLE identity (
    one      boolean PRIMARY KEY DEFAULT true,
    id       uuid NOT NULL,
    made_at  timestamptz NOT NULL,
    CONSTRAINT identity_is_one CHECK (one)
);

CREATE TABLE ticks (
    name        text PRIMARY KEY,
    started_at  timestamptz,
    ended_at    timestamptz,
    by          text NOT NULL DEFAULT ''
);

ALTER TABLE heartbeats
    ADD COLUMN part text NOT NULL DEFAULT 'worker',
    ADD COLUMN host text NOT NULL DEFAULT '',
    ADD COLUMN clock_off_s double precision NOT NULL DEFAULT 0,
    ADD COLUMN state json;

CREATE TABLE verifications (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at             timestamptz NOT NULL,
    kind           text NOT NULL,
    first_seq      bigint NOT NULL,
    last_seq       bigint NOT NULL,
    complete       boolean NOT NULL,
    problem_count  bigint NOT NULL,
    problems       json NOT NULL,
    took_s         double precision NOT NULL
);
"""

SEED = "INSERT INTO identity (id, made_at) VALUES (gen_random_uuid(), clock_timestamp());"


def upgrade() -> None:
    op.execute(UPKEEP)
    op.execute(SEED)
