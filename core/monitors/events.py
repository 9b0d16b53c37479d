"""Tells of firings in the feed of events. The data is Blnk's monitor object, with the balance and what happened."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from core.base.answers import encode
from core.journal import facts
from core.journal.event_types import EventType
from core.journal.facts import Fact, OfPosting
from core.ledger.balances import balance_of
from core.ledger.store import balances as balance_store
from core.ledger.store.balances import BalanceRow
from core.ledger.store.transaction_rows import TRANSACTION_PREFIX
from core.monitors.answers import Crossed, event_of
from core.monitors.rules import State, Sums
from core.monitors.store import Firing, MonitorRow


class Crossing(NamedTuple):
    """A firing of a monitor, and what its event tells."""

    monitor: MonitorRow
    state: State
    """The state of the monitor after it."""
    firing: Firing
    sums: Sums
    """The sums of the balance after the posting."""
    transaction: str | None
    """The UUID of the posting's transaction. None when the condition was true already."""
    position: int
    """Its number among the events of this posting. It is even for the source, and odd for the destination, because the two
    balances of one posting may be followed in different commits."""


def tell(conn: Connection, crossings: Sequence[Crossing]) -> None:
    """Add the events of firings: at the position of the posting, or at the end of the log if no posting is the cause."""
    rows = balance_store.find_keys(conn, list({each.monitor.balance for each in crossings}))
    told = [(each, _fact(each, rows[each.monitor.balance])) for each in crossings]
    facts.tell_of_postings(
        conn, [OfPosting(each.firing.seq, each.position, fact) for each, fact in told if each.firing.seq is not None]
    )
    facts.tell_all(conn, [fact for each, fact in told if each.firing.seq is None])


def _fact(crossing: Crossing, row: BalanceRow) -> Fact:
    monitor, firing, sums = crossing.monitor, crossing.firing, crossing.sums
    at_that_time = row._replace(
        balance=sums.credit - sums.debit,
        credit_balance=sums.credit,
        debit_balance=sums.debit,
        inflight_credit_balance=sums.inflight_credit,
        inflight_debit_balance=sums.inflight_debit,
        version=sums.version,
    )
    crossed = Crossed(
        from_=firing.before,
        to=firing.after,
        sequence=firing.seq,
        transaction_id=None if crossing.transaction is None else f"{TRANSACTION_PREFIX}{crossing.transaction}",
        reason="already true" if firing.seq is None else "crossed",
        at=firing.at,
    )
    data = event_of(monitor._replace(state=crossing.state), balance_of(at_that_time), crossed)
    return Fact(
        type=EventType.BALANCE_MONITOR,
        data=encode(data).decode(),
        ledger_id=row.ledger_id,
        balance_id=row.balance_id,
        id=firing.event,
    )
