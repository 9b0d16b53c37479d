"""Adds webhooks and hooks, and their deliveries."""

from alembic import op

revision = "0022"
down_revision = "0021"

WEBHOOKS = """
CREATE TABLE webhooks (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook_id          text NOT NULL CONSTRAINT webhooks_webhook_id_key UNIQUE,
    kind                text NOT NULL,
    name                text NOT NULL DEFAULT '',
    url                 text NOT NULL,
    events              text[] NOT NULL,
    description         text NOT NULL DEFAULT '',
    headers             bytea,
    ordered             boolean NOT NULL DEFAULT false,
    active              boolean NOT NULL DEFAULT true,
    disabled_why        text,
    secret              bytea,
    old_secret          bytea,
    old_secret_ends_at  timestamptz,
    timeout_ms          integer NOT NULL DEFAULT 15000,
    retries             integer NOT NULL DEFAULT 7,
    on_error            text,
    funding             boolean NOT NULL DEFAULT false,
    after_seq           bigint NOT NULL,
    after_n             bigint NOT NULL,
    replay_seq          bigint,
    replay_n            bigint,
    replay_to_seq       bigint,
    replay_to_n         bigint,
    lease_by            text,
    lease_until         timestamptz,
    failing_since       timestamptz,
    last_error          text,
    last_attempt_at     timestamptz,
    last_success_at     timestamptz,
    created_by          text NOT NULL,
    created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT webhooks_kind CHECK (kind IN ('webhook', 'default', 'pre', 'post', 'veto'))
);

CREATE TABLE webhook_deliveries (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook     bigint NOT NULL,
    event_id    text NOT NULL,
    type        text NOT NULL,
    seq         bigint NOT NULL,
    n           bigint NOT NULL,
    status      text NOT NULL,
    attempts    integer NOT NULL,
    next_at     timestamptz,
    body        text,
    answer      integer,
    error       text,
    took_ms     integer,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at    timestamptz,
    CONSTRAINT webhook_deliveries_status CHECK (status IN ('PENDING', 'DELIVERED', 'FAILED')),
    CONSTRAINT webhook_deliveries_webhook_fkey FOREIGN KEY (webhook) REFERENCES webhooks (id) ON DELETE CASCADE
);
CREATE INDEX webhook_deliveries_status_idx ON webhook_deliveries (webhook, status, id);
CREATE INDEX webhook_deliveries_due_idx ON webhook_deliveries (webhook, next_at) WHERE status = 'PENDING';
"""


def upgrade() -> None:
    op.execute(WEBHOOKS)
