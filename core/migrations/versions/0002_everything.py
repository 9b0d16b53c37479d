"""Adds splits, refunds, schedules, due dates, the hash chain, later metadata, snapshots, and indexes for lists."""

from alembic import op

revision = "0002"
down_revision = "0001"

LOG = """
ALTER TABLE log
    ALTER COLUMN queue DROP NOT NULL,
    ALTER COLUMN source DROP NOT NULL,
    ALTER COLUMN destination DROP NOT NULL,
    ALTER COLUMN meta_data TYPE json USING meta_data::json,  -- the text as it came, which the digest covers
    ADD COLUMN refund_of bigint,
    ADD COLUMN terms json,
    ADD COLUMN digest bytea,
    DROP CONSTRAINT log_two_balances,
    DROP CONSTRAINT log_amount_fits_kind,
    ADD CONSTRAINT log_two_balances CHECK (
        kind = 5 OR (source IS NOT NULL AND destination IS NOT NULL AND source <> destination)
    ),
    ADD CONSTRAINT log_split_is_in_no_queue CHECK ((kind = 5) = (queue IS NULL)),
    ADD CONSTRAINT log_amount_fits_kind CHECK (
        (hold_seq IS NOT NULL) = (kind IN (3, 4)) AND (refund_of IS NOT NULL) = (kind = 6)
        AND CASE WHEN kind IN (1, 2, 5) THEN amount > 0 ELSE amount >= 0 END
    );
CREATE INDEX log_refund_of_idx ON log (refund_of) WHERE refund_of IS NOT NULL;
CREATE INDEX log_parent_idx ON log (parent, seq) WHERE parent IS NOT NULL;
CREATE INDEX log_source_seq_idx ON log (source, seq);
CREATE INDEX log_accepted_at_idx ON log (accepted_at);
CREATE INDEX log_source_effective_idx ON log (source, effective_date) WHERE effective_date IS NOT NULL;
CREATE INDEX log_destination_effective_idx ON log (destination, effective_date) WHERE effective_date IS NOT NULL;
CREATE INDEX outcomes_status_seq_idx ON outcomes (status, seq) WHERE status <> 1;
CREATE INDEX holds_inflight_idx ON holds (seq) WHERE settled_at IS NULL;
"""

CHAIN = """
ALTER TABLE outcomes ADD COLUMN hash bytea;
ALTER TABLE queues
    ADD COLUMN hash bytea NOT NULL DEFAULT '\\x0000000000000000000000000000000000000000000000000000000000000000',
    ADD COLUMN chained_after bigint NOT NULL DEFAULT 0;
UPDATE queues SET chained_after = cursor;

CREATE TABLE checkpoints (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    heads      json NOT NULL,
    signature  text NOT NULL,
    at         timestamptz NOT NULL
);
"""

TABLES = """
CREATE TABLE refunds (
    seq       bigint PRIMARY KEY,
    amount    minor_units NOT NULL,
    refunded  minor_units NOT NULL,
    CONSTRAINT refunds_not_exceeded CHECK (refunded BETWEEN 0 AND amount)
);

CREATE TABLE scheduled (
    id               uuid PRIMARY KEY,
    reference        text NOT NULL CONSTRAINT scheduled_reference_key UNIQUE,
    kind             smallint NOT NULL,
    source           bigint,
    destination      bigint,
    amount           minor_units NOT NULL,
    currency         text NOT NULL,
    precision        bigint NOT NULL,
    description      text NOT NULL,
    allow_overdraft  boolean NOT NULL,
    overdraft_limit  minor_units,
    parent           text,
    effective_date   timestamptz,
    meta_data        json,
    terms            json NOT NULL,
    legs             json NOT NULL,
    due_at           timestamptz NOT NULL,
    scheduled_at     timestamptz NOT NULL,
    cancelled_at     timestamptz
);
CREATE INDEX scheduled_due_idx ON scheduled (due_at) WHERE cancelled_at IS NULL;
CREATE INDEX scheduled_parent_idx ON scheduled (parent) WHERE parent IS NOT NULL;

CREATE TABLE due (
    transaction  uuid NOT NULL,
    action       smallint NOT NULL,
    at           timestamptz NOT NULL,
    CONSTRAINT due_pkey PRIMARY KEY (transaction, action),
    CONSTRAINT due_settles CHECK (action IN (3, 4))
);
CREATE INDEX due_at_idx ON due (at);

CREATE TABLE annotations (
    id         uuid PRIMARY KEY,
    meta_data  jsonb NOT NULL
);

CREATE TABLE snapshots (
    balance   bigint NOT NULL,
    version   bigint NOT NULL,
    credit    minor_units NOT NULL,
    debit     minor_units NOT NULL,
    taken_at  timestamptz NOT NULL,
    CONSTRAINT snapshots_pkey PRIMARY KEY (balance, version)
);
"""

GUARDS = """
CREATE TRIGGER refunds_are_kept BEFORE DELETE OR TRUNCATE ON refunds
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_history();
CREATE TRIGGER snapshots_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON snapshots
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_history();
CREATE TRIGGER checkpoints_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_history();
"""


def upgrade() -> None:
    for sql in (LOG, CHAIN, TABLES, GUARDS):
        op.execute(sql)
