"""A ledger that an earlier release wrote.

``ledger_0004.copy`` was written by the code right before a row of the log became a struct: all that its database held at
migration 0004, as COPY prints it. It has transfers of every kind of limit, holds, commits, voids, refunds, splits,
batches, a funding run, effective dates, odd texts, rejections, what is scheduled, what waits, and two signed checkpoints.
It must stay as it is: it stands for the ledgers that are out there.
"""

import re
from pathlib import Path

from sqlalchemy import Engine, text

from core import migrations
from core.base.db import begin, driver
from tests.harness.history import NO_TRIGGERS

WRITTEN = Path(__file__).with_name("ledger_0004.copy").read_bytes()
ROWS, UNDECIDED, REJECTED = 160, 2, 33

_GO_ON_COUNTING = """
    DO $$
    DECLARE
        identity record;
    BEGIN
        FOR identity IN
            SELECT table_name AS name, column_name AS counted
            FROM information_schema.columns
            WHERE table_schema = current_schema() AND is_identity = 'YES'
        LOOP
            EXECUTE format(
                'SELECT setval(pg_get_serial_sequence(%L, %L), coalesce(max(%I), 1), count(*) > 0) FROM %I',
                identity.name, identity.counted, identity.counted, identity.name
            );
        END LOOP;
    END
    $$
"""


def load(engine: Engine) -> None:
    """Make an empty database the older ledger, as its release left it."""
    migrations.upgrade(engine, "0004")
    with begin(engine) as conn:
        conn.execute(text(NO_TRIGGERS))
        for statement, table, rows in re.findall(rb"(COPY (\w+) .*);\n((?:.*\n)*?)\\\.\n", WRITTEN):
            conn.execute(text(f"DELETE FROM {table.decode()}"))
            with driver(conn).cursor().copy(statement) as copy:
                copy.write(rows)
        conn.execute(text(_GO_ON_COUNTING))
