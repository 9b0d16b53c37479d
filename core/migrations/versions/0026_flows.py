"""Adds the sums of flows and activity, and the position up to which they go. The tick adds older transactions to them.

The sums begin empty on an older ledger too, so this takes no longer on a large one.
"""

from alembic import op

revision = "0026"
down_revision = "0025"

FLOWS = """
CREATE TABLE flows (
    length_s     integer NOT NULL,
    at           timestamptz NOT NULL,
    currency     text NOT NULL,
    source       bigint NOT NULL,
    destination  bigint NOT NULL,
    amount       minor_units NOT NULL,
    precision    bigint NOT NULL,
    count        bigint NOT NULL,
    CONSTRAINT flows_pkey PRIMARY KEY (length_s, at, currency, source, destination)
) WITH (fillfactor = 80);

CREATE TABLE activity (
    length_s  integer NOT NULL,
    at        timestamptz NOT NULL,
    accepted  bigint NOT NULL,
    applied   bigint NOT NULL,
    inflight  bigint NOT NULL,
    rejected  bigint NOT NULL,
    CONSTRAINT activity_pkey PRIMARY KEY (length_s, at)
) WITH (fillfactor = 80);

CREATE TABLE rollups (
    one           boolean PRIMARY KEY DEFAULT true,
    seq           bigint NOT NULL,
    at            timestamptz NOT NULL,
    minutes_from  timestamptz NOT NULL,
    hours_from    timestamptz NOT NULL,
    CONSTRAINT rollups_is_one CHECK (one)
);
"""

SEED = """
INSERT INTO rollups (seq, at, minutes_from, hours_from) VALUES (0, 'epoch', 'epoch', 'epoch');
"""


def upgrade() -> None:
    op.execute(FLOWS)
    op.execute(SEED)
