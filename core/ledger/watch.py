"""Defines the watch over balances: what a commit of decisions tells about the balances that somebody watches.

The ledger says which postings it has decided, inside the transaction that decides them. It does not know who watches, or
why. A door adds the watch to ``watches``, so that every place that decides has the same ones.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from sqlalchemy import Connection

from core.base.errors import InvariantBroken
from core.ledger.rules.model import Outcome, Posting


class Watched(NamedTuple):
    """The decisions of one commit, and those balances of it that are watched. All of its balances are locked."""

    balances: Collection[int]
    """The keys of the watched balances."""
    postings: Sequence[Posting]
    """All postings that were decided, in the order of acceptance."""
    outcomes: Sequence[Outcome]
    """Their outcomes, in the same order."""
    decided_at: datetime


class Watch(Protocol):
    """A function that gets the decisions about watched balances."""

    def __call__(self, conn: Connection, watched: Watched, /) -> None:
        """Look at decisions. Outcomes, balances and cursors are written, and nothing is committed.

        What it writes is committed with them or not at all. An error undoes all of it.
        """


watches: list[Watch] = []
"""The watches of this process. A door adds one before it decides."""


def tell(conn: Connection, watched: Watched) -> None:
    """Tell every watch.

    Raises:
        InvariantBroken: balances are watched, and this process has no watch.
    """
    if not watches:
        raise InvariantBroken("balances are watched, and this process was given no watch")
    for watch in watches:
        watch(conn, watched)
