"""Writes the two balances of a hold beside it, so that what a balance holds is read from its own holds alone.

Holds that are open get theirs after the commit, in pieces, while posts go on. One that was settled before needs none. A release
before this one goes on adding holds, and a trigger fills in their balances. The constraint becomes valid last, so it shows
whether all that was done.
"""

from alembic import op
from sqlalchemy import Connection

from core.base.db import driver
from core.migrations.indexes import is_validated, make, validate

revision = "0032"
down_revision = "0031"

# A commit or void of an older hold, in part, fills in its balances too. It has a row in the log before it has one here.
SIDES = """
ALTER TABLE holds
    ADD COLUMN source bigint,
    ADD COLUMN destination bigint;
ALTER TABLE holds
    ADD CONSTRAINT holds_between_two_balances CHECK (
        settled_at IS NOT NULL OR (source IS NOT NULL AND destination IS NOT NULL)
    ) NOT VALID;

CREATE FUNCTION fill_in_sides() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT source, destination
    INTO NEW.source, NEW.destination
    FROM log
    WHERE seq = NEW.seq;
    RETURN NEW;
END $$;
CREATE TRIGGER holds_fill_in_sides BEFORE INSERT OR UPDATE ON holds
    FOR EACH ROW
    WHEN (NEW.source IS NULL AND NEW.settled_at IS NULL)
    EXECUTE FUNCTION fill_in_sides();
"""

PIECE = 2_000
"""The number of holds that one statement fills in. A drain that settles one of them waits for so many."""

# holds_inflight_idx serves this.
_FILL_IN = """
    WITH piece AS (
        SELECT seq
        FROM holds
        WHERE settled_at IS NULL
          AND source IS NULL
          AND seq > %(after)s
        ORDER BY seq
        LIMIT %(piece)s
        FOR NO KEY UPDATE {how}
    ),
    filled AS (
        UPDATE holds
        SET source = log.source,
            destination = log.destination
        FROM piece
        JOIN log USING (seq)
        WHERE holds.seq = piece.seq
    )
    SELECT max(seq)
    FROM piece
"""


def upgrade() -> None:
    op.execute(SIDES)


def afterwards(conn: Connection) -> None:
    if not is_validated(conn, "holds", "holds_between_two_balances"):
        # A drain locks holds in an order of its own, so what it has locked is left out, and then waited for one by one.
        _fill_in(conn, PIECE, "SKIP LOCKED")
        _fill_in(conn, 1, "")
    for side in ("source", "destination"):
        make(conn, f"holds_{side}_idx", f"holds ({side}, seq) WHERE settled_at IS NULL")
    validate(conn, "holds", "holds_between_two_balances")


def _fill_in(conn: Connection, piece: int, how: str) -> None:
    statement = _FILL_IN.format(how=how)
    after: int | None = 0
    while after is not None:
        ((after,),) = driver(conn).execute(statement, {"after": after, "piece": piece}).fetchall()
