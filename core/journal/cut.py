"""Removes the oldest rows of the audit log, and says so in the chain, which then begins after them."""

from datetime import datetime

from sqlalchemy import Engine

from core.base.fence import locking
from core.journal import audit_store
from core.journal.actions import Action, Event
from core.journal.record import record


def cut(engine: Engine, before: datetime) -> int:
    """Remove the rows that are older than a time. Returns their number.

    A row that names the last of them and its hash is added first, so that the rows which are left can be checked to the
    first. Only the owner of the database may do it.

    Raises:
        TransientError: the lock was not had in time, or the database went away. Nothing has changed.
    """
    with locking(engine) as conn:
        audit_store.lock_head(conn)
        last = audit_store.last_before(conn, before)
        if last is None:
            return 0
        id, hash = last
        more = {"last": id, "hash": hash.hex(), "before": before}
        record(conn, Event(action=Action.AUDIT_CUT, subject="audit", more=more))
        return audit_store.cut(conn, id)
