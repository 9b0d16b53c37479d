"""Does an operator's work on the queues: changes their number, and decides what has waited too long.

The queue of a balance depends on the number of queues, so all queues must be empty when it changes. Otherwise a posting in
the new queue of its balance could overtake one in the old.
"""

from sqlalchemy import Engine

from core.base.db import begin, reading
from core.base.errors import ErrorCode, InvalidRequest, InvariantBroken
from core.base.fence import locking
from core.journal.actions import Action, Event, text_of
from core.journal.record import record
from core.ledger import due
from core.ledger.drain import Announce, drain, drain_until
from core.ledger.rules.routing import MAX_QUEUES
from core.ledger.store import log as log_store
from core.ledger.store import queues as queue_store
from core.ledger.store import waiting as waiting_store

LITTLE = 2_000
"""The number of undecided postings that a drain decides in a fraction of a second, while appends wait."""

_ROUNDS = 20
"""The largest number of rounds of draining without the lock. After them the lock is taken, even if appends were faster."""


def resize(engine: Engine, count: int, *, announce: Announce = lambda cursors: None) -> int:
    """Change the number of queues to ``count``, and return how many there were.

    Most is drained while appends go on. Appends wait for the rest, and for the change itself. It needs two connections,
    and workers need not stop.

    Raises:
        InvalidRequest: ``count`` is not from 1 to ``MAX_QUEUES``.
        TransientError: a lock was not had in time, or the database went away. The number has not changed.
    """
    if not 1 <= count <= MAX_QUEUES:
        raise InvalidRequest([("queues", f"must be a number from 1 to {MAX_QUEUES}")], ErrorCode.GEN_VALIDATION_ERROR)
    with reading(engine) as conn:
        before = len(queue_store.cursors(conn))
    if before == count:
        return before
    for _ in range(_ROUNDS):
        with reading(engine) as conn:
            depth = sum(state.depth for state in queue_store.states(conn))
            last = waiting_store.last_waiting(conn)
        if depth <= LITTLE:
            break
        _drain_all(engine, last, announce)

    with locking(engine) as conn:
        log_store.lock_head(conn)  # Nothing is accepted from here to the commit.
        for queue, seq in waiting_store.last_waiting(conn).items():
            drain_until(engine, queue, seq, announce=announce)
            queue_store.cursors(conn)  # Whoever waits for the lock sees that this session does not stand still.
        # Cursors are locked in order of number, as drains do, so that a drain that wants two of them cannot deadlock.
        queue_store.lock_heads(conn, queue_store.cursors(conn), wait=True)
        if waiting := waiting_store.with_work(conn):
            raise InvariantBroken(f"queues {waiting} are not empty after all was drained")
        queue_store.resize(conn, count)
        old, new = text_of(queues=before), text_of(queues=count)
        record(conn, Event(action=Action.QUEUES_RESIZED, subject="queues", before=old, after=new))
    return before


def recover(engine: Engine, *, older_than_s: float, announce: Announce) -> tuple[int, set[int]]:
    """Accept what is due, and drain the queues in which a posting has waited for longer than ``older_than_s``.

    An operator uses it when workers or beat are gone, or when a doorbell and the sweep failed. It drains at most
    ``waiting_store.COUNTED`` postings of each queue, so that a request has an end.

    Returns how many postings had waited so long, all of which are decided now, and the queues in which more postings may
    wait. The caller rings the doorbells of these queues.

    Raises:
        TransientError: the database was busy or gone. Earlier commits stay.
    """
    with reading(engine) as conn:
        overdue = waiting_store.overdue(conn, older_than_s)
    touched = due.accept_due(engine)
    for queue in touched:
        touched = touched | drain(engine, queue, announce=announce)
    for queue, (last, count) in overdue.items():
        touched |= drain_until(engine, queue, last, announce=announce)
        if count == waiting_store.COUNTED:
            touched.add(queue)
    recovered = sum(count for _, count in overdue.values())
    more = {"recovered": recovered, "older_than_s": older_than_s, "queues": sorted(overdue)}
    with begin(engine) as conn:
        record(conn, Event(action=Action.QUEUES_RECOVERED, subject="queues", more=more))
    return recovered, touched


def _drain_all(engine: Engine, last: dict[int, int], announce: Announce) -> None:
    """Drain each queue up to its given seq, and wait for other drains that hold it."""
    for queue, seq in last.items():
        drain_until(engine, queue, seq, announce=announce)
