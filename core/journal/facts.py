"""Adds events that the log and the outcomes do not tell. Whoever changes something of that kind calls it in its commit.

An event has a position: a seq of the log, and a number within it. ``QUEUED`` and ``DECIDED`` are the numbers of what the log and
the outcomes tell of a posting. The events that its own drain writes follow, and then those that were written while it was
the last of the log. So whoever reads in the order of positions reads in the order of the commits that are told.
"""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct
from sqlalchemy import Connection

from core.base import actors
from core.base.ids import new_key
from core.journal import fact_store

QUEUED, DECIDED = 0, 1
"""The number of the acceptance of a posting within its seq, and that of its outcome."""

FIRST_OF_DRAIN = 2
"""The first number of the events that a drain writes for a posting."""


class Fact(Struct, frozen=True, kw_only=True):
    """Something that became so. ``data`` is the JSON text that its event has, with exact integers."""

    type: str
    """An ``EventType``, or ``BATCH``."""
    data: str
    ledger_id: str | None = None
    """The ledger that it is about. A key that reaches only some ledgers sees what is about these alone."""
    balance_id: str | None = None
    """The balance that it is about, likewise."""
    id: UUID | None = None
    """The UUID of its event, if the caller has named it already."""


def tell(conn: Connection, *facts: Fact) -> None:
    """Add an event for each fact, at the end of the log.

    The append lock is held until the commit. So it comes after all other locks of a transaction but those of the pledges and
    of the audit log, and nobody who holds it may wait for a row.

    Raises:
        TransientError: the lock was not had in time.
    """
    tell_all(conn, facts)


def tell_all(conn: Connection, facts: Sequence[Fact]) -> None:
    """Add an event for each fact, as ``tell`` does. No facts take no lock."""
    if facts:
        fact_store.append(conn, _columns(facts), actors.current().key_id)


def tell_behind(conn: Connection, seq: int, facts: Sequence[Fact]) -> None:
    """Add the first events behind a row that this transaction has just written to the log. The append lock is held."""
    if facts:
        positions = [(seq, fact_store.FIRST_AT_END + n) for n in range(len(facts))]
        fact_store.insert(conn, positions, _columns(facts), actors.current().key_id)


class OfPosting(NamedTuple):
    """An event at the position of a posting."""

    seq: int
    n: int
    """Its number among the events of the posting, from 0. Whoever writes another one of them takes another number."""
    fact: Fact


def tell_of_postings(conn: Connection, told: Sequence[OfPosting]) -> None:
    """Add events at the positions of decided postings, in the commit of their outcomes.

    It takes no lock, because whoever decides a posting has locked its queue, and so nobody else writes at its position.
    A caller that shares a posting with others keeps to numbers of its own, and holds a lock that goes with them.
    """
    if told:
        assert max(each.n for each in told) < fact_store.FIRST_AT_END - FIRST_OF_DRAIN
        positions = [(each.seq, each.n + FIRST_OF_DRAIN) for each in told]
        columns = _columns([each.fact for each in told])
        fact_store.insert(conn, positions, columns, actors.current().key_id)


def _columns(facts: Sequence[Fact]) -> fact_store.Columns:
    return {
        "ids": [fact.id or new_key() for fact in facts],
        "types": [str(fact.type) for fact in facts],
        "data": [fact.data for fact in facts],
        "ledgers": [fact.ledger_id for fact in facts],
        "balances": [fact.balance_id for fact in facts],
    }
