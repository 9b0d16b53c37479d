"""What is due now: scheduled transactions into the log, and holds whose expiry or commit date has come.

The dates are in Postgres. Beat only asks, often, so a late or doubled question does no harm: what is taken leaves its
table in the same commit that brings it into the log.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from msgspec.structs import replace
from sqlalchemy import Connection, Engine

from core.base.db import begin, reading
from core.base.errors import ReferenceConflict
from core.ledger import append, holds, intake
from core.ledger.append import Submission
from core.ledger.rules.model import Draft, Kind
from core.ledger.rules.requests import terms_of
from core.ledger.store import due as due_store

BATCH = 1_000
"""Transactions that one commit takes."""


def accept_due(engine: Engine, now: datetime | None = None) -> set[int]:
    """Accept all that is due, and return the queues that got work.

    Raises:
        TransientError: the database was busy or gone. What was committed stays, the rest stays due.
    """
    now = now or datetime.now(UTC)
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


def _accept_scheduled(engine: Engine, now: datetime, queues: set[int]) -> int:
    with begin(engine) as conn:
        drafts = [_restored(draft) for draft in due_store.take_scheduled(conn, now, BATCH)]
        # All references were kept free, but for those of legs: one that is taken now may be called like one of them.
        names = {draft.row.reference for draft in drafts}
        drafts = [
            _with_legs_called_by_id(draft) if any(leg.row.reference in names for leg in draft.legs) else draft
            for draft in drafts
        ]
        # Each by itself, for each was accepted by itself.
        _append(conn, [Submission([draft]) for draft in drafts], _with_legs_called_by_id, queues)
    return len(drafts)


def _settle_due(engine: Engine, now: datetime, queues: set[int]) -> int:
    with begin(engine) as conn:
        due = due_store.take_settlements(conn, now, BATCH)
        kinds: dict[str, int] = {}
        for transaction_id, kind in due:
            # Of two dates of one hold the earlier one settles all of it, and leaves nothing to the other.
            kinds.setdefault(transaction_id, kind)
        submissions = []
        for transaction_id, kind in kinds.items():
            if drafts := holds.due_settlements(conn, transaction_id, Kind(kind)):
                submissions.append(Submission(drafts))
        if submissions:
            _append(conn, submissions, append.called_by_id, queues)
    return len(due)


def _append(
    conn: Connection, submissions: list[Submission], renamed: Callable[[Draft], Draft], queues: set[int]
) -> None:
    """Append all. What somebody has taken the reference of, which nobody kept free, is called otherwise."""
    append.append(conn, submissions)
    if taken := [each for each in submissions if isinstance(each.error, ReferenceConflict)]:
        for each in taken:
            each.drafts = [renamed(draft) for draft in each.drafts]
        append.append(conn, taken)
    for each in submissions:
        assert each.error is None, each.error
        queues |= each.queues()


def _restored(draft: Draft) -> Draft:
    """A scheduled draft with what is kept only in its terms."""
    terms = terms_of(draft.row.terms)
    return replace(draft, atomic=terms.atomic, settle_at=intake.settle_at(terms))


def _with_legs_called_by_id(draft: Draft) -> Draft:
    """Somebody has taken the reference of a leg while the split waited for its date."""
    return replace(draft, legs=tuple(map(append.called_by_id, draft.legs)))
