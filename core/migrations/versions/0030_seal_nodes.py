"""Adds the nodes of large seals, from which a receipt is made quickly, and an index of the seals that hand a key over.

The notary writes the nodes of old seals little by little. A receipt under a seal without them reads all its rows, as before.
"""

from alembic import op
from sqlalchemy import Connection

from core.migrations.indexes import make

revision = "0030"
down_revision = "0029"

SEAL_NODES = """
CREATE TABLE seal_nodes (
    seal      bigint NOT NULL,
    rows      bytea NOT NULL,
    outcomes  bytea NOT NULL,
    starts    text NOT NULL,
    CONSTRAINT seal_nodes_pkey PRIMARY KEY (seal)
);
CREATE TRIGGER seal_nodes_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON seal_nodes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_history();
"""


def upgrade() -> None:
    op.execute(SEAL_NODES)


def afterwards(conn: Connection) -> None:
    make(conn, "seals_hand_over_idx", """seals (number) WHERE statement LIKE '%"next_key":"%'""")
