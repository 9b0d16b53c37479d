"""Creates the ledger: log, outcomes, balances, holds, queues, and the guards around them."""

from alembic import op

revision = "0001"
down_revision = None

TABLES = """
CREATE DOMAIN minor_units AS numeric
    CHECK (VALUE IS NULL OR scale(VALUE) IS NOT DISTINCT FROM 0);  -- NaN and infinity have no scale

CREATE TABLE queues (
    number      integer PRIMARY KEY,
    cursor      bigint NOT NULL DEFAULT 0,
    decided     bigint NOT NULL DEFAULT 0,
    rate        double precision NOT NULL DEFAULT 0,
    drained_at  timestamptz
);

CREATE TABLE currencies (
    currency   text PRIMARY KEY,
    precision  bigint NOT NULL CONSTRAINT currencies_precision_positive CHECK (precision > 0)
);

CREATE TABLE ledgers (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ledger_id   text NOT NULL CONSTRAINT ledgers_ledger_id_key UNIQUE,
    name        text NOT NULL,
    meta_data   jsonb,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE balances (
    id                       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    balance_id               uuid NOT NULL CONSTRAINT balances_balance_id_key UNIQUE,
    ledger                   bigint NOT NULL CONSTRAINT balances_ledger_fkey REFERENCES ledgers (id),
    indicator                text,
    currency                 text NOT NULL,
    balance                  minor_units NOT NULL DEFAULT 0,
    credit_balance           minor_units NOT NULL DEFAULT 0,
    debit_balance            minor_units NOT NULL DEFAULT 0,
    inflight_credit_balance  minor_units NOT NULL DEFAULT 0,
    inflight_debit_balance   minor_units NOT NULL DEFAULT 0,
    version                  bigint NOT NULL DEFAULT 1,
    last_credit_seq          bigint NOT NULL DEFAULT 0,
    meta_data                jsonb,
    created_at               timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT balances_indicator_currency_key UNIQUE (indicator, currency),
    CONSTRAINT balances_adds_up CHECK (balance = credit_balance - debit_balance),
    CONSTRAINT balances_sums_not_negative CHECK (
        credit_balance >= 0 AND debit_balance >= 0 AND inflight_credit_balance >= 0 AND inflight_debit_balance >= 0
    )
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX balances_ledger_idx ON balances (ledger);

CREATE TABLE log (
    seq              bigint PRIMARY KEY,
    id               uuid NOT NULL CONSTRAINT log_id_key UNIQUE,
    reference        text NOT NULL CONSTRAINT log_reference_key UNIQUE,
    kind             smallint NOT NULL,
    queue            smallint NOT NULL,
    source           bigint NOT NULL,
    destination      bigint NOT NULL,
    amount           minor_units NOT NULL,
    currency         text NOT NULL,
    precision        bigint NOT NULL,
    description      text NOT NULL,
    allow_overdraft  boolean NOT NULL,
    overdraft_limit  minor_units CONSTRAINT log_overdraft_limit_not_negative CHECK (overdraft_limit >= 0),
    hold_seq         bigint,
    group_first      bigint,
    group_last       bigint,
    parent           text,
    effective_date   timestamptz,
    meta_data        jsonb,
    accepted_at      timestamptz NOT NULL,
    CONSTRAINT log_two_balances CHECK (source <> destination),
    CONSTRAINT log_amount_fits_kind CHECK (
        CASE WHEN kind IN (1, 2) THEN amount > 0 AND hold_seq IS NULL ELSE amount >= 0 AND hold_seq IS NOT NULL END
    ),
    CONSTRAINT log_inside_its_group CHECK (seq BETWEEN group_first AND group_last)
);
CREATE INDEX log_queue_seq_idx ON log (queue, seq);
CREATE INDEX log_destination_seq_idx ON log (destination, seq);
CREATE INDEX log_hold_seq_idx ON log (hold_seq) WHERE hold_seq IS NOT NULL;

CREATE TABLE outcomes (
    seq                  bigint PRIMARY KEY,
    status               smallint NOT NULL,
    amount               minor_units NOT NULL,
    source               bigint,
    source_version       bigint,
    source_balance       minor_units,
    destination          bigint,
    destination_version  bigint,
    destination_balance  minor_units,
    reason               smallint,
    rejection            jsonb,
    decided_at           timestamptz NOT NULL,
    CONSTRAINT outcomes_rejected_with_reason CHECK ((status = 4) = (reason IS NOT NULL)),
    CONSTRAINT outcomes_rejected_changes_nothing CHECK ((status = 4) = (source IS NULL))
);
CREATE UNIQUE INDEX outcomes_source_version_idx
    ON outcomes (source, source_version) WHERE source IS NOT NULL;
CREATE UNIQUE INDEX outcomes_destination_version_idx
    ON outcomes (destination, destination_version) WHERE destination IS NOT NULL;

CREATE TABLE holds (
    seq         bigint PRIMARY KEY,
    amount      minor_units NOT NULL,
    committed   minor_units NOT NULL DEFAULT 0,
    voided      minor_units NOT NULL DEFAULT 0,
    settled_at  timestamptz,
    CONSTRAINT holds_not_exceeded CHECK (committed >= 0 AND voided >= 0 AND committed + voided <= amount),
    CONSTRAINT holds_settled_when_nothing_left CHECK (
        (committed + voided = amount) = (settled_at IS NOT NULL)
    )
) WITH (fillfactor = 80);

CREATE TABLE heartbeats (
    worker  text PRIMARY KEY,
    at      timestamptz NOT NULL
);
"""

GUARDS = """
CREATE FUNCTION refuse_to_change_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'history is append-only: % on % refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_history();
CREATE TRIGGER outcomes_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON outcomes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_history();
CREATE TRIGGER balances_are_kept BEFORE DELETE OR TRUNCATE ON balances
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_history();
CREATE TRIGGER holds_are_kept BEFORE DELETE OR TRUNCATE ON holds
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_history();
"""

SEED = """
INSERT INTO ledgers (ledger_id, name) VALUES ('general_ledger_id', 'General Ledger');
INSERT INTO queues (number) SELECT generate_series(0, 7);
"""


def upgrade() -> None:
    for sql in (TABLES, GUARDS, SEED):
        op.execute(sql)
