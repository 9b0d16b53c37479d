"""What waits too long, decided here and now: for when workers or beat are gone, or a doorbell and the sweep failed."""

from sqlalchemy import Engine

from core.base.db import reading
from core.ledger import drain, due
from core.ledger.drain import Announce
from core.ledger.store import queues as queue_store


def recover(engine: Engine, *, older_than_s: float, announce: Announce) -> tuple[int, set[int]]:
    """Take what is due, and drain the queues in which something waits for longer than this.

    Returns how many transactions waited so long and are decided now, the legs of a split each counted, and the queues to
    ring, in which more may wait.

    Raises:
        TransientError: the database was busy or gone. What was committed stays.
    """
    with reading(engine) as conn:
        overdue = queue_store.overdue(conn, older_than_s)
    touched = due.accept_due(engine)
    for queue in touched:
        touched = touched | drain.drain(engine, queue, announce=announce)
    for queue, (last, _) in overdue.items():
        touched |= drain.drain_until(engine, queue, last, announce=announce)
    return sum(count for _, count in overdue.values()), touched
