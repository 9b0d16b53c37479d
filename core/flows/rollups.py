"""Adds decided transactions to the sums of flows and activity, in the order of acceptance, each once.

A cursor says up to which position of the log everything is added. It moves up to just before the oldest transaction that is not
decided, as the feed of events does, so a queue that stands still holds the sums up, and ``complete_to`` says where. The rows
and the cursor are written in one commit. Whoever is killed has added a whole chunk or nothing, and the lock of the cursor
keeps a second process out. A ledger of an older release is caught up in the same way, chunk by chunk, while others post.

What counts as a flow is what the outcomes moved, in the minute in which the posting was accepted:

* A transfer, a leg of a split and a row of a funding run move their amount. A split itself moves nothing.
* A hold moves nothing. Its commits move their parts, each in its own minute, and a void moves nothing.
* A refund moves the amount back, as a flow in the other direction, and takes nothing from the first flow.
* A rejected posting moves nothing.

So for each node and currency, what came in less what went out is what the balances of the node say, once all is decided. An
internal balance is a node, and all other balances of a ledger are one. Money that moves within a node is a flow from it to
itself. Activity counts postings by what was decided about each: a void is accepted, and none of applied, inflight and rejected.
"""

import time
from collections.abc import Callable, Collection
from datetime import timedelta

from sqlalchemy import Engine

from core.base.db import begin
from core.flows import rollup_store

CHUNK = 50_000
"""One commit adds up to so many rows of the log, which takes a twentieth of a second. They share a look at all balances."""


MINUTES_KEPT, HOURS_KEPT = timedelta(days=8), timedelta(days=100)
"""Minutes and hours of flows are removed when they are older. Days stay, and so does activity, which has a row for each."""


def add_new(
    engine: Engine,
    *,
    for_s: float = 0.5,
    chunk: int = CHUNK,
    tell_full: Callable[[Collection[int]], object] = lambda keys: None,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Add what is decided and not added yet, for about ``for_s`` seconds. Returns the number of rows of the log.

    It adds nothing while another process does. ``tell_full`` gets the balances that have a new span to write, after each commit.

    Raises:
        TransientError: the database was busy or gone. Earlier commits stay.
    """
    deadline, added = clock() + for_s, 0
    while True:
        with begin(engine) as conn:
            rows, full = rollup_store.add_chunk(conn, chunk)
        added += rows
        if full:
            tell_full(full)
        if rows < chunk or clock() >= deadline:
            return added


def remove_old(engine: Engine) -> int:
    """Remove the minutes and hours of flows that are no longer kept, and return how many rows that were.

    Raises:
        TransientError: the database was busy or gone.
    """
    with begin(engine) as conn:
        return rollup_store.remove_old(conn, minutes=MINUTES_KEPT, hours=HOURS_KEPT, behind=CHUNK)


def rebuild(engine: Engine) -> int:
    """Derive all sums anew from the log, and return the number of its rows. Answers are incomplete until it ends.

    When it is killed, the tick goes on.

    Raises:
        TransientError: the database was busy or gone. Earlier commits stay.
    """
    with begin(engine) as conn:
        rollup_store.clear(conn)
    return add_new(engine, for_s=float("inf"))
