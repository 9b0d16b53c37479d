"""Adds the table of spans: the sums of each thousand versions of a balance. A worker fills it in, so nothing waits for it."""

from alembic import op

revision = "0028"
down_revision = "0027"

SPANS = """
CREATE TABLE spans (
    balance           bigint NOT NULL,
    last              bigint NOT NULL,
    part              integer NOT NULL,
    first_at          timestamptz NOT NULL,
    last_at           timestamptz NOT NULL,
    first_decided_at  timestamptz NOT NULL,
    last_decided_at   timestamptz NOT NULL,
    credit            minor_units NOT NULL,
    debit             minor_units NOT NULL,
    entries           integer NOT NULL,
    CONSTRAINT spans_pkey PRIMARY KEY (balance, last, part)
);
CREATE TRIGGER spans_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON spans
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_history();
"""


def upgrade() -> None:
    op.execute(SPANS)
