"""Lets the URLs of monitors be endpoints. Both tables are small."""

from alembic import op

revision = "0024"
down_revision = "0023"

CALLBACKS = """
ALTER TABLE webhooks DROP CONSTRAINT webhooks_kind;
ALTER TABLE webhooks ADD CONSTRAINT webhooks_kind
    CHECK (kind IN ('webhook', 'default', 'pre', 'post', 'veto', 'callback'));
CREATE UNIQUE INDEX webhooks_callback_url_idx ON webhooks (url) WHERE kind = 'callback';
CREATE INDEX monitors_call_back_url_idx ON monitors (call_back_url) WHERE call_back_url <> '';
"""


def upgrade() -> None:
    op.execute(CALLBACKS)
