"""Finds what a balance held at a time, and writes the snapshots and spans that make the question cheap.

An entry counts from the effective date of its transaction, which may be past or to come. Without that date it counts from
the acceptance. An entry that was decided after a snapshot may have been accepted before it, and may be dated before it. So
a snapshot tells up to which version of the balance it goes, and leaves out every entry that has an effective date:

    balance at t = newest snapshot taken by t                          all of it was accepted before it was taken
                 + entries without an effective date beyond its version, accepted by t
                 + entries with an effective date by t                 always, whatever their version

No posting, however late or backdated, can make a snapshot wrong. A balance with more than a thousand entries has spans
(``store/spans.py``), and then no snapshot is used: from spans the balance at any time takes a few thousand entries.
"""

import time
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct
from sqlalchemy import Connection, Engine

from core.base import clock
from core.base.answers import Time
from core.base.db import begin, reading
from core.base.errors import ErrorCode, InvalidRequest
from core.ledger.rules.model import Balance
from core.ledger.store import history as history_store
from core.ledger.store import new_spans, runs, spans
from core.ledger.store.balances import BalanceRow
from core.ledger.store.history import Snapshot
from core.ledger.store.spans import LAST, Basis, Bound, Lag, Sums

BATCH = 1_000
"""The default number of balances that one commit takes snapshots of."""

MAX_BATCH = 10_000

WRITTEN = 20
"""The largest number of spans of one balance that are written in one commit."""

WRITTEN_WITHIN_S = 60.0

LAGGING = 100
"""The number of balances that are looked up at a time."""

MAX_SUMMED = 1_000_000
"""The largest number of entries that one request adds up, which takes one to two seconds."""

MAX_FROM_SOURCE = 2_000
"""Spans stand for the entries of a balance that has more, if it is to be added up from them.

Entries that lie far apart take 13 to 25 microseconds each.
"""

_NOTHING = Snapshot(0, 0, 0)


class BalanceAt(NamedTuple):
    """The sums of a balance's entries up to a time, in minor units."""

    credit: int
    debit: int
    at: datetime

    @property
    def balance(self) -> int:
        """Credits less debits."""
        return self.credit - self.debit


class SumsAt(Struct, frozen=True, kw_only=True):
    """The sums that a balance held. Amounts are minor units."""

    balance: int
    debit_balance: int
    credit_balance: int
    currency: str
    balance_id: str


class HistoricalBalance(Struct, frozen=True, kw_only=True):
    """A balance as it was at a time."""

    balance: SumsAt
    timestamp: Time
    from_source: bool


def answer_of(row: BalanceRow, then: BalanceAt, *, from_source: bool) -> HistoricalBalance:
    """Make the answer of a balance at a time from its sums."""
    sums = SumsAt(
        balance=then.balance,
        debit_balance=then.debit,
        credit_balance=then.credit,
        currency=row.currency,
        balance_id=row.balance_id,
    )
    return HistoricalBalance(balance=sums, timestamp=then.at.replace(microsecond=0), from_source=from_source)


def balance_at(conn: Connection, row: BalanceRow, at: datetime | None, *, from_source: bool = False) -> BalanceAt:
    """Compute what a balance held at a time, from all entries decided by now. The default time is now.

    With ``from_source`` no snapshot is used, and no span unless the entries are too many. Before it existed, a balance held
    nothing.

    Raises:
        InvalidRequest: too many entries would have to be added up.
    """
    at = at or clock.now(conn)
    if (not from_source or row.version > MAX_FROM_SOURCE) and spans.end_of(conn, row.key):
        (then,) = sums_until(conn, row.key, Basis.EFFECTIVE, row.version, [Bound(at, LAST)])
        return BalanceAt(then.credits, then.debits, at)
    found = None if from_source else history_store.newest_snapshot(conn, row.key, upto=row.version, at=at)
    base = found or _NOTHING
    _require_few(row.version - base.version)
    credit, debit = history_store.sums(conn, row.key, after=base.version, upto=row.version, at=at)
    return BalanceAt(base.credit + credit, base.debit + debit, at)


def recomputed(conn: Connection, row: BalanceRow) -> BalanceRow:
    """Compute the sums and the version of a balance from its outcomes, instead of those that are stored with it.

    Its spans stand for the outcomes where these are too many.

    Raises:
        InvalidRequest: too many entries would have to be added up.
    """
    if row.version > MAX_FROM_SOURCE and spans.end_of(conn, row.key):
        sums = _recomputed_from_spans(conn, row.key)
    else:
        _require_few(row.version)
        sums = history_store.recomputed(conn, row.key)
    return row._replace(
        balance=sums.balance,
        credit_balance=sums.credit,
        debit_balance=sums.debit,
        inflight_credit_balance=sums.inflight_credit,
        inflight_debit_balance=sums.inflight_debit,
        version=sums.version,
    )


