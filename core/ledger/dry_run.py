"""Decides drafts in a dry run: by the engine, over the balances as they are now, and without writing anything."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from core.ledger.directory import Name, Names
from core.ledger.rules.engine import Book, decide, decide_group
from core.ledger.rules.model import Balance, BalanceRef, Draft, Kind, Outcome, Posting
from core.ledger.store import log as log_store
from core.ledger.store import outcomes as outcome_store

_LATEST = 2**62
"""The seq of a dry run's first posting. It comes after everything that was accepted."""


class Imagined:
    """A directory for a dry run. It only imagines what a request would create or fix.

    Balances that do not exist have negative keys, and their names are their IDs.
    """

    def __init__(self, directory: Names) -> None:
        self._directory = directory
        self.balances: dict[tuple[str, str], BalanceRef] = {}

    @property
    def check_precision(self) -> bool:
        """Whether a currency has one precision for all its transactions."""
        return self._directory.check_precision

    def now(self) -> datetime:
        """Read the database's clock."""
        return self._directory.now()

    def know(self, names: Iterable[Name]) -> dict[Name, BalanceRef]:
        """Find balances. Unknown names are left out."""
        return self._directory.know(names)

    def create(self, names: Collection[tuple[str, str]]) -> dict[Name, BalanceRef]:
        """Imagine internal balances that do not exist, and find the others."""
        known = self.know(names)
        for name in sorted(name for name in names if name not in known):
            key = -1 - len(self.balances)
            known[name] = self.balances[name] = BalanceRef(key, name[0], name[1], name[0], 0)
        return known

    def uses(self, currency: str) -> bool:
        """Tell whether the ledger has a balance in a currency."""
        return self._directory.uses(currency)

    def accepted(self, references: Collection[str]) -> Collection[str]:
        """Return those references that are taken."""
        return self._directory.accepted(references)

    def precision(self, currency: str) -> int | None:
        """Return the currency's precision, if anything has fixed it."""
        return self._directory.precision(currency)

    def fix_precision(self, currency: str, precision: int) -> int:
        """Return the precision that the first use would fix."""
        return precision


@dataclass
class DryRun:
    """One draft, and what would become of it."""

    draft: Draft
    postings: list[Posting]
    outcomes: list[Outcome]
    """The outcome of the draft, or of each leg of a split."""
    before: dict[int, Balance]
    after: dict[int, Balance]
    """The balances that the draft touches, by key, as they would be. ``before`` has them as they are."""
    taken_by: str | None
    """The ID of the transaction that has the reference already."""

    @property
    def rejected(self) -> Outcome | None:
        """The first outcome that is a rejection, if there is any. A reason of its own goes before that of the group."""
        found = [outcome for outcome in self.outcomes if outcome.rejection is not None]
        own = (o for o in found if o.rejection is not None and o.rejection.culprit is None)
        return next(own, found[0] if found else None)


def decide_drafts(conn: Connection, drafts: Sequence[Draft], *, atomic: bool = False) -> list[DryRun]:
    """Decide drafts one after the other, each over the balances that the ones before it would leave.

    ``conn`` should see one state of the ledger throughout. Balances with negative keys do not exist, and are empty.
    """
    postings = [_postings_of(draft, position) for position, draft in enumerate(drafts)]
    every = [posting for each in postings for posting in each]
    book = _book(conn, every)
    taken = log_store.find_references(conn, [draft.row.reference for draft in drafts])
    found = [
        _decide_draft(
            draft, each, book, taken[draft.row.reference].transaction_id if draft.row.reference in taken else None
        )
        for draft, each in zip(drafts, postings, strict=True)
    ]
    if atomic and any(one.rejected for one in found):
        outcomes = {o.seq: o for o in decide_group(every, _book(conn, every))}
        for one in found:
            one.outcomes = [outcomes[posting.seq] for posting in one.postings]
            one.after = one.before = _before(found, one)
    return found


def decide_all(postings: Sequence[Posting], book: Book, *, atomic: bool) -> list[Outcome]:
    """Decide postings one after the other, or as a group, and write their new values to the book."""
    if atomic:
        return decide_group(postings, book)
    outcomes = []
    for posting in postings:
        outcomes.append(decide(posting, book))
        book.write(outcomes[-1])
    return outcomes


def _before(found: Sequence[DryRun], one: DryRun) -> dict[int, Balance]:
    """Find the balances of one draft as they were before the first of all drafts."""
    first: dict[int, Balance] = {}
    for each in reversed(found):
        first.update(each.before)
    return {key: first[key] for key in one.before}


def _decide_draft(draft: Draft, postings: list[Posting], book: Book, taken_by: str | None) -> DryRun:
    keys = {key for posting in postings for key in (posting.source, posting.destination)}
    before = {key: book.balances[key] for key in keys}
    outcomes = decide_all(postings, book, atomic=draft.atomic)
    return DryRun(draft, postings, outcomes, before, {key: book.balances[key] for key in keys}, taken_by)


def _postings_of(draft: Draft, position: int) -> list[Posting]:
    """Make the postings of a draft. ``position`` is that of the draft among all drafts."""
    return [
        Posting(
            _LATEST + 10_000 * position + number,
            one.kind,
            0,
            one.source or 0,
            one.destination or 0,
            one.amount,
            one.allow_overdraft,
            one.overdraft_limit,
            one.hold_seq,
            None,
            None,
            one.refund_of,
        )
        for number, one in enumerate(each.row for each in draft.legs or (draft,))
        if one.kind != Kind.SPLIT
    ]


def _book(conn: Connection, postings: Sequence[Posting]) -> Book:
    """Read everything that the postings touch, without a lock."""
    keys = {key for posting in postings for key in (posting.source, posting.destination)}
    balances, limits = outcome_store.read_with_limits(conn, keys)
    for key in keys:
        if key < 0:
            balances[key] = Balance(key, 0, 0, 0, 0, 1, 0)
    holds = {posting.hold_seq for posting in postings if posting.hold_seq is not None}
    refunds = {posting.refund_of for posting in postings if posting.refund_of is not None}
    refunded = outcome_store.find_refunds(conn, refunds)
    return Book(balances, outcome_store.find_holds(conn, holds), refunds=refunded, limits=limits)
