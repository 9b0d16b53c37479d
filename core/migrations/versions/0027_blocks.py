"""Makes the index on parents smaller, and packs the indexes whose keys only grow.

An index on the parent and the block of 1,024 positions has one key for all of a batch's neighbours: 8 bytes a row in place
of 77. The old index goes once the new one is there. Posts go on meanwhile.
"""

from alembic import op
from sqlalchemy import Connection

from core.migrations.indexes import drop, is_valid, make

revision = "0027"
down_revision = "0026"

PACKED = """
ALTER INDEX log_pkey SET (fillfactor = 100);
ALTER INDEX log_queue_seq_idx SET (fillfactor = 100);
"""


def upgrade() -> None:
    op.execute(PACKED)


def afterwards(conn: Connection) -> None:
    make(conn, "log_parent_block_idx", "log (parent, (seq >> 10)) WHERE parent IS NOT NULL")
    if is_valid(conn, "log_parent_block_idx"):
        drop(conn, "log_parent_idx")
