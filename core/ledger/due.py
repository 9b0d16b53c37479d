"""Accepts what is due: scheduled transactions, and settlements of holds whose expiry or commit date has come.

The dates are in Postgres, and beat only asks often what is due. A late or doubled question does no harm, because what is
taken leaves its table in the same commit that appends it to the log.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from msgspec.structs import replace
from sqlalchemy import Connection, Engine

from core.base import actors, clock
from core.base.db import reading
from core.base.errors import ReferenceConflict
from core.base.fence import locking
from core.base.ids import uuid_of
from core.journal.record import record_all
from core.ledger import append, holds, told, trail
from core.ledger.append import Submission
from core.ledger.draft import settle_at
from core.ledger.rules.model import Draft, Kind
from core.ledger.rules.requests import terms_of
from core.ledger.store import due as due_store
from core.ledger.store.reach import reaches_transactions
from core.ledger.store.transaction_rows import TRANSACTION_PREFIX

logger = structlog.get_logger()

BATCH = 1_000
"""The number of due transactions that one commit takes."""

TICK = "tick due"
"""The request ID of transactions that are accepted when they are due."""

_NEXT_TICK = timedelta(seconds=1)


def accept_due(engine: Engine, now: datetime | None = None) -> set[int]:
    """Accept all that is due, and return the queues that got work.

    Raises:
        TransientError: the database was busy or gone. Earlier commits stay, and the rest stays due.
    """
    now = now or clock.now_of(engine)
    queues: set[int] = set()
    while True:
        with reading(engine) as conn:
            scheduled, settlements = due_store.waiting(conn, now)
        taken = 0
        if scheduled:
            taken += _accept_scheduled(engine, now, queues)
        if settlements:
            taken += _settle_due(engine, now, queues)
        if not taken:
            return queues


def cancel(conn: Connection, transaction_id: str) -> None:
    """Cancel a scheduled transaction, if there is one of this ID in reach that was not cancelled before."""
    is_reached = reaches_transactions(conn, id=uuid_of(transaction_id, TRANSACTION_PREFIX))
    if is_reached and due_store.cancel(conn, transaction_id):
        record_all(conn, told.cancelled(conn, [transaction_id]))


def _accept_scheduled(engine: Engine, now: datetime, queues: set[int]) -> int:
    with locking(engine) as conn:
        taken, refused = due_store.take_scheduled(conn, now, BATCH)
        drafts = [_restored(draft) for draft in taken]
        # All references were kept free, except those of legs. A transaction that is taken now may have one of those.
        names = {draft.row.reference for draft in drafts}
        drafts = [
            _with_legs_called_by_id(draft) if any(leg.row.reference in names for leg in draft.legs) else draft
            for draft in drafts
        ]
        # Each is a submission of its own, because each was accepted by itself.
        submissions = [Submission([draft], request_id=TICK, actor=actors.TICK) for draft in drafts]
        _append(conn, submissions, _with_legs_called_by_id, queues)
    trail.accepted(submissions)
    for id in refused:
        logger.error("a scheduled transaction was altered, and is refused", transaction=f"txn_{id}")
    return len(drafts) + len(refused)


def _settle_due(engine: Engine, now: datetime, queues: set[int]) -> int:
    with locking(engine) as conn:
        due = due_store.take_settlements(conn, now, BATCH)
        first: dict[str, tuple[int, str | None]] = {}
        later: list[tuple[str, int, datetime]] = []
        for transaction_id, kind, asked_by in due:
            # The earlier of two dates of a hold settles all of it, and leaves nothing to the other. But a frozen balance may
            # stop a commit, so the expiry after it looks again when the commit is decided.
            if first.setdefault(transaction_id, (kind, asked_by))[0] != kind and kind == Kind.VOID_INFLIGHT:
                later.append((transaction_id, kind, now + _NEXT_TICK))
        submissions = []
        for transaction_id, (kind, asked_by) in first.items():
            if drafts := holds.due_settlements(conn, transaction_id, Kind(kind)):
                submissions.append(
                    Submission(drafts, atomic=drafts[0].atomic, request_id=TICK, actor=actors.TICK, asked_by=asked_by)
                )
        if submissions:
            _append(conn, submissions, append.called_by_id, queues)
        if later:
            due_store.add(conn, later)
    trail.accepted(submissions)
    return len(due)


def _append(
    conn: Connection, submissions: list[Submission], renamed: Callable[[Draft], Draft], queues: set[int]
) -> None:
    """Append all submissions. One whose reference somebody else has taken is appended again under another."""
    append.append(conn, submissions)
    if taken := [each for each in submissions if isinstance(each.error, ReferenceConflict)]:
        for each in taken:
            each.drafts = [renamed(draft) for draft in each.drafts]
        append.append(conn, taken)
    for each in submissions:
        assert each.error is None, each.error
        queues |= each.queues()


def _restored(draft: Draft) -> Draft:
    """Restore the parts of a scheduled draft that only its terms keep."""
    terms = terms_of(draft.row.terms)
    return replace(draft, atomic=terms.atomic, settle_at=settle_at(terms))


def _with_legs_called_by_id(draft: Draft) -> Draft:
    """Name the legs by their IDs, because somebody has taken the reference of a leg meanwhile."""
    return replace(draft, legs=tuple(map(append.called_by_id, draft.legs)))
