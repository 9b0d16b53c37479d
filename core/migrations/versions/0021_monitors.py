"""Adds monitors of balances, and the mark of a balance that is watched. No row that is there is rewritten."""

from alembic import op

revision = "0021"
down_revision = "0020"

MONITORS = """
ALTER TABLE balances ADD COLUMN watched boolean NOT NULL DEFAULT false;

CREATE TABLE watches (
    balance          bigint PRIMARY KEY,
    seq              bigint NOT NULL,
    ahead            bigint NOT NULL,
    credit           minor_units NOT NULL,
    debit            minor_units NOT NULL,
    inflight_credit  minor_units NOT NULL,
    inflight_debit   minor_units NOT NULL,
    version          bigint NOT NULL,
    CONSTRAINT watches_ahead_is_not_behind CHECK (ahead >= seq)
) WITH (fillfactor = 70);

CREATE TABLE monitors (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    monitor_id      uuid NOT NULL CONSTRAINT monitors_monitor_id_key UNIQUE,
    balance         bigint NOT NULL,
    field           text NOT NULL,
    operator        text NOT NULL,
    threshold       minor_units NOT NULL,
    hysteresis      minor_units NOT NULL,
    precision       bigint NOT NULL,
    mode            text NOT NULL,
    once            boolean NOT NULL,
    min_interval_s  double precision NOT NULL,
    fire_now        boolean NOT NULL,
    active          boolean NOT NULL,
    description     text NOT NULL,
    call_back_url   text NOT NULL,
    meta_data       jsonb,
    triggered       boolean NOT NULL,
    version         bigint NOT NULL,
    since           timestamptz NOT NULL,
    fired           bigint NOT NULL DEFAULT 0,
    fired_at        timestamptz,
    actor           text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT monitors_mode CHECK (mode IN ('edge', 'level')),
    CONSTRAINT monitors_bounds CHECK (hysteresis >= 0 AND precision > 0 AND min_interval_s >= 0)
) WITH (fillfactor = 80);
CREATE INDEX monitors_balance_idx ON monitors (balance, id);
CREATE INDEX monitors_created_at_idx ON monitors (created_at, id);

CREATE TABLE monitor_firings (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    monitor  bigint NOT NULL CONSTRAINT monitor_firings_monitor_fkey REFERENCES monitors (id) ON DELETE CASCADE,
    event    uuid NOT NULL CONSTRAINT monitor_firings_event_key UNIQUE,
    seq      bigint,
    before   minor_units,
    after    minor_units NOT NULL,
    version  bigint NOT NULL,
    at       timestamptz NOT NULL,
    CONSTRAINT monitor_firings_once_a_posting UNIQUE (monitor, seq)
);
"""


def upgrade() -> None:
    op.execute(MONITORS)
