"""What an operator does with the queues: change their number, and decide what waits too long.

A balance's queue depends on their number, so all queues must be empty when it changes: a posting that waits in the old
queue of its balance could otherwise be overtaken by one in the new.
"""

from sqlalchemy import Engine

from core.base.db import begin, reading
from core.base.errors import ErrorCode, InvalidRequest, InvariantBroken
from core.ledger import due
from core.ledger.drain import Announce, drain, drain_until
from core.ledger.rules.routing import MAX_QUEUES
from core.ledger.store import log as log_store
from core.ledger.store import queues as queue_store

LITTLE = 2_000
"""Undecided postings with which appends may be held back: a drain takes a fraction of a second for them."""

_ROUNDS = 20
"""Rounds of draining without the lock. Where appends keep outrunning them, the lock is taken all the same."""


def resize(engine: Engine, count: int, *, announce: Announce = lambda cursors: None) -> int:
    """Have ``count`` queues, and return how many there were.

    Everything is drained first while appends go on; for the rest, and the change itself, appends wait. Needs two
    connections. Workers need not stop.

    Raises:
        InvalidRequest: not a number from 1 to ``MAX_QUEUES``.
        TransientError: a lock was not had in time, or the database went away. Nothing has changed.
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
            last = queue_store.last_waiting(conn)
        if depth <= LITTLE:
            break
        _drain_all(engine, last, announce)

    with begin(engine) as conn:
        log_store.lock_head(conn)  # Nothing is accepted from here to the commit.
        _drain_all(engine, queue_store.last_waiting(conn), announce)
        # Cursors are locked in order of number, as drains do, lest one that still wants two of them deadlocks.
        queue_store.lock_heads(conn, queue_store.cursors(conn), wait=True)
        if waiting := queue_store.with_work(conn):
            raise InvariantBroken(f"queues {waiting} are not empty after all was drained")
        queue_store.resize(conn, count)
    return before


def recover(engine: Engine, *, older_than_s: float, announce: Announce) -> tuple[int, set[int]]:
    """Take what is due, and drain the queues in which something waits for longer than this.

    It is for when workers or beat are gone, or a doorbell and the sweep failed: everything is decided here and now.

    Returns how many transactions waited so long and are decided now, the legs of a split each counted, and the queues to
    ring, in which more may wait.

    Raises:
        TransientError: the database was busy or gone. What was committed stays.
    """
    with reading(engine) as conn:
        overdue = queue_store.overdue(conn, older_than_s)
    touched = due.accept_due(engine)
    for queue in touched:
        touched = touched | drain(engine, queue, announce=announce)
    for queue, (last, _) in overdue.items():
        touched |= drain_until(engine, queue, last, announce=announce)
    return sum(count for _, count in overdue.values()), touched


def _drain_all(engine: Engine, last: dict[int, int], announce: Announce) -> None:
    """Drain each queue up to the given seq, waiting for whoever is at it."""
    for queue, seq in last.items():
        drain_until(engine, queue, seq, announce=announce)