def _recomputed_from_spans(conn: Connection, key: int) -> Balance:
    held = history_store.held(conn, key)
    (moved,) = sums_until(conn, key, Basis.BOOKED, held.version, [Bound(None, LAST)])
    return held._replace(credit=moved.credits, debit=moved.debits)


def sums_until(conn: Connection, key: int, basis: Basis, upto: int, bounds: Sequence[Bound]) -> list[Sums]:
    """Add up the entries of a balance up to each of some bounds, as of a version of it.

    Raises:
        InvalidRequest: too many entries would have to be added up.
    """
    known = spans.known(conn, key, basis, upto, bounds)
    _require_few(known.left)
    if not known.left:
        return known.sums
    rest = spans.rest(conn, key, basis, known, upto, bounds)
    return [sums.plus(more) for sums, more in zip(known.sums, rest, strict=True)]


def _require_few(entries: int) -> None:
    """Refuse to add up more entries than one request may read."""
    if entries > MAX_SUMMED:
        text = (
            f"this would add up {entries:,} entries of the balance, and {MAX_SUMMED:,} are allowed; workers add up all but "
            "the newest entries beforehand, so ask again in some minutes; pacioli verify recomputes every balance"
        )
        raise InvalidRequest([("", text)], ErrorCode.GEN_BAD_REQUEST)


def take_batch(engine: Engine, *, after: int = 0, size: int = BATCH) -> tuple[int, int | None]:
    """Take snapshots of the next ``size`` balances beyond the key ``after`` that changed since their last one.

    Returns how many were taken, and the key after which the next batch begins, which is None at the end.

    Raises:
        TransientError: the database was busy or gone. Earlier commits stay.
    """
    with begin(engine) as conn:
        last = history_store.last_of_batch(conn, after, size)
        return (0, None) if last is None else (history_store.take_snapshots(conn, after=after, last=last), last)


def write_spans(engine: Engine, *, for_s: float | None = None) -> int:
    """Write the spans of all balances that have whole ones without, for some seconds at most. Returns how many were written.

    It reads every balance. ``write_spans_of`` writes those that are told to be whole.

    Raises:
        TransientError: the database was busy or gone. Earlier commits stay.
    """
    deadline = None if for_s is None else time.monotonic() + for_s
    total, after = 0, 0
    while True:
        with reading(engine) as conn:
            found = spans.lagging(conn, after=after, limit=LAGGING)
        total += _write_spans(engine, found, deadline)
        if len(found) < LAGGING or (deadline is not None and time.monotonic() >= deadline):
            break
        after = found[-1].key
    _write_runs(engine, deadline)
    return total


def write_spans_of(engine: Engine, keys: Collection[int], *, for_s: float) -> int:
    """Write the spans of some balances, as ``write_spans`` does. What is left after ``for_s`` seconds is left to it.

    Raises:
        TransientError: as ``write_spans``.
    """
    deadline = time.monotonic() + for_s
    with reading(engine) as conn:
        found = spans.lagging(conn, after=0, limit=None, of=keys)
    written = _write_spans(engine, found, deadline)
    _write_runs(engine, deadline, keys)
    return written


def _write_spans(engine: Engine, lagging: Sequence[Lag], deadline: float | None) -> int:
    total = 0
    for lag in lagging:
        end, last = lag.end, lag.version // spans.SIZE * spans.SIZE
        while end < last:
            upto = min(end + WRITTEN * spans.SIZE, last)
            with begin(engine, within_s=WRITTEN_WITHIN_S) as conn:
                new_spans.write(conn, lag.key, after=end, upto=upto)
            total, end = total + (upto - end) // spans.SIZE, upto
            if deadline is not None and time.monotonic() >= deadline:
                return total
    return total


def _write_runs(engine: Engine, deadline: float | None, of: Collection[int] | None = None) -> None:
    """Write the runs of all balances, or of some, that have whole ones without, one in each commit."""
    after, size = 0, spans.RUN * spans.SIZE
    while deadline is None or time.monotonic() < deadline:
        with begin(engine, within_s=WRITTEN_WITHIN_S) as conn:
            lag = runs.lagging(conn, after=after, of=of)
            if lag is None:
                return
            runs.write(conn, lag.key, after=lag.end, upto=lag.end + size)
        after = lag.key - 1
