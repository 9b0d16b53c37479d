"""Drains queues: decides the postings of the log after the cursors, and writes their outcomes.

A drain locks the cursors of one or more queues, decides the next postings in memory in the order of acceptance, and
writes everything in one commit. Two rules make the result equal to deciding all postings one at a time, in that order:

* A later credit does not count. A posting must not spend what a higher seq has already credited.
* An earlier credit is waited for. A posting that is short while an earlier one, undecided in another queue, would credit
  its source is not rejected: the drain commits what it has and goes on with both queues. What it needs is always earlier,
  so there are no circles.

An atomic group needs all the queues of its members, and is decided whole.

A batch that fails is halved and tried again, down to one posting. A posting that cannot be decided alone stops its own
queue, and no other. ``/health`` sees it by the age of the oldest posting in the queue.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import structlog
from sqlalchemy import Connection, Engine

from core.base.db import reading
from core.base.faults import Fault, fault_of
from core.base.fence import in_transaction, look_now_and_then, stands_still
from core.ledger import trail
from core.ledger.deciding import Decision, Line, open_book, write
from core.ledger.rules.model import Outcome, Posting
from core.ledger.store import log as log_store
from core.ledger.store import queues as queue_store
from core.ledger.store import taking
from core.ledger.store import waiting as waiting_store

BATCH = 5000
"""The number of postings decided in one commit. More gains little and holds the balances' locks for longer."""

Announce = Callable[[dict[int, int]], None]
"""A function that gets the new cursor of each queue, after the commit."""

logger = structlog.get_logger()


observers: list[Callable[[list[Outcome], float], None]] = []
"""Functions that get the outcomes of each commit and the seconds that it took. A door adds one to count them."""


@dataclass
class Batch:
    """The result of one database transaction of a drain."""

    held: set[int] = field(default_factory=set)
    """The queues whose cursors it locked. It is empty when other drains hold all of them."""
    cursors: dict[int, int] = field(default_factory=dict)
    """The new cursor of each queue, if the batch decided something."""
    postings: list[Posting] = field(default_factory=list)
    """The postings that it decided."""
    outcomes: list[Outcome] = field(default_factory=list)
    needs: set[int] = field(default_factory=set)
    """The queues that must be locked as well before the next posting can be decided."""


def drain(
    engine: Engine,
    queue: int,
    *,
    announce: Announce = lambda cursors: None,
    batch: int = BATCH,
    together: int = 0,
) -> set[int]:
    """Decide everything in ``queue``, and return the other queues that were locked for it and may have got work.

    A queue that another drain holds is left to that drain. It looks again after it lets go, so it sees what was accepted
    meanwhile. The returned queues were closed to others for a moment, so the caller rings their doorbells.

    If ``together`` is not 0, it drains every other free queue with work in the same commits, until it has decided that many
    postings. This saves commits when each queue has little work.

    Raises:
        TransientError: a lock was not had in time, or the database went away. Earlier commits stay.
    """
    touched: set[int] = set()
    stuck: dict[int, Exception] = {}
    size = _Size(batch)
    waiting = None if together else {queue}
    while True:
        decided = 0
        try:
            held, decided = _drain_once(engine, waiting, announce, size, wait=False)
        except _Undecidable as failure:
            # One that was left aside fails again when another queue needs it. Then all that were locked together are left.
            stuck |= dict.fromkeys(failure.queues if failure.queue in stuck else [failure.queue], failure.error)
            size = _Size(batch)
        else:
            # Whoever holds the queues looks again after he lets go.
            if not held and not look_now_and_then(engine):
                break
            touched |= held
        together = max(0, together - decided)
        # At 0 the queues have enough for commits of their own. The others are for other workers.

        # Nothing is locked now. Whoever was turned away meanwhile counts on this look.
        with reading(engine) as conn:
            waiting = set(waiting_store.with_work(conn)) - stuck.keys()
        if not together:
            waiting &= {queue}
        if not waiting:
            break
    for error in stuck.values():
        raise error
    # With ``together``, it has looked again at every queue itself.
    return set() if together else touched - {queue}


def drain_until(
    engine: Engine, queue: int, seq: int, *, announce: Announce = lambda cursors: None, batch: int = BATCH
) -> set[int]:
    """Decide ``queue`` up to ``seq``, which is a posting of that queue, and wait for another drain that holds it.

    Returns the queues to ring. This one is among them, because it may have more after ``seq``, and a drain that was
    turned away meanwhile counts on that.

    Raises:
        TransientError: as ``drain``.
    """
    touched: set[int] = set()
    while True:
        with reading(engine) as conn:
            if queue_store.cursors(conn).get(queue, seq) >= seq:
                return touched
        try:
            held, _ = _drain_once(engine, {queue}, announce, _Size(batch), wait=True)
        except _Undecidable as failure:
            raise failure.error from None
        touched |= held


