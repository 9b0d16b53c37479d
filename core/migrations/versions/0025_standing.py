"""Says which limits and decisions must have a pledge: those from now on. What was decided is decided once.

A limit or a decision of before has no pledge. The columns tell the two apart, and the service cannot write them.
"""

from alembic import op

revision = "0025"
down_revision = "0024"

STANDING = """
ALTER TABLE balance_limits ADD COLUMN pledged boolean NOT NULL DEFAULT false;
ALTER TABLE balance_limits ALTER COLUMN pledged SET DEFAULT true;

ALTER TABLE funding_approvals ADD COLUMN pledged boolean NOT NULL DEFAULT true;
UPDATE funding_approvals SET pledged = false WHERE status <> 'WAITING';

CREATE FUNCTION refuse_to_decide_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an approval is decided once: % on % refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER funding_approvals_are_decided_once BEFORE UPDATE ON funding_approvals
    FOR EACH ROW WHEN (OLD.status <> 'WAITING') EXECUTE FUNCTION refuse_to_decide_again();
CREATE TRIGGER funding_approvals_are_kept BEFORE DELETE OR TRUNCATE ON funding_approvals
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_history();

CREATE FUNCTION refuse_to_unrevoke() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a key that was revoked stays revoked: % on % refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER api_keys_stay_revoked BEFORE UPDATE OF revoked_at ON api_keys
    FOR EACH ROW WHEN (OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at)
    EXECUTE FUNCTION refuse_to_unrevoke();
CREATE TRIGGER api_key_secrets_stay_ended BEFORE UPDATE OF ends_at ON api_key_secrets
    FOR EACH ROW WHEN (OLD.ends_at IS NOT NULL AND (NEW.ends_at IS NULL OR NEW.ends_at > OLD.ends_at))
    EXECUTE FUNCTION refuse_to_unrevoke();
"""


def upgrade() -> None:
    op.execute(STANDING)
