"""Adds the floors and freezes of balances, as changes that each count from a position in the log on."""

from alembic import op

revision = "0014"
down_revision = "0013"

LIMITS = """
CREATE TABLE balance_limits (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    balance bigint NOT NULL,
    after_seq bigint NOT NULL,
    floor minor_units,
    frozen smallint NOT NULL,
    reason text,
    actor text NOT NULL,
    set_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT balance_limits_frozen_known CHECK (frozen BETWEEN 0 AND 2),
    CONSTRAINT balance_limits_frozen_with_reason CHECK (frozen = 0 OR reason IS NOT NULL)
);
CREATE INDEX balance_limits_balance_idx ON balance_limits (balance, id);
CREATE TRIGGER balance_limits_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON balance_limits
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_history();
"""


def upgrade() -> None:
    op.execute(LIMITS)
