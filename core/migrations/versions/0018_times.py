"""Finds times by positions instead of an index, because ``accepted_at`` never falls along ``seq`` from now on.

Rows of older releases may fall where the clock was set back. ``clock_falls`` names the first row after each fall. The log
is read for them after the commit, in pieces, while posts go on. The index goes last, so it shows whether that was done.
"""

from alembic import op
from sqlalchemy import Connection

from core.base.db import driver
from core.migrations.indexes import drop, exists

revision = "0018"
down_revision = "0017"

TIMES = """
CREATE TABLE clock_falls (
    seq bigint PRIMARY KEY
);
CREATE TRIGGER clock_falls_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON clock_falls
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_history();
"""

PIECE = 200_000
"""The number of rows that one statement looks at."""

# The row before the piece is read as well.
_FIND_FALLS = """
    INSERT INTO clock_falls (seq)
    SELECT seq
    FROM (
        SELECT seq, accepted_at < lag(accepted_at) OVER (ORDER BY seq) AS has_fallen
        FROM log
        WHERE seq >= %(first)s AND seq <= %(first)s + %(piece)s
    ) AS piece
    WHERE has_fallen
    ON CONFLICT DO NOTHING
"""


def upgrade() -> None:
    op.execute(TIMES)


def afterwards(conn: Connection) -> None:
    connection = driver(conn)
    if not exists(conn, "log_accepted_at_idx"):
        return
    first, last = 0, 0
    while first <= last:
        connection.execute(_FIND_FALLS, {"first": first, "piece": PIECE})
        first += PIECE
        (last,) = connection.execute("SELECT coalesce(max(seq), 0) FROM log").fetchone() or (0,)
    drop(conn, "log_accepted_at_idx")
