"""Adds an index of the rows with an effective date in the order of the log, so that a filter on dates can walk them.

Ordinary rows are not in it. It is made after the commit, while posts go on.
"""

from sqlalchemy import Connection

from core.migrations.indexes import make

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    pass


def afterwards(conn: Connection) -> None:
    make(conn, "log_dated_idx", "log (seq) WHERE effective_date IS NOT NULL")
