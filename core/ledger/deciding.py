"""Decides postings inside a transaction, for a drain and for an append that decides what it accepts.

``open_book`` locks and reads what the postings touch, a ``Line`` decides them over the book, and ``write`` stores what came of
it: outcomes, balances, holds, refunds, and how far each queue is decided.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from core.ledger.rules.engine import Book, decide, decide_group
from core.ledger.rules.model import SHORT_OF_MONEY, Balance, Outcome, Posting
from core.ledger.store import log as log_store
from core.ledger.store import outcomes as outcome_store
from core.ledger.store import queues as queue_store
from core.ledger.store import waiting as waiting_store
from core.ledger.store.queues import QueueHead
from core.ledger.watch import Watched, tell


@dataclass
class Opened:
    """The book over which postings are decided, and the balances as they were when it was opened."""

    book: Book
    before: dict[int, Balance]
    at: datetime
    """The time by the database's clock when all balances were locked."""
    watched: Sequence[int] = ()
    """The balances that somebody watches."""


def open_book(conn: Connection, postings: Sequence[Posting], *, wait: bool = True) -> Opened:
    """Lock and read everything that the postings touch, and the credits that some of them must not spend.

    Without ``wait``, balances that somebody else has locked are left out.

    Raises:
        TransientError: a lock was not had in time.
    """
    seqs, _, _, sources, destinations, _, overdrafts, caps, holds_of, _, _, refunds_of, *_ = zip(*postings, strict=True)
    touched = {*sources, *destinations}
    balances, limits, watched, at = outcome_store.lock_balances(conn, touched, wait=wait)
    holds, refunds = set(holds_of) - {None}, set(refunds_of) - {None}
    first_limited: dict[int, int] = {}
    for seq, source, may_overdraw, cap, hold in zip(seqs, sources, overdrafts, caps, holds_of, strict=True):
        if hold is None and (not may_overdraw or cap is not None or source in limits):
            first_limited.setdefault(source, seq)
    after = {id: seq for id, seq in first_limited.items() if id in balances and balances[id].last_credit_seq > seq}
    book = Book(
        balances,
        outcome_store.find_holds(conn, holds) if holds else {},
        outcome_store.later_credits(conn, after) if after else {},
        outcome_store.find_refunds(conn, refunds) if refunds else {},
        limits,
    )
    return Opened(book, dict(balances), at, watched)


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
    if held := {outcome.hold.seq: outcome for outcome in outcomes if outcome.hold is not None}:
        outcome_store.write_holds(conn, held.values(), decided_at)
    if refunds := {o.refunded.seq: o.refunded for o in outcomes if o.refunded is not None}:
        outcome_store.write_refunds(conn, list(refunds.values()))
    counts = Counter(posting.queue for posting in decision.postings)
    queue_store.advance(conn, [(queue, cursors[queue], hashes[queue], counts[queue]) for queue in hashes])
    if opened.watched:
        tell(conn, Watched(opened.watched, decision.postings, outcomes, decided_at))


class Line:
    """Decides postings over a book, in their order, as far as what they need is at hand.

    A group needs all the queues of its members. A posting that is short needs the queues in which an earlier one, which is
    undecided, would credit its source.
    """

    def __init__(self, conn: Connection, book: Book, held: Collection[int]) -> None:
        self.postings: list[Posting] = []
        """The postings that are decided, and their outcomes in the same order."""
        self.outcomes: list[Outcome] = []
        self.stopped: dict[int, int] = {}
        """The queues that have stopped, each with the first seq that is left of it."""
        self._conn, self._book, self._held = conn, book, set(held)
        self._waiting_elsewhere: dict[int, int] | None = None

    def decide_until_one_needs_more(self, postings: Sequence[Posting]) -> set[int]:
        """Decide postings until the end, or until one needs queues that are not locked. Returns these."""
        if any(posting.group_last is not None for posting in postings):
            for group in groups(postings):
                if needs := self._decide(group):
                    return set(needs)
            return set()
        # The same without a group: most postings are applied, and this loop is most of the Python of a drain.
        book, decided, outcomes = self._book, self.postings, self.outcomes
        for posting in postings:
            outcome = decide(posting, book)
            if outcome.rejection is None:
                book.write(outcome)
                decided.append(posting)
                outcomes.append(outcome)
            elif needs := self._decide((posting,)):
                return set(needs)
        return set()

    def decide_what_needs_no_more(self, postings: Sequence[Posting]) -> None:
        """Decide postings, and stop each queue at the first that needs another queue, or a balance that is not locked."""
        balances = self._book.balances
        _, _, _, sources, destinations, *_ = zip(*postings, strict=True)
        if balances.keys() >= {*sources, *destinations} and all(posting.group_last is None for posting in postings):
            before = len(self.postings)
            if not self.decide_until_one_needs_more(postings):
                return
            postings = postings[len(self.postings) - before :]
        for group in groups(postings):
            is_left = False
            for posting in group:
                if (
                    posting.queue in self.stopped
                    or posting.source not in balances
                    or posting.destination not in balances
                ):
                    is_left = True
            if is_left or self._decide(group):
                for posting in group:
                    self.stopped.setdefault(posting.queue, posting.seq)

    def _decide(self, group: Sequence[Posting]) -> Collection[int]:
        """Decide a group, or return the queues that it needs as well."""
        first = group[0]
        if first.group_first is None or first.group_last is None:
            outcome = decide(first, self._book)
            if outcome.rejection is None:
                self._book.write(outcome)
                self.postings.append(first)
                self.outcomes.append(outcome)
                return ()
            decided, short = [outcome], first if is_short(outcome) else None
        else:
            queues = log_store.queues_of_range(self._conn, first=first.group_first, last=first.group_last)
            if needs := queues - self._held | queues & self.stopped.keys():
                return needs
            decided = decide_group(group, self._book)
            short = next((member for member, o in zip(group, decided, strict=True) if is_short(o)), None)
        if short is not None and (needs := self._that_may_credit(short)):
            return needs
        self.postings += group
        self.outcomes += decided  # A rejected posting has nothing to write, and a group has written itself.
        return ()

    def _that_may_credit(self, posting: Posting) -> set[int]:
        """List the queues with an earlier posting that is undecided and would credit the source."""
        if self._waiting_elsewhere is None:
            self._waiting_elsewhere = waiting_store.first_waiting(self._conn, but=self._held)
        waiting = self._waiting_elsewhere | self.stopped
        return log_store.queues_that_may_credit(self._conn, posting.source, before=posting.seq, waiting=waiting)


def groups(postings: Sequence[Posting]) -> Iterator[Sequence[Posting]]:
    """Cut postings into groups: each posting alone, and the members of an atomic group, which are neighbours, together."""
    position, count = 0, len(postings)
    while position < count:
        first = postings[position]
        position += 1
        if first.group_last is None:
            yield (first,)
            continue
        members = [first]
        while position < count and postings[position].seq <= first.group_last:
            members.append(postings[position])
            position += 1
        yield members


def is_short(outcome: Outcome) -> bool:
    """Tell whether an earlier credit could remove the rejection."""
    return outcome.rejection is not None and outcome.rejection.reason in SHORT_OF_MONEY
