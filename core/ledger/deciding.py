"""Decides postings inside a transaction, for a drain and for an append that decides what it accepts.

``open_book`` locks and reads what the postings touch. The caller decides them over the book, and ``write`` stores what came
of it: outcomes, balances, holds, refunds, and how far each queue is decided.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from core.ledger.rules.engine import Book
from core.ledger.rules.model import SHORT_OF_MONEY, Balance, Outcome, Posting
from core.ledger.store import outcomes as outcome_store
from core.ledger.store import queues as queue_store
from core.ledger.store.queues import QueueHead
from core.ledger.watch import Watched, tell


@dataclass
class Opened:
    """The book over which postings are decided, and the balances as they were when it was opened."""

    book: Book
    before: dict[int, Balance]
    watched: Sequence[int] = ()
    """The balances that somebody watches."""


def open_book(conn: Connection, postings: Sequence[Posting], *, wait: bool = True) -> Opened:
    """Lock and read everything that the postings touch, and the credits that some of them must not spend.

    Without ``wait``, balances that somebody else has locked are left out.

    Raises:
        TransientError: a lock was not had in time.
    """
    touched = {posting.source for posting in postings} | {posting.destination for posting in postings}
    balances, limits, watched = outcome_store.lock_balances(conn, touched, wait=wait)
    holds = {posting.hold_seq for posting in postings if posting.hold_seq is not None}
    refunds = {posting.refund_of for posting in postings if posting.refund_of is not None}
    first_limited: dict[int, int] = {}
    for posting in postings:
        if posting.hold_seq is None and (
            not posting.allow_overdraft or posting.overdraft_limit is not None or posting.source in limits
        ):
            first_limited.setdefault(posting.source, posting.seq)
    after = {id: seq for id, seq in first_limited.items() if id in balances and balances[id].last_credit_seq > seq}
    book = Book(
        balances,
        outcome_store.find_holds(conn, holds) if holds else {},
        outcome_store.later_credits(conn, after) if after else {},
        outcome_store.find_refunds(conn, refunds) if refunds else {},
        limits,
    )
    return Opened(book, dict(balances), watched)


@dataclass
class Decision:
    """Postings and their outcomes, in the order of acceptance."""

    postings: list[Posting]
    outcomes: list[Outcome]
    decided_at: datetime


def write(
    conn: Connection, opened: Opened, decision: Decision, *, heads: Mapping[int, QueueHead], cursors: Mapping[int, int]
) -> None:
    """Store outcomes and all that they change. ``cursors`` says how far each queue of ``heads`` is decided now."""
    hashes = {queue: head.hash for queue, head in heads.items()}
    outcomes, decided_at = decision.outcomes, decision.decided_at
    outcome_store.write(conn, outcomes, decision.postings, decided_at, hashes)
    balances, before = opened.book.balances, opened.before
    if changed := [balance for id, balance in balances.items() if balance is not before[id]]:
        outcome_store.write_balances(conn, changed)
    if holds := {outcome.hold.seq: outcome.hold for outcome in outcomes if outcome.hold is not None}:
        outcome_store.write_holds(conn, list(holds.values()), decided_at)
    if refunds := {o.refunded.seq: o.refunded for o in outcomes if o.refunded is not None}:
        outcome_store.write_refunds(conn, list(refunds.values()))
    counts = Counter(posting.queue for posting in decision.postings)
    queue_store.advance(conn, [(queue, cursors[queue], hashes[queue], counts[queue]) for queue in hashes])
    if opened.watched:
        tell(conn, Watched(opened.watched, decision.postings, outcomes, decided_at))


def groups(postings: Sequence[Posting]) -> Iterator[Sequence[Posting]]:
    """Cut postings into groups: each posting alone, and the members of an atomic group, which are neighbours, together."""
    position = 0
    while position < len(postings):
        last = postings[position].group_last
        end = position + 1
        while last is not None and end < len(postings) and postings[end].seq <= last:
            end += 1
        yield postings[position:end]
        position = end


def is_short(outcome: Outcome) -> bool:
    """Tell whether an earlier credit could remove the rejection."""
    return outcome.rejection is not None and outcome.rejection.reason in SHORT_OF_MONEY
