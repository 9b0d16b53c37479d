"""Adds the indexes that filters need most. Those on the log are partial, so that an ordinary transfer touches none."""

from alembic import op

revision = "0003"
down_revision = "0002"

INDEXES = """
-- The splits, newest first: the status of a split is found from its legs, so only splits may be walked for it.
CREATE INDEX log_split_idx ON log (seq) WHERE kind = 5;
-- The others are dated by log_accepted_at_idx.
CREATE INDEX log_effective_date_idx ON log (effective_date) WHERE effective_date IS NOT NULL;
-- VOID holds. A partial commit leaves what it is about alone, so that it stays a heap-only update.
CREATE INDEX holds_voided_idx ON holds (seq) WHERE voided = amount;
-- Written once for each balance or ledger, and never by a posting.
CREATE INDEX balances_created_at_idx ON balances (created_at, id);
CREATE INDEX ledgers_created_at_idx ON ledgers (created_at, id);
"""


def upgrade() -> None:
    op.execute(INDEXES)
