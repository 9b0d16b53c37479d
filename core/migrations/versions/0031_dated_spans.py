"""Adds the table of runs: the dated entries of a hundred spans, sorted. A worker fills it in, so nothing waits for it."""

from alembic import op

revision = "0031"
down_revision = "0030"

DATED_SPANS = """
CREATE TABLE dated_spans (
    balance   bigint NOT NULL,
    last      bigint NOT NULL,
    part      integer NOT NULL,
    first_at  timestamptz NOT NULL,
    last_at   timestamptz NOT NULL,
    credit    minor_units NOT NULL,
    debit     minor_units NOT NULL,
    entries   integer NOT NULL,
    CONSTRAINT dated_spans_pkey PRIMARY KEY (balance, last, part)
);
CREATE TRIGGER dated_spans_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON dated_spans
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_history();
"""


def upgrade() -> None:
    op.execute(DATED_SPANS)