def report(postings: Sequence[Posting], outcomes: list[Outcome], took_s: float) -> None:
    """Write the lines of the log about what was decided in a commit, and tell the observers."""
    if outcomes:
        trail.decided(postings, outcomes, took_s)
        for observe in observers:
            with suppress(Exception):  # What is committed stays, whoever cannot count it.
                observe(outcomes, took_s)


@dataclass
class _Size:
    """The number of postings that one commit decides. It shrinks when a batch fails, and grows again when one does not."""

    full: int

    def __post_init__(self) -> None:
        self.rows = self.full

    def shrink(self, waiting: int) -> bool:
        """Halve the number that was tried. Returns False when it was one."""
        tried = min(self.rows, waiting)
        self.rows = max(1, tried // 2)
        return tried > 1

    def grow(self) -> None:
        self.rows = min(self.full, self.rows + self.rows // 8 + 1)


class _Undecidable(Exception):
    """The first waiting posting of a queue cannot be decided, not even alone."""

    def __init__(self, queue: int, queues: set[int], error: Exception) -> None:
        self.queue, self.queues, self.error = queue, queues, error


def _drain_once(
    engine: Engine, queues: set[int] | None, announce: Announce, size: _Size, *, wait: bool
) -> tuple[set[int], int]:
    """Drain the free ones of these queues once, with as many other queues as that takes. None stands for all with work.

    Returns the queues that were locked, and how many postings were decided.

    Raises:
        TransientError: as ``drain``.
        _Undecidable: a posting cannot be decided alone.
    """
    decided = 0
    while True:
        started = time.perf_counter()
        try:
            done = in_transaction(engine, partial(drain_batch, queues=queues, limit=size.rows, wait=wait))
        except Exception as error:
            if fault_of(error) is Fault.NOT_NOW:
                if stands_still(error, time.perf_counter() - started):
                    logger.warning(
                        "this process stood still in a drain, and lost its queues", queues=sorted(queues or ())
                    )
                raise
            with reading(engine) as conn:
                depths = waiting_store.depths(conn, size.rows)
            queues = set(depths) if queues is None else queues
            if not size.shrink(sum(depths.get(queue, 0) for queue in queues)):
                raise _undecidable(engine, queues, error) from error
            logger.warning("a batch failed, and is halved", queues=sorted(queues), rows=size.rows, error=repr(error))
            continue
        size.grow()
        decided += len(done.outcomes)
        took_s = time.perf_counter() - started
        report(done.postings, done.outcomes, took_s)
        if done.cursors:
            announce(done.cursors)
        if not done.needs:
            return done.held, decided
        queues, wait = done.held | done.needs, True


def _undecidable(engine: Engine, queues: set[int], error: Exception) -> _Undecidable:
    """Find the posting that failed alone, which is the first that waits in these queues, and report it."""
    with reading(engine) as conn:
        first = {queue: seq for queue, seq in waiting_store.first_waiting(conn, but=()).items() if queue in queues}
    queue = min(first, key=first.__getitem__, default=min(queues))
    logger.error(
        "a posting cannot be decided, and its queue stands still", queue=queue, seq=first.get(queue), exc_info=error
    )
    return _Undecidable(queue, queues, error)


def drain_batch(conn: Connection, queues: set[int] | None, *, limit: int, wait: bool) -> Batch:
    """Decide the next postings of these queues, in the transaction of ``conn``. None stands for all with work.

    It locks their cursors, and then the balances. Without ``wait``, queues that another drain holds are left out.
    """
    if queues is None:
        heads, postings = taking.take_all_free(conn, limit)
    else:
        heads, postings = taking.take(conn, queues, limit, wait=wait)
    queues = set(heads)
    if not postings:
        return Batch(queues)
    if postings[-1].group_last is not None and postings[-1].group_last > postings[-1].seq:
        postings += log_store.read_range(conn, queues, first=postings[-1].seq + 1, last=postings[-1].group_last)

    opened = open_book(conn, postings)
    line = Line(conn, opened.book, queues)
    needs = line.decide_until_one_needs_more(postings)
    if not line.outcomes:
        return Batch(queues, needs=needs)

    last = line.outcomes[-1].seq
    reached = {queue: max(last, head.cursor) for queue, head in heads.items()}
    write(conn, opened, Decision(line.postings, line.outcomes, opened.at), heads=heads, cursors=reached)
    return Batch(queues, reached, line.postings, line.outcomes, needs)
