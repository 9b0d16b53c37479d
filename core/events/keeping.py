"""Removes the events that are older than they are kept. A reader whose cursor is older is told from where it can go on."""

import time

from sqlalchemy import Engine

from core.base.db import begin
from core.journal import fact_store

AT_ONCE = 10_000
"""One commit removes up to so many rows."""


def remove_old(engine: Engine, days: int, *, for_s: float = 5.0) -> int:
    """Remove the rows that are older than so many days, for about ``for_s`` seconds. Returns their number.

    The events of transactions are no rows, so they stay as long as the ledger.

    Raises:
        TransientError: the database was busy or gone. Earlier commits stay.
    """
    deadline, removed = time.monotonic() + for_s, 0
    while True:
        with begin(engine) as conn:
            found = fact_store.remove_old(conn, days, limit=AT_ONCE)
        removed += found
        if found < AT_ONCE or time.monotonic() >= deadline:
            return removed
