"""Adds the events that the log and the outcomes do not tell, and the position from which they are kept.

Nothing that is there is rewritten. What was done before has no events but those of its transactions, so the others are kept
from the end of the log on.
"""

from alembic import op

revision = "0019"
down_revision = "0018"

EVENTS = """
CREATE TABLE events (
    seq         bigint NOT NULL,
    n           integer NOT NULL,
    id          uuid NOT NULL,
    type        text NOT NULL,
    data        text NOT NULL,
    ledger_id   text,
    balance_id  text,
    actor       text,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT events_pkey PRIMARY KEY (seq, n)
);

CREATE TRIGGER events_is_never_changed BEFORE UPDATE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_history();

CREATE TABLE events_kept (
    one     boolean PRIMARY KEY DEFAULT true,
    seq     bigint NOT NULL,
    n       integer NOT NULL,
    CONSTRAINT events_kept_is_one CHECK (one)
);
INSERT INTO events_kept (seq, n)
SELECT max(seq), 0
FROM log
HAVING max(seq) IS NOT NULL;
"""


def upgrade() -> None:
    op.execute(EVENTS)
