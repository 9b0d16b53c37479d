"""Adds the audit log, and the keys of retries. No table that is there is read or changed.

The audit log takes additions alone. A row may go only when a later row says that it was cut off.
"""

from alembic import op

revision = "0010"
down_revision = "0009"

TABLES = """
CREATE TABLE audit (
    id          bigint PRIMARY KEY,
    created_at  timestamptz NOT NULL,
    actor       text NOT NULL,
    owner       text,
    part        text NOT NULL,
    request_id  text,
    action      text NOT NULL,
    subject     text NOT NULL,
    details     json NOT NULL,
    hash        bytea NOT NULL
);
CREATE INDEX audit_created_at_idx ON audit (created_at, id);
CREATE INDEX audit_actor_idx ON audit (actor, id);
CREATE INDEX audit_subject_idx ON audit (subject, id);
CREATE INDEX audit_cuts_idx ON audit (id) WHERE action = 'audit.cut';

CREATE TABLE idempotency_keys (
    actor        text NOT NULL,
    key          text NOT NULL,
    fingerprint  bytea NOT NULL,
    claim        uuid NOT NULL,
    claimed_at   timestamptz NOT NULL,
    status       smallint,
    headers      json,
    body         bytea,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (actor, key)
);
CREATE INDEX idempotency_keys_claimed_at_idx ON idempotency_keys (claimed_at);
"""

GUARDS = """
CREATE FUNCTION refuse_to_cut_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM audit
        WHERE action = 'audit.cut' AND id > OLD.id AND (details ->> 'last')::bigint >= OLD.id
    ) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'history is append-only: % on % refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_history();
CREATE TRIGGER audit_is_cut_from_its_start BEFORE DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION refuse_to_cut_audit();
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(GUARDS)
